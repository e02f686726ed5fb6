"""Opening and losing the store: each failure has a sentence, none has a secret, and units work again afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from callgate.errors import Refused
from callgate.model.person import Person
from callgate.store import people
from callgate.store.engine import Database
from tests.support.postgres import OWNER, Cluster, free_port
from tests.support.waiting import until


async def refusal(url: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await Database.open(url)
    return caught.value


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    refused = await refusal(f"postgresql://callgate:hunter2@127.0.0.1:{free_port()}/callgate")
    assert refused.code == "store_unavailable"
    assert "PostgreSQL" in refused.sentence
    assert "hunter2" not in refused.sentence


async def test_a_database_that_is_not_there_is_named(pg_cluster: Cluster) -> None:
    refused = await refusal(pg_cluster.url("nowhere"))
    assert "nowhere" in refused.sentence


async def test_an_unknown_kind_of_url_is_a_bad_setting() -> None:
    assert (await refusal("mysql://x")).code == "bad_setting"


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "callgate.db"
    path.write_text("not a database, but a text that is longer than the header of one. " * 20)
    before = path.read_bytes()
    refused = await refusal(f"sqlite:///{path}")
    assert (refused.code, str(path) in refused.sentence) == ("store_unavailable", True)
    assert path.read_bytes() == before


async def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert (await refusal(f"sqlite:///{tmp_path}/missing/callgate.db")).code == "store_unavailable"


def modes(directory: Path) -> set[str]:
    return {oct(path.stat().st_mode & 0o777) for path in directory.glob("callgate.db*")}


async def test_the_file_is_for_its_owner_alone(sqlite_url: str, tmp_path: Path) -> None:
    db = await Database.open(sqlite_url)
    async with db.unit("default") as unit:
        await unit.bump("rules")
        assert modes(tmp_path) == {"0o600"}
    await db.close()


async def test_the_file_is_kept_with_write_ahead_log_and_full_syncs(sqlite_url: str) -> None:
    db = await Database.open(sqlite_url)
    async with db.unit("default") as unit:
        assert (await unit.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await unit.execute(text("PRAGMA synchronous"))).scalar_one() == 2
    await db.close()


async def test_a_second_writer_waits_and_a_reader_does_not(sqlite_url: str) -> None:
    db = await Database.open(sqlite_url)
    async with db.unit("default") as first:
        await first.bump("rules")
        waiting = asyncio.create_task(_bump(db))
        async with db.unit("default", write=False) as reader:
            assert await people.page(reader) == ()
        assert not waiting.done()
    async with asyncio.timeout(10):
        assert await waiting == 2
    await db.close()


async def _bump(db: Database) -> int:
    async with db.unit("default") as unit:
        return await unit.bump("rules")


async def test_a_cancelled_unit_is_rolled_back_and_the_store_goes_on(db: Database) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with db.unit("default") as unit:
            await people.add(unit, Person(id="per_1", tenant="default", email="a@b.test"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    async with asyncio.timeout(10):
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with db.unit("default") as unit:
            assert await people.page(unit) == ()
            assert await unit.bump("rules") == 1


async def test_partial_indexes_serve_the_queries_they_were_made_for(sqlite_url: str) -> None:
    db = await Database.open(sqlite_url)
    async with db.unit("default") as unit:
        plan = await unit.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT * FROM people WHERE tenant = 'a' AND email = 'b' AND people.deleted = false"
            )
        )
        assert "people_email" in str(plan.all())
        plan = await unit.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT id FROM audit WHERE tenant = 'a' AND audit.kind <> 'outcome' ORDER BY at, id"
            )
        )
        assert "audit_time" in str(plan.all())
    await db.close()


@pytest.fixture
async def own_cluster() -> AsyncIterator[Cluster]:
    """A server that a test may stop."""
    cluster = await asyncio.to_thread(Cluster.start)
    await asyncio.to_thread(cluster.sql, f"CREATE DATABASE own OWNER {OWNER}")
    yield cluster
    await asyncio.to_thread(cluster.destroy)


@pytest.mark.postgres
async def test_units_fail_while_the_server_is_away_and_work_when_it_is_back(own_cluster: Cluster) -> None:
    db = await Database.open(own_cluster.url("own"))
    heard: list[str] = []
    db.listen(heard.append)
    assert await _bump(db) == 1

    async def lose_the_server() -> None:
        async with db.unit("default") as unit:
            await unit.bump("agents")
            await asyncio.to_thread(own_cluster.down)
            with pytest.raises(Refused):
                await unit.bump("rules")

    for work in (lose_the_server(), _bump(db), Database.open(own_cluster.url("own"))):
        with pytest.raises(Refused) as caught:
            await work
        assert caught.value.code == "store_unavailable"
    await asyncio.to_thread(own_cluster.up)
    assert await _bump(db) == 2

    other = await Database.open(own_cluster.url("own"))

    async def hears_again() -> bool:
        heard.clear()
        await _bump(other)
        return "default:rules" in heard

    await until(hears_again)  # LISTEN is connected again by itself
    await other.close()
    await db.close()


async def test_maintenance_needs_a_server_where_there_is_one(sqlite_url: str, own_cluster: Cluster) -> None:
    embedded = await Database.open(sqlite_url)
    await embedded.maintain()  # nothing to do there
    await embedded.close()
    db = await Database.open(own_cluster.url("own"))
    await db.maintain()
    await asyncio.to_thread(own_cluster.down)
    with pytest.raises(Refused) as caught:
        await db.maintain()
    assert caught.value.code == "store_unavailable"
    await db.close()
