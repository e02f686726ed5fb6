"""Who stands behind a token: asked for once, kept, and forgotten as soon as it changes, on every replica."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callgate import clock, ids
from callgate.errors import Refused
from callgate.fleet.sync import GRACE_SECONDS, Fleet
from callgate.identity import people
from callgate.identity import tokens as caching
from callgate.identity.tokens import TokenCache
from callgate.model.caller import Actor
from callgate.model.person import Agent, Person, Token
from callgate.offboarding.leave import leave
from callgate.store import agents, tenants, tokens
from callgate.store import people as rows
from callgate.store.engine import Database
from tests.support.replicas import fleet
from tests.support.waiting import until

OPERATOR = Actor("default", "operator", "operator:0", ("admin",))


class Replica:
    """A fleet and its cache; counts how often the store was asked about a token."""

    def __init__(self, db: Database, own: Fleet) -> None:
        self.db = db
        self.fleet = own
        self.cache = TokenCache(db, own)

    async def forgot(self, token: str) -> None:
        async def gone() -> bool:
            return self.cache.peek(token) is None

        await until(gone)

    async def settled(self) -> None:
        """All evictions that were begun are done."""
        await self.fleet.refresh()
        await asyncio.gather(*self.cache._tasks)


@asynccontextmanager
async def replica(db: Database, name: str = "r1") -> AsyncIterator[Replica]:
    async with fleet(db, name) as own:
        found = Replica(db, own)
        try:
            yield found
        finally:
            await found.cache.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that the store was asked about."""
    found: list[bytes] = []
    real = tokens.find

    async def find(unit: Any, token_hash: bytes) -> tuple[Token, Person] | None:
        found.append(token_hash)
        return await real(unit, token_hash)

    monkeypatch.setattr(tokens, "find", find)
    return found


async def person(db: Database, email: str = "ana@acme.test") -> Person:
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    async with db.unit("default") as unit:
        return await people.add(unit, OPERATOR, email, ("member",), ("sre",))


async def token(db: Database, owner: Person, agent: str | None = None, expires: float | None = None) -> str:
    async with db.unit("default") as unit:
        return (await people.issue(unit, OPERATOR, owner, agent=agent, client="codex", expires=expires))[1]


async def refusal(work: Awaitable[object]) -> str:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value.code


async def test_a_token_names_its_person_agent_and_client(db: Database) -> None:
    ana = await person(db)
    async with db.unit("default") as unit:
        await agents.add(unit, Agent("agt_1", "default", "bot", ("files", "prod-*")))
    clear = await token(db, ana, agent="bot", expires=clock.now() + 60)
    async with replica(db) as one:
        assert one.cache.peek(clear) is None
        caller = await one.cache.lookup(clear)
        assert one.cache.peek(clear) is caller
        assert caller.key == ("default", ana.id)
        assert (caller.email, caller.roles, caller.teams) == ("ana@acme.test", ("member",), ("sre",))
        assert (caller.agent, caller.client, caller.allowed_upstreams) == ("bot", "codex", ("files", "prod-*"))


async def test_a_known_token_is_asked_for_once_however_many_wait(db: Database, asked: list[bytes]) -> None:
    clear = await token(db, await person(db))
    async with replica(db) as one:
        found = await asyncio.gather(*(one.cache.lookup(clear) for _ in range(20)))
        assert all(each is found[0] for each in found)
        await one.cache.lookup(clear)
    assert len(asked) == 1


