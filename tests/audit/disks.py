"""Disks that fail or hang when a test wants it; all else is the real one."""

import asyncio
import os

from callgate.audit.disk import Disk, Synced
from callgate.audit.segment import Segment


class FaultyDisk:
    """While `sync` is set each sync fails with it; between `hold()` and `go_on()` none comes through."""

    def __init__(self, *, kernel: bool = True) -> None:
        self.sync: OSError | None = None
        self.reached = asyncio.Event()  # a sync has come in since `hold()`
        self.syncs = 0
        self._kernel = kernel
        self._held: list[tuple[int, Synced]] | None = None
        self._real: Disk

    def on(self, loop: asyncio.AbstractEventLoop) -> Disk:
        """The disk to give to a recorder."""
        self._real = _Wrapped(loop, self, kernel=self._kernel)
        return self._real

    def hold(self) -> None:
        self._held = []
        self.reached.clear()

    def go_on(self) -> None:
        held, self._held = self._held or [], None
        for descriptor, done in held:
            self._real.sync(descriptor, done)

    def intercept(self, descriptor: int, done: Synced) -> bool:
        """Whether the real disk must not see this sync."""
        self.syncs += 1
        if self._held is not None:
            self._held.append((descriptor, done))
            self.reached.set()
            return True
        if self.sync is not None:
            asyncio.get_running_loop().call_soon(done, self.sync)
            return True
        return False


class _Wrapped(Disk):
    def __init__(self, loop: asyncio.AbstractEventLoop, faults: FaultyDisk, *, kernel: bool) -> None:
        super().__init__(loop, kernel=kernel)
        self._faults = faults

    def sync(self, descriptor: int, done: Synced) -> None:
        if not self._faults.intercept(descriptor, done):
            super().sync(descriptor, done)


def add(segment: Segment, data: bytes) -> None:
    """Write and sync, as a recorder does it."""
    segment.write(data)
    os.fdatasync(segment.descriptor)
    segment.durable = segment.end
