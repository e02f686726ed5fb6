"""How a change reaches every replica: by wake-up, by poll where that got lost, and never by halves."""

import asyncio
from collections.abc import Callable

import pytest

from callgate import clock
from callgate.errors import Refused
from callgate.fleet import sync
from callgate.fleet.sync import Fleet
from callgate.model.person import Agent
from callgate.model.rule import Rule
from callgate.store import agents, replicas, reviews, revisions, rules, tenants, upstreams
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.replicas import add_upstream, fleet, new_fleet, see
from tests.support.reviewing import OPERATOR
from tests.support.waiting import until


async def put_rule(db: Database, name: str, tenant: str = "default") -> None:
    async with db.unit(tenant) as unit:
        await rules.put(unit, Rule(name, "T", "deny"))


async def knows(replica: Fleet, check: Callable[[Fleet], bool]) -> None:
    async def looks() -> bool:
        return check(replica)

    await until(looks)


class Shifted:
    """The monotonic clock, put forward by hand."""

    def __init__(self) -> None:
        self.real = clock.monotonic
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.real() + self.ahead


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> Shifted:
    found = Shifted()
    monkeypatch.setattr(clock, "monotonic", found)
    return found


async def test_a_start_loads_everything_there_is(db: Database) -> None:
    async with fleet(db, "r0"):
        await add_upstream(db)
    await see(db, ["a", "b"])
    await put_rule(db, "no")
    async with db.unit("default") as unit:
        await agents.add(unit, Agent("agt_1", "default", "bot", ("files",)))
    async with fleet(db, "r1") as one:
        view = one.view("default")
        assert set(view.tools) == {"files__a", "files__b"}
        assert view.upstream_names == {"files": "ups_1"}
        assert view.agents["bot"].upstreams == ("files",)
        assert [rule.id for rule in view.rules.rules] == ["no"]
        async with db.unit("default", write=False) as unit:
            assert dict(view.revisions) == await revisions.of_tenant(unit)


async def test_a_change_reaches_both_replicas_without_a_poll(db: Database) -> None:
    async with fleet(db, "r1") as one, fleet(db, "r2") as two:
        await put_rule(db, "no")
        for replica in (one, two):
            await knows(replica, lambda each: len(each.view("default").rules.rules) == 1)
        assert one.revisions() == two.revisions()


async def test_a_change_on_another_connection_reaches_a_replica_of_postgresql(pg_url: str) -> None:
    one_db, two_db = await Database.open(pg_url), await Database.open(pg_url)
    try:
        async with fleet(one_db, "r1"), fleet(two_db, "r2") as two:
            await put_rule(one_db, "no")
            await knows(two, lambda each: len(each.view("default").rules.rules) == 1)
    finally:
        await one_db.close()
        await two_db.close()


async def test_a_lost_wake_up_is_made_good_by_the_poll(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "_woken", lambda _self, _payload: None)
    async with fleet(db, "r1", poll=0.1) as one:
        await put_rule(db, "no")
        await knows(one, lambda each: len(each.view("default").rules.rules) == 1)


async def test_mail_wakes_nobody_to_look(db: Database) -> None:
    async with fleet(db, "r1") as one:
        one._wake.clear()
        one._woken("mail:r1")
        assert not one._wake.is_set()


async def test_own_changes_are_seen_after_refresh_now(db: Database) -> None:
    async with fleet(db, "r1") as one:
        await add_upstream(db)
        await see(db, ["a"])
        await one.refresh_now("default")
        assert set(one.view("default").tools) == {"files__a"}
        async with db.unit("default") as unit:
            await upstreams.remove(unit, "ups_1")
        await one.refresh_now("default")
        view = one.view("default")
        assert (dict(view.tools), dict(view.upstreams), dict(view.states), dict(view.by_upstream)) == ({}, {}, {}, {})


async def test_subscribers_hear_which_aggregates_moved_and_nothing_when_nothing_did(db: Database) -> None:
    async with fleet(db, "r1") as one:
        heard: list[tuple[str, frozenset[str]]] = []
        stop = one.subscribe(lambda tenant, moved: heard.append((tenant, moved)))
        await add_upstream(db)
        await one.refresh()
        await one.refresh()
        stop()
        stop()
        await put_rule(db, "no")
        await one.refresh()
    assert heard == [("default", frozenset({"upstreams", "states"}))]


async def test_a_defect_in_a_callback_does_not_end_the_following(db: Database) -> None:
    async with fleet(db, "r1", poll=0.05) as one:

        def fails(_tenant: str, _moved: frozenset[str]) -> None:
            raise LookupError

        stop = one.subscribe(fails)
        await put_rule(db, "no")
        await knows(one, lambda each: len(each.view("default").rules.rules) == 1)
        stop()
        await put_rule(db, "more")
        await knows(one, lambda each: len(each.view("default").rules.rules) == 2)


async def test_tenants_do_not_see_each_other(db: Database) -> None:
    async with fleet(db, "r1") as one:
        async with db.unit(None) as unit:
            await tenants.ensure(unit, "acme")
        await put_rule(db, "no", "acme")
        await one.refresh()
        assert len(one.view("acme").rules.rules) == 1
        assert len(one.view("default").rules.rules) == 0
        with pytest.raises(Refused) as caught:
            one.view("nobody")
        assert caught.value.code == "not_found"