async def test_one_who_gives_up_waiting_takes_no_other_along(db: Database, asked: list[bytes]) -> None:
    clear = await token(db, await person(db))
    async with replica(db) as one:
        first, second = (asyncio.ensure_future(one.cache.lookup(clear)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).email == "ana@acme.test"
    assert len(asked) == 1


@pytest.mark.parametrize("text", ["", "x", "cgt_short", "cgt_" + "ä" * 43, "cgt_" + "a" * 44])
async def test_what_has_not_the_form_of_a_token_is_refused_without_asking(
    sqlite_url: str, asked: list[bytes], text: str
) -> None:
    db = await Database.open(sqlite_url)
    async with replica(db) as one:
        assert await refusal(one.cache.lookup(text)) == "invalid_token"
    assert asked == []
    await db.close()


async def test_an_unknown_token_is_remembered_for_a_short_time(
    db: Database, asked: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(db) as one:
        unknown = ids.new_token()
        for _ in range(3):
            assert await refusal(one.cache.lookup(unknown)) == "invalid_token"
        assert len(asked) == 1
        real = clock.monotonic
        monkeypatch.setattr(clock, "monotonic", lambda: real() + 6)
        assert await refusal(one.cache.lookup(unknown)) == "invalid_token"
        assert len(asked) == 2


async def test_what_is_remembered_is_bounded(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_MAX_UNKNOWN", 2)
    monkeypatch.setattr(caching, "_MAX_KNOWN", 2)
    ana = await person(db)
    clear = [await token(db, ana) for _ in range(4)]
    async with replica(db) as one:
        for each in clear:
            await one.cache.lookup(each)
            await refusal(one.cache.lookup(ids.new_token()))
        assert len(one.cache._known) == len(one.cache._unknown) == 2
        assert one.cache.peek(clear[3]) is not None


async def test_a_token_issued_after_it_was_unknown_works_at_once(db: Database) -> None:
    ana = await person(db)
    async with replica(db) as one:
        clear = ids.new_token()
        assert await refusal(one.cache.lookup(clear)) == "invalid_token"
        row = Token(ids.new_id("tok"), "default", ids.token_hash(clear), ana.id, created=1.0)
        async with db.unit("default") as unit:
            await tokens.add(unit, row)
        await one.settled()
        assert (await one.cache.lookup(clear)).token == row.id


async def test_an_expired_token_ends_though_it_is_cached(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clear = await token(db, await person(db), expires=clock.now() + 60)
    async with replica(db) as one:
        await one.cache.lookup(clear)
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + 61)
        assert one.cache.peek(clear) is None
        assert await refusal(one.cache.lookup(clear)) == "invalid_token"


async def leaves(unit: Any, ana: Person, row: Token) -> None:
    await leave(unit, OPERATOR, ana)


async def revoke(unit: Any, ana: Person, row: Token) -> None:
    await people.revoke(unit, OPERATOR, row.id)


async def remove(unit: Any, ana: Person, row: Token) -> None:
    await rows.remove(unit, ana.id)


@pytest.mark.parametrize(
    ("end", "code"), [(leaves, "invalid_token"), (revoke, "invalid_token"), (remove, "person_inactive")]
)
async def test_a_token_that_ended_on_one_replica_is_refused_on_the_other(
    db: Database, end: Callable[[Any, Person, Token], Awaitable[None]], code: str
) -> None:
    ana, bo = await person(db), await person(db, "bo@acme.test")
    clear, other = await token(db, ana), await token(db, bo)
    async with replica(db, "r1") as one, replica(db, "r2") as two:
        callers = [await each.cache.lookup(clear) for each in (one, two)]
        kept = await two.cache.lookup(other)
        async with db.unit("default") as unit:
            row = await tokens.get(unit, callers[0].token)
            assert row is not None
            await end(unit, ana, row)
        for each in (one, two):
            await each.forgot(clear)
            assert await refusal(each.cache.lookup(clear)) == code
        assert two.cache.peek(other) is kept  # nobody else was forgotten


async def test_a_person_is_refused_by_name_while_inactive(db: Database) -> None:
    ana = await person(db)
    clear = await token(db, ana)
    async with db.unit("default") as unit:
        stored = await rows.get(unit, ana.id)
        assert stored is not None
        await rows.update_one(unit, Person(ana.id, "default", ana.email, active=False))
    async with replica(db) as one:
        assert await refusal(one.cache.lookup(clear)) == "person_inactive"


async def test_a_new_role_counts_from_the_next_call_on(db: Database) -> None:
    ana = await person(db)
    clear = await token(db, ana)
    async with replica(db) as one:
        await one.cache.lookup(clear)
        async with db.unit("default") as unit:
            await people.change(unit, OPERATOR, ana, ("admin",), None)
        await one.settled()
        assert (await one.cache.lookup(clear)).roles == ("admin",)


async def test_a_change_of_an_agent_forgets_its_callers_alone(db: Database) -> None:
    ana = await person(db)
    async with db.unit("default") as unit:
        agent = await agents.add(unit, Agent("agt_1", "default", "bot", ("a",)))
    plain, with_agent = await token(db, ana), await token(db, ana, agent="bot")
    async with replica(db) as one:
        kept = await one.cache.lookup(plain)
        await one.cache.lookup(with_agent)
        async with db.unit("default") as unit:
            await agents.update_one(unit, Agent(agent.id, "default", "bot", ("b",)))
        await one.settled()
        assert one.cache.peek(plain) is kept
        assert one.cache.peek(with_agent) is None
        assert (await one.cache.lookup(with_agent)).allowed_upstreams == ("b",)
        async with db.unit("default") as unit:
            await agents.remove(unit, agent.id)
        await one.settled()
        assert await refusal(one.cache.lookup(with_agent)) == "invalid_token"


async def test_nobody_is_known_while_the_store_is_away_too_long(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clear = await token(db, await person(db))
    async with replica(db) as one:
        await one.cache.lookup(clear)
        real = clock.monotonic
        monkeypatch.setattr(clock, "monotonic", lambda: real() + GRACE_SECONDS + 1)

        def away(_self: Database, _tenant: str | None, **_: bool) -> object:
            raise Refused("store_unavailable")

        monkeypatch.setattr(Database, "unit", away)
        assert one.cache.peek(clear) is None
        assert await refusal(one.cache.lookup(clear)) == "store_unavailable"


async def test_when_the_change_cannot_be_read_everybody_of_the_tenant_is_forgotten(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = await token(db, await person(db))
    async with replica(db) as one:
        await one.cache.lookup(clear)

        async def away(*_: object) -> None:
            raise Refused("store_unavailable")

        monkeypatch.setattr(rows, "changed_since", away)
        await person(db, "bo@acme.test")
        await one.settled()
        assert one.cache.peek(clear) is None


async def test_a_tenant_that_came_later_is_forgotten_whole_at_its_first_change(db: Database) -> None:
    async with replica(db) as one:
        async with db.unit(None) as unit:
            await tenants.ensure(unit, "acme")
        async with db.unit("acme") as unit:
            eve = await people.add(unit, OPERATOR, "eve@acme.test")
            _, clear = await people.issue(unit, OPERATOR, eve, agent=None, client=None, expires=None)
        await one.settled()
        assert (await one.cache.lookup(clear)).tenant == "acme"
        async with db.unit("acme") as unit:
            await leave(unit, OPERATOR, eve)
        await one.settled()
        assert one.cache.peek(clear) is None


@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_that_a_change_overtook_is_not_kept(
    db: Database, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The store is read, the change comes, then the answer arrives: it may be old."""
    ana = await person(db)
    clear = await token(db, ana) if known else ids.new_token()
    async with replica(db) as one:
        read, go_on = asyncio.Event(), asyncio.Event()
        real = tokens.find

        async def find(unit: Any, token_hash: bytes) -> tuple[Token, Person] | None:
            found = await real(unit, token_hash)
            read.set()
            await go_on.wait()
            return found

        monkeypatch.setattr(tokens, "find", find)
        asking = asyncio.ensure_future(one.cache.lookup(clear))
        async with asyncio.timeout(20):
            await read.wait()
        monkeypatch.setattr(tokens, "find", real)
        await person(db, "bo@acme.test")
        await one.settled()
        go_on.set()
        if known:
            assert (await asking).email == "ana@acme.test"
        else:
            assert await refusal(asking) == "invalid_token"
        assert one.cache.peek(clear) is None
        assert one.cache._unknown == {}
