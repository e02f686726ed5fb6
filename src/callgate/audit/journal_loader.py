"""From the journal into SQLite: behind the calls while running, everything at the next start. Runs in one thread.

On failure: what could not be loaded stays in the journal and is tried again; loading twice changes nothing.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from callgate.audit import events
from callgate.audit.segment import SUFFIX, Segment, read_back, sync_directory
from callgate.model.event import Event, Intent, Outcome
from callgate.store.audit_sqlite import SQLiteAudit

_CHUNK_BYTES = 1024 * 1024
_CHUNK_LINES = 4000
_encode = msgspec.json.Encoder().encode


class JournalLoader:
    """Loads `segments` (oldest first, the last one being written), and deletes what was loaded whole."""

    def __init__(self, segments: list[Segment], store: SQLiteAudit) -> None:
        self._segments = segments
        self._store = store

    @property
    def behind(self) -> bool:
        """Whether so much waits that loading should not wait for a quiet moment."""
        return len(self._segments) > 2

    def load(self) -> None:
        """Load what is durable now. Raises `Refused("store_unavailable")`."""
        for segment in tuple(self._segments):
            self._load(segment)
            # another one follows, so this one is written no more
            if segment is not self._segments[-1] and segment.loaded == segment.durable:
                self._segments.remove(segment)
                segment.delete()

    def finish(self) -> None:
        """Load everything and delete the files; nothing writes them any more."""
        try:
            self.load()
            for segment in self._segments:
                segment.delete()
        except BaseException:
            for segment in self._segments:
                segment.close()
            raise
        finally:
            self._segments.clear()
            self._store.close()

    def replay(self, directory: Path) -> None:
        """Load what earlier processes left, and end their open calls as `unknown`.

        Raises `OSError` (the directory), `Refused("store_unavailable")`.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = sorted(directory.glob(f"*{SUFFIX}"))
        left: dict[str, Intent] = {}
        for path in paths:
            records = read_back(path)
            while chunk := list(islice(records, _CHUNK_LINES)):
                self._store.load(line for line, _ in chunk)
                _follow(left, (event for _, event in chunk))
        if left:
            self._store.load(_encode(events.unknown_end(intent.tenant, intent.id)) for intent in left.values())
        for path in paths:
            path.unlink()
        if paths:
            sync_directory(directory)

    def _load(self, segment: Segment) -> None:
        while data := segment.unloaded(_CHUNK_BYTES):
            self._store.load(_lines(data))
            segment.loaded += len(data)


def _lines(data: bytes) -> Iterator[bytes]:
    return (line for line in data.split(b"\n") if line)


def _follow(open_calls: dict[str, Intent], seen: Iterable[Event]) -> None:
    for event in seen:
        if isinstance(event, Intent):
            open_calls[event.id] = event
        elif isinstance(event, Outcome):
            open_calls.pop(event.id, None)
