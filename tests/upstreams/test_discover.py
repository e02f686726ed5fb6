"""Who looks at which upstream, and when: on its own, on a notice, on request, on whichever replica."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import pytest

from callgate.credentials.replica_key import ReplicaKey
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.fleet.sync import Fleet
from callgate.model.definition import PENDING_REVIEW
from callgate.model.upstream import Upstream
from callgate.store import leases, replicas, tenants, upstreams
from callgate.store.engine import Database
from callgate.upstreams import discover as following
from callgate.upstreams.discover import Discovery
from tests.support.observed import Shelf, facts, tool
from tests.support.replicas import add_upstream, fleet
from tests.support.reviewing import NoScanner
from tests.support.waiting import until

NEVER = 3600.0  # an interval that no test waits for


@dataclass(frozen=True)
class Replica:
    """One gateway process, as far as discovery goes. `moved` gets the aggregates of each change it hears of."""

    fleet: Fleet
    shelf: Shelf
    discovery: Discovery
    mail: Mail
    moved: asyncio.Queue[frozenset[str]]

    async def hears(self, aggregate: str) -> None:
        async with asyncio.timeout(20):
            while aggregate not in await self.moved.get():
                pass

    async def sees(self, check: Callable[[dict[str, str]], bool], upstream: str = "ups_1") -> None:
        """Until the statuses of an upstream's tools are so."""

        async def looks() -> bool:
            known = self.fleet.view("default").by_upstream.get(upstream, {})
            return check({name: item.status for (kind, name), item in known.items() if kind == "tool"})

        await until(looks)

    async def until_watching(self, upstream: str = "ups_1") -> None:
        async def listens() -> bool:
            return upstream in self.shelf.heard

        await until(listens)


@asynccontextmanager
async def running(
    db: Database, name: str, *, start: bool = True, interval: float = NEVER, shelf: Shelf | None = None
) -> AsyncIterator[Replica]:
    key = ReplicaKey.generate(b"s")
    async with fleet(db, name, key=key) as found:
        mail = Mail(db, name, key)
        shelf = shelf or Shelf()
        shelf.offers.setdefault("ups_1", facts(tool("read")))
        discovery = Discovery(db, found, mail, shelf, NoScanner(), interval=interval)
        moved: asyncio.Queue[frozenset[str]] = asyncio.Queue()
        found.subscribe(lambda _tenant, aggregates: moved.put_nowait(aggregates))
        await mail.start()
        if start:
            await discovery.start()
        try:
            yield Replica(found, shelf, discovery, mail, moved)
        finally:
            await discovery.stop()
            await mail.stop()


@pytest.fixture
async def pg(pg_url: str) -> AsyncIterator[Database]:
    found = await Database.open(pg_url)
    async with found.unit(None) as unit:
        await tenants.ensure(unit, "default")
    yield found
    await found.close()


async def change(db: Database, upstream: Upstream, **values: object) -> None:
    async with db.unit("default") as unit:
        await upstreams.update_one(unit, msgspec.structs.replace(upstream, **values))


# -- on its own ----------------------------------------------------------------------------------------------------


async def test_an_upstream_is_looked_at_as_soon_as_it_is_added(db: Database) -> None:
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.sees(lambda found: found == {"read": PENDING_REVIEW})


async def test_upstreams_that_were_there_before_are_looked_at_at_the_start(db: Database) -> None:
    async with running(db, "r1", start=False) as one:
        await add_upstream(db)
        await one.fleet.refresh()
        await one.discovery.start()
        await one.sees(lambda found: found == {"read": PENDING_REVIEW})


async def test_the_interval_brings_what_nobody_told_of(db: Database) -> None:
    async with running(db, "r1", interval=0.05) as one:
        await add_upstream(db)
        await one.sees(lambda found: "read" in found)
        one.shelf.offers["ups_1"] = facts(tool("read"), tool("new"))
        await one.sees(lambda found: "new" in found)


async def test_a_broken_upstream_is_tried_again_long_before_the_interval(db: Database) -> None:
    async with running(db, "r1") as one:
        one.shelf.offers["ups_1"] = Refused("upstream_unavailable")
        await add_upstream(db)
        await one.shelf.next_asked()
        one.shelf.offers["ups_1"] = facts(tool("read"))
        await one.sees(lambda found: "read" in found)


