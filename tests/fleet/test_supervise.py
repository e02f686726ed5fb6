"""Background tasks go on after an unexpected error, and end when they are done or cancelled."""

import asyncio

import pytest

from callgate.fleet.supervise import supervised


async def test_an_unexpected_error_starts_the_work_again(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise KeyError("payload")

    async with asyncio.timeout(20):
        await supervised("work", work, first_wait=0.001)
    assert runs == [0, 1, 2]


async def test_a_cancelled_task_ends() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    task = supervised("work", work)
    async with asyncio.timeout(20):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
