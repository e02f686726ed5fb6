"""Makes what was written to a file durable, without holding up the event loop.

Linux does it in the kernel (AIO): no second thread competes with the loop for the interpreter's lock. Where the kernel
will not (a container that forbids it, no room for a context, a filesystem that cannot), one thread does it, for good.
Fail closed: whatever the disk says arrives as an `OSError`; a disk that says nothing calls nobody.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from caio import linux_aio

Synced = Callable[[OSError | None], None]
_RESULTS = 1 << 64  # results come unsigned: -EIO as 2⁶⁴ - EIO


class Disk:
    """Syncs one descriptor at a time. Use from one event loop, which calls back."""

    _stuck: ClassVar[list[object]] = []  # freeing a context waits for its sync, so these are never freed

    def __init__(self, loop: asyncio.AbstractEventLoop, *, kernel: bool = True) -> None:
        self._loop = loop
        self._context = _context() if kernel else None
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: tuple[int, Synced] | None = None
        self._result: int | None = None
        if self._context is not None:
            loop.add_reader(self._context.fileno, self._ready)

    @property
    def kernel(self) -> bool:
        """Whether the kernel does it, not a thread."""
        return self._context is not None

    def sync(self, descriptor: int, done: Synced) -> None:
        """Call `done(None)` once the data is on stable storage, `done(error)` if that failed; never from inside.

        Only when the one before has called back.
        """
        if self._context is None:
            self._sync_in_thread(descriptor, done)
            return
        self._waiting = (descriptor, done)
        operation = linux_aio.Operation.fdsync(descriptor)
        operation.set_callback(self._keep)
        try:
            accepted = self._context.submit(operation)
        except (OverflowError, ValueError, SystemError):  # EAGAIN; EBADF, EINVAL; all others
            accepted = 0
        if not accepted:
            self._give_up_kernel()
            self._sync_in_thread(descriptor, done)

    def close(self) -> None:
        """Use no more. What is being synced is not waited for."""
        if self._context is not None:
            stuck = self._context if self._waiting is not None else None
            self._give_up_kernel()
            if stuck is not None:
                self._stuck.append(stuck)
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    # -- in the kernel ----------------------------------------

    def _keep(self, result: int) -> None:
        self._result = result

    def _ready(self) -> None:
        context = self._context
        if context is None or self._waiting is None:
            return
        with contextlib.suppress(BlockingIOError):  # the counter is only what wakes us
            context.poll()
        try:
            context.process_events(1)
        except SystemError:  # EINTR: a signal came, and the event was left where it is
            self._loop.call_soon(self._ready)
            return
        if self._result is None:
            return
        (descriptor, done), self._waiting = self._waiting, None
        result, self._result = self._result, None
        error = failure(result)
        if error is not None and error.errno == errno.EINVAL:
            self._give_up_kernel()
            self._sync_in_thread(descriptor, done)
            return
        done(error)

    def _give_up_kernel(self) -> None:
        if self._context is not None:
            self._loop.remove_reader(self._context.fileno)
        self._context = None
        self._waiting = None

    # -- in a thread ----------------------------------------

    def _sync_in_thread(self, descriptor: int, done: Synced) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "audit-sync")
        work = self._loop.run_in_executor(self._pool, _fdatasync, descriptor)
        work.add_done_callback(lambda ended: None if ended.cancelled() else done(ended.result()))


def failure(result: int) -> OSError | None:
    """What a result of the kernel means: 0, or an error's number, negative or as 64 unsigned bits."""
    code = _RESULTS - result if result >= _RESULTS >> 1 else -result
    return OSError(code, os.strerror(code)) if code > 0 else None


def _context() -> linux_aio.Context | None:
    try:
        context = linux_aio.Context(1)
    # there is no such module on another system; ENOSYS, EPERM; EAGAIN: all contexts of the machine are taken
    except (AttributeError, SystemError):
        return None
    os.set_inheritable(context.fileno, False)
    return context


def _fdatasync(descriptor: int) -> OSError | None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        return error
    return None
