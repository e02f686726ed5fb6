"""What recorders share: waiting for one record, and telling many."""

import asyncio

import pytest

from callgate.audit import writer
from callgate.audit.writer import Done
from callgate.errors import Refused
from callgate.model.event import Event
from tests.support.events import intent


class Silent:
    """A recorder that answers when it is asked to."""

    healthy = True

    def __init__(self) -> None:
        self.waiting: list[Done] = []

    def write(self, event: Event, done: Done) -> None:
        self.waiting.append(done)

    async def record(self, event: Event) -> None:
        await writer.record(self, event)

    async def flush(self) -> None: ...

    async def stop(self) -> None: ...


async def test_a_record_without_an_answer_is_refused_in_time_and_a_late_answer_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "LONGEST_S", 0.01)
    recorder = Silent()
    with pytest.raises(Refused) as caught:
        await recorder.record(intent())
    assert caught.value.code == "not_recorded"
    recorder.waiting[0](None)


async def test_a_waiter_that_was_cancelled_does_no_harm_either() -> None:
    recorder = Silent()
    task = asyncio.create_task(recorder.record(intent()))
    await asyncio.sleep(0)  # lets the task begin
    assert len(recorder.waiting) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    recorder.waiting[0](None)
