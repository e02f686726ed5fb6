"""The journal's writing thread: takes what is queued, appends it as one group, syncs, reports, again.

Threads: the event loop appends to `queue` and reads `current`; this thread takes from `queue` and owns the newest
segment; the loading thread reads older bytes. Fail closed: after an error nothing more is written to that file; a
fresh one is tried every second, and only when that can be written and synced is the journal said to work again.
"""

import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path

from callgate import clock
from callgate.audit.segment import SUFFIX, Segment
from callgate.audit.writer import Done

Item = tuple[bytes, Done | None]  # a line without its end ("" = only a callback), and whom to tell
_RETRY_S = 1.0
_JOIN_S = 10.0


class Group:
    """What was taken from the queue together. `since` is monotonic; `told` once the callbacks were called."""

    __slots__ = ("items", "since", "told")

    def __init__(self, items: list[Item], since: float) -> None:
        self.items = items
        self.since = since
        self.told = False


class JournalThread:
    """Writes one directory. `report(group, error)` and `works()` are called from this thread."""

    def __init__(self, directory: Path, segment_bytes: int, carried: Callable[[], list[bytes]]) -> None:
        self.queue: deque[Item] = deque()
        self.idle = False
        self.current: Group | None = None
        self.segments: list[Segment] = []  # oldest first; the last one is being written
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._carried = carried
        self._wake = threading.Event()
        self._stopping = False
        self._numbers = count(clock.now_us())
        self._thread: threading.Thread | None = None

    def start(self, report: Callable[[Group, OSError | None], None], works: Callable[[], None]) -> None:
        """Make the first segment and start. Raises `OSError` when the directory cannot be written durably."""
        self.segments.append(self._create())
        self._thread = threading.Thread(target=self._run, args=(report, works), name="audit-journal", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Make the thread look at the queue."""
        self.idle = False
        self._wake.set()

    def stop(self) -> None:
        """Write what is queued and end; blocks, but not for ever: a disk may hang."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _create(self) -> Segment:
        path = self._directory / f"{next(self._numbers):017d}{SUFFIX}"
        return Segment.create(path, self._segment_bytes)

    # -- in the thread ----------------------------------------

    def _run(self, report: Callable[[Group, OSError | None], None], works: Callable[[], None]) -> None:
        broken = False
        while True:
            if broken:
                broken = not self._recovered()
                if not broken:
                    works()
                elif self._stopping:
                    return
                continue
            items = self._take()
            if items:
                error = self._write(items, report)
                broken = error is not None
            elif self._stopping:
                return
            else:
                self._rest()

    def _take(self) -> list[Item]:
        queue, items = self.queue, []
        try:
            while True:
                items.append(queue.popleft())
        except IndexError:
            return items

    def _rest(self) -> None:
        self.idle = True
        # whoever appended before seeing `idle` did not wake us
        if not self.queue and not self._stopping:
            self._wake.wait()
        self._wake.clear()
        self.idle = False

    def _write(self, items: list[Item], report: Callable[[Group, OSError | None], None]) -> OSError | None:
        group = self.current = Group(items, clock.monotonic())
        data = b"".join([line + b"\n" for line, _ in items if line])
        failure = None
        try:
            if data:
                self.segments[-1].append(data)
        except OSError as error:
            failure = error
        self.current = None
        report(group, failure)
        if failure is None and self.segments[-1].durable > self._segment_bytes:
            self._rotate()
        return failure

    def _rotate(self) -> None:
        """Go on in a fresh file, which begins with the intents of the calls that are open.

        So the files that are left always tell which calls were open, whatever was deleted before them.
        """
        try:
            fresh = self._create()
        except OSError:
            return  # the present file can grow; its next append tells if the disk is full
        open_intents = self._carried()
        try:
            if open_intents:
                fresh.append(b"\n".join([*open_intents, b""]))
        except OSError:
            fresh.delete()
            return
        self.segments.append(fresh)

    def _recovered(self) -> bool:
        self._wake.wait(_RETRY_S)
        self._wake.clear()
        before = len(self.segments)
        self._rotate()
        return len(self.segments) > before
