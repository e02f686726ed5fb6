"""Which file of the journal is written, and which is next. What may block is done in a thread of its own.

The next file is made while the present one is half full, so going on in it costs nothing. It begins with the intents
of the open calls, and counts only once these are durable: the files that are left always tell which calls were open,
whatever was deleted before them. On failure: where no file can be made the present one grows.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

from callgate import clock
from callgate.audit.disk import Disk
from callgate.audit.segment import SUFFIX, Segment

RETRY_S = 1.0


class Rotation:
    """The files of one directory. Use from one event loop."""

    def __init__(self, directory: Path, segment_bytes: int, carried: Callable[[], list[bytes]]) -> None:
        self.segments: list[Segment] = []  # those that count, oldest first
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._carried = carried  # the lines of the open intents
        self._writing: Segment
        self._spare: Segment | None = None
        self._making: asyncio.Future[Segment] | None = None
        self._not_before = 0.0  # monotonic time of the next attempt to make a file
        self._numbers = count(clock.now_us())
        self._loop: asyncio.AbstractEventLoop
        self._pool = ThreadPoolExecutor(1, "audit-file")

    async def start(self) -> None:
        """Make the first file. Raises `OSError` when the directory cannot be written durably."""
        self._loop = asyncio.get_running_loop()
        self._writing = await self._loop.run_in_executor(self._pool, self._create)
        self.segments.append(self._writing)

    def write(self, lines: list[bytes]) -> int:
        """Write lines into the present file, or into the next if that one is full; the descriptor to sync.

        Raises `OSError`; then only `mend` helps.
        """
        if self._writing.end > self._segment_bytes and self._spare is not None:
            self._writing, self._spare = self._spare, None
            lines = self._carried() + lines
        self._writing.write(b"\n".join([*lines, b""]))
        return self._writing.descriptor

    def settle(self) -> None:
        """What was written is durable."""
        segment = self._writing
        segment.durable = segment.end
        if segment is not self.segments[-1]:
            self.segments.append(segment)
        if segment.end > self._segment_bytes // 2 and self._spare is None and self._making is None:
            self._make_spare()

    async def mend(self, disk: Disk) -> bool:
        """After a failure, with nothing being synced: try to go on in a file in which the open intents are durable."""
        if self._making is not None:
            await asyncio.wait([self._making])
        spare, self._spare = self._spare, None
        broken, self._writing = self._writing, self.segments[-1]
        await self._loop.run_in_executor(self._pool, self._writing.cut if broken is self._writing else broken.drop)
        fresh = await self._loop.run_in_executor(self._pool, self._prepare, spare, self._carried())
        if fresh is None:
            return False
        synced: asyncio.Future[OSError | None] = self._loop.create_future()
        disk.sync(fresh.descriptor, partial(_settle, synced))
        if await synced is not None:
            await self._loop.run_in_executor(self._pool, fresh.drop)
            return False
        self._writing = fresh
        self.settle()
        return True

    async def close(self) -> None:
        """Remove what was made ahead; `segments` are left to whoever reads them."""
        if self._making is not None:
            await asyncio.wait([self._making])
        spare, self._spare = self._spare, None
        if spare is not None:
            await self._loop.run_in_executor(self._pool, spare.drop)
        self._pool.shutdown(wait=False)

    def _make_spare(self) -> None:
        if clock.monotonic() < self._not_before:
            return
        self._not_before = clock.monotonic() + RETRY_S
        self._making = self._loop.run_in_executor(self._pool, self._create)
        self._making.add_done_callback(self._made)

    def _made(self, work: asyncio.Future[Segment]) -> None:
        self._making = None
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the present file grows, and tells if it cannot
            self._spare = work.result()

    # -- in the thread ----------------------------------------

    def _create(self) -> Segment:
        path = self._directory / f"{next(self._numbers):017d}{SUFFIX}"
        return Segment.create(path, self._segment_bytes)

    def _prepare(self, spare: Segment | None, lines: list[bytes]) -> Segment | None:
        """A file that holds these lines; None = that cannot be had."""
        fresh = spare
        try:
            fresh = fresh or self._create()
            if lines:
                fresh.write(b"\n".join([*lines, b""]))
        except OSError:
            if fresh is not None:
                fresh.drop()
            return None
        return fresh


def _settle(waiting: asyncio.Future[OSError | None], error: OSError | None) -> None:
    if not waiting.done():
        waiting.set_result(error)
