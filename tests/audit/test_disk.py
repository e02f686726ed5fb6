"""Making data durable behind the loop's back: in the kernel where it will, in a thread where not."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callgate.audit import disk as module
from callgate.audit.disk import Disk, failure


@pytest.fixture(params=["kernel", "thread"])
async def disk(request: pytest.FixtureRequest) -> AsyncIterator[Disk]:
    made = Disk(asyncio.get_running_loop(), kernel=request.param == "kernel")
    if request.param == "kernel" and not made.kernel:
        pytest.skip("the kernel gives no AIO context here")
    yield made
    made.close()


@pytest.fixture
async def kernel_disk() -> AsyncIterator[Disk]:
    made = Disk(asyncio.get_running_loop())
    if not made.kernel:
        pytest.skip("the kernel gives no AIO context here")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> int:
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


async def synced(disk: Disk, descriptor: int) -> OSError | None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[OSError | None] = loop.create_future()
    disk.sync(descriptor, ended.set_result)
    assert not ended.done()  # never from inside
    async with asyncio.timeout(20):
        return await ended


async def test_each_sync_is_told_once_on_the_loop(disk: Disk, file: int) -> None:
    for number in range(20):
        os.pwrite(file, b"line\n", number * 5)
        assert await synced(disk, file) is None


async def test_an_error_is_told_and_the_next_sync_works(disk: Disk, file: int, tmp_path: Path) -> None:
    closed = os.open(tmp_path / "closed", os.O_RDWR | os.O_CREAT)
    os.close(closed)
    error = await synced(disk, closed)
    assert error is not None
    assert error.errno == errno.EBADF
    assert await synced(disk, file) is None


async def test_what_cannot_be_synced_at_all_is_an_error_both_ways(disk: Disk, file: int) -> None:
    reading, _writing = os.pipe()
    error = await synced(disk, reading)
    assert error is not None
    assert error.errno == errno.EINVAL
    assert not disk.kernel  # the kernel refused it, so the thread had to say
    assert await synced(disk, file) is None


async def test_a_callback_that_raises_goes_to_the_handler_of_the_loop(disk: Disk, file: int) -> None:
    loop = asyncio.get_running_loop()
    handled: asyncio.Future[BaseException] = loop.create_future()
    loop.set_exception_handler(lambda _loop, context: handled.set_result(context["exception"]))

    def raising(_error: OSError | None) -> None:
        raise LookupError

    disk.sync(file, raising)
    async with asyncio.timeout(20):
        assert isinstance(await handled, LookupError)
    assert await synced(disk, file) is None


async def test_closing_waits_for_no_sync(disk: Disk, file: int) -> None:
    disk.sync(file, lambda _error: None)
    disk.close()
    disk.close()


@pytest.mark.parametrize(
    ("result", "code"), [(0, None), (7, None), (-errno.EIO, errno.EIO), (2**64 - errno.EIO, errno.EIO)]
)
def test_the_kernel_s_results_become_errors(result: int, code: int | None) -> None:
    error = failure(result)
    assert (error and error.errno) == code


async def test_without_a_context_a_thread_does_it(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_size: int) -> None:
        raise SystemError(errno.EAGAIN, "Resource temporarily unavailable")

    class NoRoom:
        Context = staticmethod(refuse)

    for stand_in in (None, NoRoom):
        monkeypatch.setattr(module, "linux_aio", stand_in)
        disk = Disk(asyncio.get_running_loop())
        assert not disk.kernel
        assert await synced(disk, file) is None
        disk.close()


async def test_a_filesystem_that_answers_einval_is_synced_by_a_thread_from_then_on(
    kernel_disk: Disk, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Disk._keep
    monkeypatch.setattr(Disk, "_keep", lambda self, _result: keep(self, 2**64 - errno.EINVAL))
    assert await synced(kernel_disk, file) is None
    assert not kernel_disk.kernel
    assert await synced(kernel_disk, file) is None


class Interrupted:
    """A context of which the first looks bring nothing: a signal, then an event that is not there yet."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def process_events(self, most: int) -> int:
        self.looks += 1
        if self.looks == 1:
            raise SystemError(errno.EINTR, "Interrupted system call")
        found: int = self._real.process_events(most)
        return found


async def test_a_signal_loses_no_completion(kernel_disk: Disk, file: int) -> None:
    context = Interrupted(kernel_disk._context)
    kernel_disk._context = context  # type: ignore[assignment]
    kernel_disk._ready()  # woken for nothing
    assert await synced(kernel_disk, file) is None
    kernel_disk._ready()
    assert context.looks == 2


async def test_a_look_that_finds_nothing_changes_nothing(kernel_disk: Disk, file: int) -> None:
    class Empty(Interrupted):
        def process_events(self, most: int) -> int:
            self.looks += 1
            return 0 if self.looks == 1 else int(self._real.process_events(most))

    kernel_disk._context = Empty(kernel_disk._context)  # type: ignore[assignment]
    told: list[OSError | None] = []
    kernel_disk._waiting = (file, told.append)
    kernel_disk._ready()
    assert told == []
    kernel_disk._waiting = None
    assert await synced(kernel_disk, file) is None