async def test_a_broken_upstream_never_hurts_its_neighbour(db: Database) -> None:
    async with running(db, "r1") as one:
        one.shelf.offers["ups_bad"] = KeyError("unexpected")
        one.shelf.held["ups_mute"] = asyncio.Event()
        await add_upstream(db, "ups_bad", "bad")
        await add_upstream(db, "ups_mute", "mute")
        await add_upstream(db)
        await one.sees(lambda found: "read" in found)


async def test_after_an_outage_discovery_goes_on(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.01)
    async with running(pg, "r1", interval=0.05) as one:
        tried = asyncio.Event()

        async def away(_upstreams: object) -> frozenset[str]:
            tried.set()
            raise Refused("store_unavailable")

        with monkeypatch.context() as broken:
            broken.setattr(one.discovery._ownership, "claim", away)
            await add_upstream(pg)
            async with asyncio.timeout(20):
                await tried.wait()
            assert one.shelf.looks["ups_1"] == 0
        await one.sees(lambda found: "read" in found)


# -- notices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tools", "prompts", "resources"])
async def test_a_notice_brings_a_look_at_once_and_tells_every_replica(db: Database, kind: str) -> None:
    async with running(db, "r1") as one, running(db, "r2", start=False) as two:
        await add_upstream(db)
        await one.until_watching()
        one.shelf.offers["ups_1"] = facts(tool("read"), tool("new"))
        one.shelf.say_changed("ups_1", kind)
        await two.hears("notices")
        await two.sees(lambda found: "new" in found)


async def test_a_notice_is_told_even_when_nothing_differs(db: Database) -> None:
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.until_watching()
        one.shelf.say_changed("ups_1")
        await one.hears("notices")


async def test_other_notifications_bring_no_look(db: Database) -> None:
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.until_watching()
        one.shelf.heard["ups_1"]("notifications/message", b"{}")
        assert one.discovery._posts["ups_1"].due_in() > NEVER / 2


async def test_notices_without_end_bring_few_looks(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "NOTICE_SECONDS", NEVER)
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.until_watching()
        one.shelf.say_changed("ups_1")
        await one.hears("notices")
        for _ in range(1000):
            one.shelf.say_changed("ups_1")
        post = one.discovery._posts["ups_1"]
        assert post.noticed
        assert post.due_in() > NEVER / 2
        assert one.shelf.looks["ups_1"] == 2
        await one.discovery.refresh("default", "ups_1")  # who asks does not wait for that


async def test_who_hears_of_a_change_on_another_conversation_has_it_looked_at(db: Database) -> None:
    async with running(db, "r1") as one:
        files = await add_upstream(db)
        await one.until_watching()
        one.shelf.offers["ups_1"] = facts(tool("new"))
        assert one.shelf.on_change is not None
        one.shelf.on_change(files, "notifications/tools/list_changed")
        await one.sees(lambda found: "new" in found)


# -- configuration -------------------------------------------------------------------------------------------------


async def test_a_changed_upstream_is_forgotten_and_looked_at_anew(db: Database) -> None:
    async with running(db, "r1") as one:
        files = await add_upstream(db)
        await one.until_watching()
        one.shelf.offers["ups_1"] = facts(tool("other"))
        await change(db, files, url="http://127.0.0.1:10/mcp", identity="another")
        await one.sees(lambda found: "other" in found)
        assert one.shelf.forgotten == ["ups_1"]


async def test_a_removed_upstream_is_forgotten_and_let_be(db: Database) -> None:
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.until_watching()
        async with db.unit("default") as unit:
            await upstreams.remove(unit, "ups_1")

        async def forgotten() -> bool:
            return one.shelf.forgotten == ["ups_1"] and not one.shelf.heard

        await until(forgotten)
        with pytest.raises(Refused) as caught:
            await one.discovery.refresh("default", "ups_1")
        assert caught.value.code == "not_found"