async def test_a_tenant_that_is_gone_is_forgotten(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet(db, "r1") as one:
        async with db.unit(None) as unit:
            await tenants.ensure(unit, "acme")
        await one.refresh()
        assert one.view("acme").tenant == "acme"

        async def left(_unit: object) -> tuple[str, ...]:
            return ("default",)

        monkeypatch.setattr(tenants, "all_ids", left)
        await one.refresh()
        with pytest.raises(Refused):
            one.view("acme")


async def test_a_store_that_is_away_longer_than_the_grace_makes_the_view_refuse(
    db: Database, shifted: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet(db, "r1") as one:

        def away(_self: Database, _tenant: str | None, **_: bool) -> object:
            raise Refused("store_unavailable")

        monkeypatch.setattr(Database, "unit", away)
        with pytest.raises(Refused):
            await one.refresh()
        assert one.view("default").tenant == "default"
        shifted.ahead = sync.GRACE_SECONDS - 1
        before = one.fresh
        assert one.view("default").tenant == "default"
        shifted.ahead = sync.GRACE_SECONDS + 1
        assert (before, one.fresh) == (True, False)
        with pytest.raises(Refused) as caught:
            one.view("default")
        assert caught.value.code == "store_unavailable"


async def test_a_look_counts_from_its_beginning(
    db: Database, shifted: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet(db, "r1") as one:
        real = tenants.all_ids

        async def slow(unit: Unit) -> tuple[str, ...]:
            shifted.ahead += sync.GRACE_SECONDS + 1
            return await real(unit)

        monkeypatch.setattr(tenants, "all_ids", slow)
        await one.refresh()
        assert not one.fresh


async def test_what_moved_while_a_look_failed_is_told_by_the_next_one(
    db: Database, shifted: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a token that was revoked during an outage would stay in the caches for ever."""
    async with fleet(db, "r1") as one:
        async with db.unit(None) as unit:
            await tenants.ensure(unit, "zz")
        await one.refresh()
        heard: list[tuple[str, frozenset[str]]] = []

        def hear(tenant: str, moved: frozenset[str]) -> None:
            assert one.view(tenant).tenant == tenant  # whoever is told may look
            heard.append((tenant, moved))

        one.subscribe(hear)
        monkeypatch.setattr(one._wake, "set", lambda: None)
        await put_rule(db, "no", "default")
        await put_rule(db, "no", "zz")
        real = Fleet._catch_up

        async def fails(self: Fleet, tenant: str, current: dict[str, int]) -> None:
            if tenant == "zz":
                raise Refused("store_unavailable")
            await real(self, tenant, current)

        monkeypatch.setattr(Fleet, "_catch_up", fails)
        with pytest.raises(Refused):
            await one.refresh()
        assert heard == []
        shifted.ahead = sync.GRACE_SECONDS + 1
        monkeypatch.setattr(Fleet, "_catch_up", real)
        await one.refresh()
        assert sorted(heard) == [("default", frozenset({"rules"})), ("zz", frozenset({"rules"}))]


async def test_a_replica_goes_on_when_the_store_is_back(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "HEARTBEAT_SECONDS", 0.01)
    async with fleet(db, "r1", poll=0.02) as one:
        failed = {False: asyncio.Event(), True: asyncio.Event()}  # by whether it wanted to write: a look, a heartbeat
        real = Database.unit

        def away(self: Database, tenant: str | None, *, write: bool = True) -> object:
            failed[write].set()
            raise Refused("store_unavailable")

        monkeypatch.setattr(Database, "unit", away)
        async with asyncio.timeout(20):
            await failed[False].wait()
            await failed[True].wait()
        await one.refresh_now("default")
        monkeypatch.setattr(Database, "unit", real)
        await put_rule(db, "no")
        await knows(one, lambda each: len(each.view("default").rules.rules) == 1)


async def test_a_start_without_a_store_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    db = await Database.open(sqlite_url)
    one = new_fleet(db, "r1")

    def away(_self: Database, _tenant: str | None, **_: bool) -> object:
        raise Refused("store_unavailable")

    monkeypatch.setattr(Database, "unit", away)
    with pytest.raises(Refused):
        await one.start()
    with pytest.raises(Refused):
        one.view("default")
    await one.stop()
    await db.close()


async def test_a_replica_says_what_it_has_and_leaves_when_it_stops(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "HEARTBEAT_SECONDS", 0.01)
    async with fleet(db, "r1") as one:
        await put_rule(db, "no")
        await one.refresh()

        async def told() -> bool:
            async with db.unit(None, write=False) as unit:
                row = await replicas.get(unit, "r1")
            return row is not None and row.seen == one.revisions()

        await until(told)
    async with db.unit(None, write=False) as unit:
        assert await replicas.get(unit, "r1") is None


async def test_a_change_of_ten_thousand_tools_is_swapped_in_whole(db: Database) -> None:
    async with fleet(db, "r1") as one:
        await add_upstream(db)
        await see(db, [f"t{number}" for number in range(10_000)])
        await one.refresh()
        first = one.view("default")
        assert len(first.tools) == 10_000
        async with db.unit("default") as unit:
            await reviews.block(unit, OPERATOR, first.tools["files__t7"].id)
        await one.refresh()
        second = one.view("default")
        assert second.tools["files__t7"].status == "blocked"
        assert second.tools["files__t8"] is first.tools["files__t8"]
        assert second.upstreams is first.upstreams
