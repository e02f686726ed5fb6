"""Group commit: what is queued is written as one piece, synced as one, and reported as one, on the event loop.

A group begins in the iteration of the loop after the first record came in, or after the group before it was reported,
so all records of one iteration share a sync. Fail closed: after an error nothing more is written to that file; a fresh
one is tried every second, and only when that can be written and synced is the journal said to work again.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable

from callgate import clock
from callgate.audit import rotation
from callgate.audit.disk import Disk
from callgate.audit.rotation import Rotation
from callgate.audit.writer import Done

_LAST_TRIES = 3
Item = tuple[bytes, Done | None]  # a line without its end ("" = only a callback), and whom to tell


class Group:
    """What was taken from the queue together. `since` is monotonic; `told` once the callbacks were called."""

    __slots__ = ("items", "since", "told")

    def __init__(self, items: list[Item], since: float) -> None:
        self.items = items
        self.since = since
        self.told = False


class GroupWriter:
    """Writes what is put into `queue`. `report(group, error)` comes once for each group, `works()` after a failure."""

    def __init__(
        self, disk: Disk, files: Rotation, report: Callable[[Group, OSError | None], None], works: Callable[[], None]
    ) -> None:
        self.queue: list[Item] = []
        self.resting = True  # nothing is on its way, so whoever queues something has to `wake`
        self.current: Group | None = None
        self._disk = disk
        self._files = files
        self._report = report
        self._works = works
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._mending: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Begin a group in the next iteration, if nothing is on its way."""
        if self.resting:
            self.resting = False
            self._loop.call_soon(self._begin)

    def mark(self) -> asyncio.Future[BaseException | None]:
        """Queue nothing, and tell when it would be durable: all that was queued before is (None), or failed."""
        reached: asyncio.Future[BaseException | None] = self._loop.create_future()
        self.queue.append((b"", lambda error: None if reached.done() else reached.set_result(error)))
        self.wake()
        return reached

    async def drain(self, seconds: float) -> None:
        """Write what is queued, mending at once if need be, and close the files. Gives up after `seconds`."""
        self._stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._write_all()
                await self._files.close()
        self._disk.close()

    async def _write_all(self) -> None:
        for _ in range(_LAST_TRIES):
            if self._mending is not None:
                await self._mending
            if self._mending is not None or await self.mark() is None:
                return

    def _begin(self) -> None:
        items, self.queue = self.queue, []
        self.current = Group(items, clock.monotonic())
        try:
            lines = [line for line, _ in items if line]
            if lines:
                self._disk.sync(self._files.write(lines), self._synced)
                return
        except OSError as error:
            self._synced(error)
        except MemoryError:
            self._synced(OSError(errno.ENOMEM, "out of memory"))
        else:
            self._synced(None)

    def _synced(self, error: OSError | None) -> None:
        group, self.current = self.current, None
        if group is None:
            return
        if error is not None:
            self._mending = self._loop.create_task(self._mend())
        else:
            self._files.settle()
            self._go_on()
        self._report(group, error)  # last: a callback may raise, and may write

    def _go_on(self) -> None:
        if self.queue:
            self._loop.call_soon(self._begin)
        else:
            self.resting = True

    async def _mend(self) -> None:
        mended = False
        while not mended:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), rotation.RETRY_S)
            mended = await self._files.mend(self._disk)
            if not mended and self._stopping.is_set():
                return
        self._mending = None
        self._works()
        self._go_on()