async def test_an_upstream_that_is_switched_off_is_let_be_and_refused(db: Database) -> None:
    async with running(db, "r1") as one:
        await change(db, await add_upstream(db), enabled=False)

        async def idle() -> bool:
            return not one.discovery._posts

        await until(idle)
        with pytest.raises(Refused, match="switched off") as caught:
            await one.discovery.refresh("default", "ups_1")
        assert caught.value.code == "conflict"


async def test_a_view_that_is_too_old_leaves_what_is_followed(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.until_watching()

        def too_old(_tenant: str) -> None:
            raise Refused("store_unavailable")

        with monkeypatch.context() as broken:
            broken.setattr(one.fleet, "view", too_old)
            one.discovery._follow_all()
        assert list(one.discovery._posts) == ["ups_1"]
        assert one.shelf.forgotten == []


# -- on request ----------------------------------------------------------------------------------------------------


async def test_a_refresh_without_a_running_discovery_looks_once_and_keeps_nothing(db: Database) -> None:
    async with running(db, "r1", start=False) as one:
        await add_upstream(db)
        state = await one.discovery.refresh("default", "ups_1")
        assert (state.state, state.observation) == ("ok", 1)
        assert "read" in {name for _, name in one.fleet.view("default").by_upstream["ups_1"]}
        async with db.unit(None) as unit:
            assert await leases.holder_of(unit, "discover:ups_1") is None


async def test_a_refresh_says_why_an_upstream_is_broken(db: Database) -> None:
    async with running(db, "r1") as one:
        one.shelf.offers["ups_1"] = Refused("upstream_timeout", "No answer.")
        await add_upstream(db)
        for _ in range(2):  # the same reason again is an answer too
            state = await one.discovery.refresh("default", "ups_1")
            assert (state.state, state.reason) == ("broken", "No answer.")


@pytest.mark.postgres
async def test_one_replica_looks_and_the_others_learn_of_it(pg: Database) -> None:
    async with running(pg, "r1") as one, running(pg, "r2") as two:
        await add_upstream(pg)
        await one.sees(lambda found: "read" in found)
        await two.sees(lambda found: "read" in found)
        assert one.shelf.looks["ups_1"] + two.shelf.looks["ups_1"] == 1


@pytest.mark.postgres
async def test_a_refresh_on_another_replica_is_the_owners_look(pg: Database) -> None:
    async with running(pg, "r1") as one, running(pg, "r2", start=False) as other:
        await add_upstream(pg)
        await one.until_watching()
        one.shelf.offers["ups_1"] = facts(tool("new"))
        async with asyncio.timeout(20):
            state = await other.discovery.refresh("default", "ups_1")
        assert state.observation == 2
        assert ("tool", "new") in other.fleet.view("default").by_upstream["ups_1"]
        one.shelf.offers["ups_1"] = Refused("upstream_timeout", "No answer.")
        async with asyncio.timeout(20):
            for _ in range(2):  # broken for the same reason as before is an answer too
                state = await other.discovery.refresh("default", "ups_1")
                assert (state.state, state.reason) == ("broken", "No answer.")
        assert other.shelf.looks["ups_1"] == 0


@pytest.mark.postgres
async def test_many_refreshes_at_once_on_another_replica_all_get_an_answer(pg: Database) -> None:
    async with running(pg, "r1") as one, running(pg, "r2", start=False) as other:
        await add_upstream(pg)
        await one.until_watching()
        async with asyncio.timeout(30):
            states = await asyncio.gather(*(other.discovery.refresh("default", "ups_1") for _ in range(5)))
        assert all(state.state == "ok" and state.observation >= 2 for state in states)


@pytest.mark.postgres
async def test_a_refresh_takes_over_from_an_owner_that_died(pg: Database) -> None:
    async with pg.unit(None) as unit:
        await leases.acquire(unit, "discover:ups_1", "dead", 600)
        await replicas.heartbeat(unit, "dead", {}, b"", {})
        await replicas.forget(unit, "dead")
    async with running(pg, "r1") as one:
        await add_upstream(pg)
        async with asyncio.timeout(20):
            assert (await one.discovery.refresh("default", "ups_1")).state == "ok"
        await one.until_watching()  # and from now on it is the owner


@pytest.mark.postgres
async def test_an_owner_that_does_not_answer_leaves_the_state_as_it_was(
    pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(following, "ASK_SECONDS", 0.02)
    async with running(pg, "r1") as one, running(pg, "r2", start=False) as other:
        one.shelf.held["ups_1"] = asyncio.Event()
        await add_upstream(pg)
        await one.shelf.next_asked()
        async with asyncio.timeout(20):
            assert (await other.discovery.refresh("default", "ups_1")).state == "new"


@pytest.mark.postgres
async def test_what_another_replica_suspects_the_owner_looks_at(pg: Database) -> None:
    async with running(pg, "r1") as one:
        files = await add_upstream(pg)
        await one.until_watching()
        async with running(pg, "r2") as other:

            async def follows() -> bool:
                return "ups_1" in other.discovery._posts

            await until(follows)
            one.shelf.offers["ups_1"] = facts(tool("new"))
            for _ in range(100):
                other.discovery.suspect(files.id)
            await other.sees(lambda found: "new" in found)
            assert other.shelf.looks["ups_1"] == 0
            assert one.shelf.looks["ups_1"] == 2


@pytest.mark.postgres
async def test_a_suspicion_of_a_replica_that_follows_nothing_reaches_the_owner(pg: Database) -> None:
    async with running(pg, "r1") as one, running(pg, "r2", start=False) as other:
        files = await add_upstream(pg)
        await one.until_watching()
        one.shelf.offers["ups_1"] = facts(tool("new"))
        other.discovery.suspect(files.id)
        await other.sees(lambda found: "new" in found)


@pytest.mark.postgres
async def test_a_suspicion_that_has_no_owner_to_hear_it_leaves_no_lease(pg: Database) -> None:
    async with running(pg, "r2", start=False) as other:
        files = await add_upstream(pg)
        other.discovery.suspect(files.id)

        async def free() -> bool:
            async with pg.unit(None) as unit:
                return await leases.holder_of(unit, "discover:ups_1") is None

        await until(free)
        assert other.shelf.looks["ups_1"] == 0


@pytest.mark.postgres
async def test_a_replica_that_loses_its_lease_stops_to_listen_and_to_look(
    pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LEASE_SECONDS", 0.1)  # how often it looks after its leases: a third of this
    async with running(pg, "r1") as one:
        await add_upstream(pg)
        await one.until_watching()
        async with pg.unit(None) as unit:
            await leases.release(unit, "discover:ups_1", "r1")
            await leases.acquire(unit, "discover:ups_1", "r2", 600)

        async def deaf() -> bool:
            return not one.shelf.heard

        await until(deaf)
        before = one.shelf.looks["ups_1"]
        one.discovery._posts["ups_1"].ask()
        async with pg.unit(None) as unit:
            await leases.release(unit, "discover:ups_1", "r2")
        await one.until_watching()  # the first that is free takes it, and looks
        assert one.shelf.looks["ups_1"] == before + 1


async def test_a_notice_during_an_outage_is_told_afterwards(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(db, "r1") as one:
        await add_upstream(db)
        await one.until_watching()
        refused = asyncio.Event()

        async def away(_upstream: object) -> None:
            refused.set()
            raise Refused("store_unavailable")

        with monkeypatch.context() as broken:
            broken.setattr(one.discovery._catalog, "look", away)
            one.shelf.say_changed("ups_1")
            async with asyncio.timeout(20):
                await refused.wait()
        await one.hears("notices")


@pytest.mark.postgres
async def test_an_owner_that_stops_gives_its_upstreams_to_the_next(pg: Database) -> None:
    async with running(pg, "r1") as one:
        await add_upstream(pg)
        await one.until_watching()
    async with running(pg, "r2") as two:
        await two.until_watching()


@pytest.mark.postgres
async def test_mail_of_another_version_is_refused_not_a_crash(pg: Database) -> None:
    async with running(pg, "r1") as one:
        for work in (one.discovery._on_question, one.discovery._on_answer):
            with pytest.raises(Refused):
                await work(b"\xc1")
        await one.discovery._on_answer(msgspec.msgpack.encode(("ups_1", "r2", 99)))
        await one.discovery._on_question(msgspec.msgpack.encode(("ups_9", "r2", 99)))
        await one.discovery._on_suspect(b"ups_9")
