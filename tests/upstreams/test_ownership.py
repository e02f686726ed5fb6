"""Who may look at an upstream: one replica at a time, and no dead one for long."""

from collections.abc import AsyncIterator

import pytest

from callgate.store import leases, replicas
from callgate.store.engine import Database
from callgate.upstreams.ownership import Ownership


@pytest.fixture
async def pg(pg_url: str) -> AsyncIterator[Database]:
    found = await Database.open(pg_url)
    yield found
    await found.close()


async def beat(db: Database, replica: str) -> None:
    async with db.unit(None) as unit:
        await replicas.heartbeat(unit, replica, {}, b"key", {})


async def test_a_store_of_one_process_has_no_other_owner(sqlite_url: str) -> None:
    db = await Database.open(sqlite_url)
    async with db.unit(None) as unit:  # what a process that was killed left behind
        await leases.acquire(unit, "discover:ups_1", "dead", 60)
    own = Ownership(db, "r1")
    assert await own.claim(["ups_1"]) == {"ups_1"}
    assert await own.take("ups_1") is None
    await own.give(["ups_1"])
    await db.close()


@pytest.mark.postgres
async def test_of_two_replicas_one_owns_each_upstream_until_it_gives_it_back(pg: Database) -> None:
    one, two = Ownership(pg, "r1"), Ownership(pg, "r2")
    await beat(pg, "r1")
    assert await one.claim(["ups_1", "ups_2"]) == {"ups_1", "ups_2"}
    assert await two.claim(["ups_1", "ups_2", "ups_3"]) == {"ups_3"}
    assert await two.take("ups_1") == "r1"
    await two.give(["ups_1"])  # not its own
    assert await two.take("ups_1") == "r1"
    await one.give(["ups_1"])
    assert await two.take("ups_1") is None
    assert await one.claim(["ups_1", "ups_2"]) == {"ups_2"}


@pytest.mark.postgres
async def test_the_lease_of_a_replica_that_is_gone_is_taken_over(pg: Database) -> None:
    one, two = Ownership(pg, "r1"), Ownership(pg, "r2")
    await one.claim(["ups_1"])  # and it never beat, or long ago
    assert await two.take("ups_1") is None
    assert await one.claim(["ups_1"]) == frozenset()
