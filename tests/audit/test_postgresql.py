"""The recorder on PostgreSQL: rides out restarts, refuses while the server is away, keeps a culprit apart."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from callgate.audit import postgresql
from callgate.audit.postgresql import PostgreSQLRecorder
from callgate.errors import Refused
from callgate.model.entry import Entry
from callgate.model.event import Intent
from callgate.store import audit
from callgate.store.engine import Database
from tests.support.events import intent, outcome
from tests.support.postgres import OWNER, Cluster, free_port
from tests.support.waiting import until

pytestmark = pytest.mark.postgres


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A server that a test may stop."""
    found = await asyncio.to_thread(Cluster.start)
    await asyncio.to_thread(found.sql, f"CREATE DATABASE own OWNER {OWNER}")
    yield found
    await asyncio.to_thread(found.destroy)


async def entries(db: Database) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    after = None
    async with db.unit("default", write=False) as unit:
        while page := await audit.page(unit, after, 1000):
            found |= {entry.id: entry for entry in page}
            after = audit.cursor(page[-1])
    return found


async def test_a_restart_under_load_loses_nothing_that_was_told_durable(cluster: Cluster) -> None:
    db = await Database.open(cluster.url("own"))
    recorder = PostgreSQLRecorder(cluster.url("own"))
    await recorder.start()
    durable: list[Intent] = []
    stop = asyncio.Event()

    async def caller() -> None:
        while not stop.is_set():
            made = intent()
            try:
                await recorder.record(made)
                durable.append(made)
                await recorder.record(outcome(made))
            except Refused:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        for _ in range(8):
            group.create_task(caller())
        for _ in range(2):
            before = len(durable)
            await asyncio.to_thread(cluster.down)
            await asyncio.to_thread(cluster.up)

            async def goes_on(before: int = before) -> bool:
                return recorder.healthy and len(durable) > before + 50

            await until(goes_on, 30)
        stop.set()
    await recorder.flush()
    found = await entries(db)
    assert {made.id for made in durable} <= found.keys()
    await recorder.stop()
    await db.close()


async def test_while_the_server_is_away_records_are_refused_and_the_truth_is_written_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LONGEST_S", 0.3)
    db = await Database.open(cluster.url("own"))
    recorder = PostgreSQLRecorder(cluster.url("own"))
    await recorder.start()
    served, running = intent(), intent()
    await recorder.record(served)
    await recorder.record(running)
    await asyncio.to_thread(cluster.down)
    asked, told = intent(), asyncio.Queue[BaseException | None]()
    recorder.write(asked, told.put_nowait)
    recorder.write(outcome(served), told.put_nowait)
    recorder.write(outcome(intent(), durability="relaxed"), lambda _error: None)
    async with asyncio.timeout(10):
        assert [type(await told.get()).__name__ for _ in range(2)] == ["NotDurable"] * 2
    assert not recorder.healthy
    for event in (never := intent(), outcome(never), outcome(running)):
        with pytest.raises(Refused) as caught:
            await recorder.record(event)
        assert caught.value.code == "not_recorded"
    await recorder.flush()  # returns: there is nothing to wait for
    await asyncio.to_thread(cluster.up)

    async def healed() -> bool:
        return recorder.healthy

    await until(healed)
    await recorder.flush()
    found = await entries(db)
    # the answers were broken off, so how the calls ended is not known
    ends = {key: (entry.outcome, entry.code) for key, entry in found.items()}
    assert ends == dict.fromkeys((served.id, running.id), ("unknown", "not_recorded"))
    await recorder.stop()
    await db.close()


async def test_a_server_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(Refused) as caught:
        await PostgreSQLRecorder(f"postgresql://x@127.0.0.1:{free_port()}/x").start()
    assert caught.value.code == "store_unavailable"


@pytest.mark.parametrize("odd", ["nul\0", "\ud800"])
async def test_an_event_that_no_column_can_hold_fails_alone(pg_url: str, odd: str) -> None:
    db = await Database.open(pg_url)
    recorder = PostgreSQLRecorder(pg_url)
    await recorder.start()
    good, bad = intent(), intent(client=odd)
    results = await asyncio.gather(*(recorder.record(event) for event in (good, bad)), return_exceptions=True)
    assert [getattr(result, "code", None) for result in results] == [None, "not_recorded"]
    assert recorder.healthy
    assert (await entries(db)).keys() == {good.id}
    await recorder.stop()
    await db.close()


async def test_stopping_while_the_server_is_away_ends_in_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LONGEST_S", 0.3)
    await (await Database.open(cluster.url("own"))).close()
    recorder = PostgreSQLRecorder(cluster.url("own"))
    await recorder.start()
    await asyncio.to_thread(cluster.down)
    told: asyncio.Queue[BaseException | None] = asyncio.Queue()
    recorder.write(intent(), told.put_nowait)
    async with asyncio.timeout(15):
        await recorder.stop()
        assert await told.get() is not None
    assert not recorder.healthy


async def test_a_known_outcome_wins_over_one_that_was_guessed(pg_url: str) -> None:
    db = await Database.open(pg_url)
    made = intent()
    guessed = msgspec.structs.replace(outcome(made), at=made.at + 99, outcome="unknown")
    async with db.unit("default") as unit:
        await audit.append(unit, made, guessed, outcome(made))
        (entry,) = await audit.page(unit)
    assert entry.outcome == "result"
    await db.close()


async def test_a_role_that_may_not_record_stops_the_start(pg_url: str, pg_cluster: Cluster) -> None:
    await asyncio.to_thread(pg_cluster.sql, "CREATE ROLE stranger LOGIN")
    with pytest.raises(Refused) as caught:
        await PostgreSQLRecorder(pg_url.replace(OWNER, "stranger")).start()
    assert caught.value.code == "store_unavailable"
