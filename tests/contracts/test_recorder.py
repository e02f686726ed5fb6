"""Contract of `Recorder`: durable before told, in groups, visible after a flush. Runs on both stores."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callgate.audit.journal import JournalRecorder
from callgate.audit.opening import open_recorder
from callgate.audit.postgresql import PostgreSQLRecorder
from callgate.model.entry import Entry, Filter
from callgate.model.event import Change, Event, Intent, Outcome
from callgate.store import audit
from callgate.store.engine import Database
from tests.support.events import intent, outcome
from tests.support.waiting import until

AnyRecorder = JournalRecorder | PostgreSQLRecorder


@pytest.fixture
async def recorder(db: Database, tmp_path: Path) -> AsyncIterator[AnyRecorder]:
    opened = await open_recorder(db, tmp_path)
    yield opened
    await opened.stop()


async def entries(db: Database, tenant: str = "default", wanted: Filter | None = None) -> tuple[Entry, ...]:
    async with db.unit(tenant, write=False) as unit:
        return await audit.page(unit, None, 1000, wanted=wanted)


async def written(recorder: AnyRecorder, *events: Event) -> list[BaseException | None]:
    """Write events at once and wait for all callbacks."""
    results: list[BaseException | None] = []
    all_told = asyncio.Event()

    def done(error: BaseException | None) -> None:
        results.append(error)
        if len(results) == len(events):
            all_told.set()

    for event in events:
        recorder.write(event, done)
    assert results == []  # never from inside `write`
    async with asyncio.timeout(20):
        await all_told.wait()
    return results


async def test_every_field_of_every_event_comes_back(recorder: AnyRecorder, db: Database) -> None:
    made = intent(agent="bot", rule="r", unknown_name="aa", unknown_name_length=3, continues="cal_0", args_hash="h")
    ended = outcome(made, outcome="upstream_failed", code="upstream_timeout", upstream_us=6)
    change = Change(id="chg_1", at=made.at + 1, tenant="default", actor="operator:0", action="rules.put", subject="r", before="a")  # fmt: skip  # noqa: E501
    assert await written(recorder, made, ended, change) == [None] * 3
    await recorder.flush()
    shown_change, call = await entries(db)
    for name in Intent.__struct_fields__:
        assert getattr(call, name) == getattr(made, name)
    for name in set(Outcome.__struct_fields__) - {"at"}:
        assert getattr(call, name) == getattr(ended, name)
    assert call.ended_at == ended.at
    for name in Change.__struct_fields__:
        assert getattr(shown_change, name) == getattr(change, name)


async def test_many_events_at_once_are_all_told_and_all_there(recorder: AnyRecorder, db: Database) -> None:
    calls = [intent() for _ in range(400)]
    assert await written(recorder, *calls, *(outcome(call) for call in calls)) == [None] * 800
    await recorder.flush()
    found = await entries(db)
    assert {entry.id for entry in found} == {call.id for call in calls}
    assert {entry.outcome for entry in found} == {"result"}


async def test_tenants_of_one_group_do_not_mix(recorder: AnyRecorder, db: Database) -> None:
    ours, theirs = intent(tenant="acme"), intent(tenant="other")
    await written(recorder, ours, theirs)
    await recorder.flush()
    assert [entry.id for entry in await entries(db, "acme")] == [ours.id]
    assert [entry.id for entry in await entries(db, "other")] == [theirs.id]


async def test_an_event_written_twice_is_there_once(recorder: AnyRecorder, db: Database) -> None:
    made = intent()
    await written(recorder, made, made)
    await recorder.record(made)
    await recorder.flush()
    assert len(await entries(db)) == 1


async def test_a_relaxed_outcome_is_answered_before_it_is_durable_and_then_is(
    recorder: AnyRecorder, db: Database
) -> None:  # fmt: skip
    made = intent()
    await recorder.record(made)
    assert await written(recorder, outcome(made, durability="relaxed")) == [None]
    await recorder.flush()
    (entry,) = await entries(db)
    assert (entry.outcome, entry.durability) == ("result", "relaxed")


async def test_a_relaxed_outcome_becomes_durable_without_anything_else_happening(
    recorder: AnyRecorder, db: Database
) -> None:  # fmt: skip
    made = intent()
    await written(recorder, made, outcome(made, durability="relaxed"))

    async def there() -> bool:
        return any(entry.outcome for entry in await entries(db))

    await until(there)  # nothing here flushes, on purpose


async def test_a_callback_that_raises_does_not_keep_the_others(recorder: AnyRecorder) -> None:
    loop = asyncio.get_running_loop()
    blamed: list[object] = []
    loop.set_exception_handler(lambda _loop, context: blamed.append(context["exception"]))
    told = asyncio.Event()

    def fail(_error: BaseException | None) -> None:
        raise RuntimeError("mine")

    recorder.write(intent(), fail)
    recorder.write(intent(), lambda _error: told.set())
    async with asyncio.timeout(10):
        await told.wait()
    assert [str(error) for error in blamed] == ["mine"]


async def test_flushing_at_the_same_time_and_with_nothing_written_is_fine(recorder: AnyRecorder, db: Database) -> None:
    await recorder.flush()
    made = intent()
    recorder.write(made, lambda _error: None)
    async with asyncio.timeout(20):
        await asyncio.gather(*(recorder.flush() for _ in range(5)))
    assert [entry.id for entry in await entries(db)] == [made.id]
    assert recorder.healthy


async def test_stopping_writes_what_is_queued(db: Database, tmp_path: Path) -> None:
    recorder = await open_recorder(db, tmp_path)
    calls = [intent() for _ in range(50)]
    for call in calls:
        recorder.write(call, lambda _error: None)
    await recorder.stop()
    assert not recorder.healthy
    assert {entry.id for entry in await entries(db)} == {call.id for call in calls}
    journal = tmp_path / "journal"
    assert not journal.exists() or list(journal.iterdir()) == []
    assert [type(error).__name__ for error in await written(recorder, intent())] == ["NotDurable"]
