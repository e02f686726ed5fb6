"""One file of the journal: lines of JSON, written in groups, each group synced before anybody is told.

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
    """A file being written. How many of its bytes are written (`end`), on stable storage, and in SQLite (`loaded`)."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.end = 0
        self.durable = 0
        self.loaded = 0

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

    def write(self, data: bytes) -> None:
        """Hand whole lines to the system; they are not durable yet. Raises `OSError`; `end` is then where it was."""
        at = self.end
        written = os.pwrite(self.descriptor, data, at)
        while written < len(data):
            more = os.pwrite(self.descriptor, memoryview(data)[written:], at + written)
            written += more
        self.end = at + written

    def cut(self) -> None:
        """Take back what was written and is not durable, if possible."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, self.durable)
        self.end = self.durable

    def unloaded(self, limit: int) -> bytes:
        """The next durable bytes that are not in SQLite: whole lines, about `limit` bytes; empty = none."""
        data = os.pread(self.descriptor, min(limit, self.durable - self.loaded), self.loaded)
        end = data.rfind(b"\n") + 1
        return data[:end]

    def close(self) -> None:
        """Cut the file to what is durable and close it."""
        self.cut()
        os.close(self.descriptor)

    def delete(self) -> None:
        """Close and remove the file."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Close and remove, if possible, a file that holds nothing of value."""
        with contextlib.suppress(OSError):
            self.delete()


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
