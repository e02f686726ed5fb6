"""One file of the journal: lines of JSON, appended in groups, each group synced before anybody is told.

The space is reserved when the file is made, so a full disk shows then, and syncing need not grow the file. Read back,
a line that was cut off by a crash (or was never written: zeros) is no record, and nobody was told that it was one.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from callgate.model.event import Event

SUFFIX = ".journal"
_decode = msgspec.json.Decoder(Event).decode


class Segment:
    """A file being written. `durable` is how many of its bytes are on stable storage, `loaded` how many in SQLite."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.durable = 0
        self.loaded = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, reserve: int) -> "Segment":
        """Make a file of `reserve` bytes whose existence is durable. Raises `OSError`, leaving nothing behind."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, reserve)
            os.fsync(descriptor)
            sync_directory(path.parent)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    def append(self, data: bytes) -> None:
        """Write and sync whole lines. Raises `OSError`; the file then ends where it did, if possible."""
        try:
            view = memoryview(data)
            at = self.durable
            while view:
                written = os.pwrite(self._descriptor, view, at)
                at += written
                view = view[written:]
            os.fdatasync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.durable)
            raise
        self.durable = at

    def unloaded(self, limit: int) -> bytes:
        """The next durable bytes that are not in SQLite: whole lines, about `limit` bytes; empty = none."""
        data = os.pread(self._descriptor, min(limit, self.durable - self.loaded), self.loaded)
        end = data.rfind(b"\n") + 1
        return data[:end]

    def close(self) -> None:
        """Cut the file to its content and close it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self.durable)
        os.close(self._descriptor)

    def delete(self) -> None:
        """Close and remove the file."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)


def read_back(path: Path) -> Iterator[tuple[bytes, Event]]:
    """The records of a file of a process that is gone; what is no record is left out."""
    for line in path.read_bytes().split(b"\n"):
        text = line.strip(b"\0")
        if not text:
            continue
        try:
            event = _decode(text)
        except msgspec.DecodeError:
            continue
        yield text, event


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
