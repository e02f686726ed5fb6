"""What ends for whom: tokens that clients give back, callers who are asked about again, arrivals that are refused."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from callgate import ids
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.identity import authorizing, people
from callgate.identity.anonymous import TOKEN as ANONYMOUS
from callgate.identity.arriving import arrive
from callgate.identity.authorizing import Issued, Reused
from callgate.identity.tokens import TokenCache
from callgate.model.caller import Caller
from callgate.model.oauth import Code, OAuthClient
from callgate.model.person import Agent, Person
from callgate.model.signin import Provider, ProviderConfig
from callgate.offboarding.leave import leave
from callgate.store import agents, oauth, providers, tokens
from callgate.store.engine import Database
from tests.identity.test_races import CLIENT, LIFETIMES, OPERATOR, prepared
from tests.support.replicas import fleet

OTHER = msgspec.structs.replace(CLIENT, id="cli_2", client_id="cli_2")
PROVIDER = Provider("idp_1", "default", "acme", ProviderConfig("https://idp.test", "x", roles={"mcp": "admin"}))


async def code_of(db: Database, person: Person, client: OAuthClient = CLIENT) -> str:
    one = Code(b"", "default", client.client_id, person.id, "x", "y", "z", ("mcp:read",), 0.0)
    async with db.unit("default") as unit:
        await oauth.put_client(unit, client)
        return await authorizing.new_code(unit, one)


async def redeemed(db: Database, clear: str, client: OAuthClient = CLIENT) -> Issued:
    async with db.unit("default") as unit:
        found = await authorizing.redeem(unit, clear, client, LIFETIMES)
    assert found is not None
    return found[1]


async def is_open(db: Database, issued: Issued) -> bool:
    async with db.unit("default", write=False) as unit:
        found = await tokens.by_hash(unit, ids.token_hash(issued.access))
    return found is not None and found.revoked_at is None


async def test_a_code_that_is_used_twice_ends_what_it_gave(db: Database) -> None:
    clear = await code_of(db, await prepared(db))
    issued = await redeemed(db, clear)
    assert await is_open(db, issued)
    async with db.unit("default") as unit:
        with pytest.raises(Reused):
            await authorizing.redeem(unit, clear, CLIENT, LIFETIMES)
    assert not await is_open(db, issued)


async def test_a_client_renews_what_it_was_allowed_and_no_more(db: Database) -> None:
    issued = await redeemed(db, await code_of(db, await prepared(db)))
    async with db.unit("default") as unit:
        wider = await authorizing.renew(unit, issued.refresh or "", CLIENT, ("mcp:read", "mcp:write"), LIFETIMES)
        assert wider is None
        assert await authorizing.renew(unit, issued.refresh or "", OTHER, None, LIFETIMES) is None
        assert await authorizing.renew(unit, "cgr_unknown", CLIENT, None, LIFETIMES) is None
        assert await authorizing.renew(unit, issued.refresh or "", CLIENT, ("mcp:read",), LIFETIMES) is not None


async def test_a_client_gives_back_its_own_tokens_alone(db: Database) -> None:
    issued = await redeemed(db, await code_of(db, await prepared(db)))
    async with db.unit("default") as unit:
        for clear in (issued.access, issued.refresh or "", "cgt_unknown"):
            await authorizing.revoke(unit, clear, OTHER)
    assert await is_open(db, issued)
    async with db.unit("default") as unit:
        await authorizing.revoke(unit, issued.access, CLIENT)
        await authorizing.revoke(unit, issued.access, CLIENT)
    assert not await is_open(db, issued)
    async with db.unit("default") as unit:
        assert await authorizing.renew(unit, issued.refresh or "", CLIENT, None, LIFETIMES) is not None


@pytest.mark.parametrize("active", [True, False, None])
async def test_a_client_of_an_agent_works_as_long_as_the_agent(db: Database, active: bool | None) -> None:
    person = await prepared(db)
    if active is not None:
        async with db.unit("default") as unit:
            await agents.add(unit, Agent(ids.new_id("agt"), "default", "bot", ("shop",), active=active))
    bound = msgspec.structs.replace(CLIENT, agent="bot")
    clear = await code_of(db, person, bound)
    if active:
        assert await is_open(db, await redeemed(db, clear, bound))
    else:
        with pytest.raises(Refused, match="was removed or stopped"):
            await redeemed(db, clear, bound)


@pytest.fixture
async def cache(db: Database) -> AsyncIterator[tuple[TokenCache, Fleet]]:
    await prepared(db)
    async with fleet(db, "r1") as own:
        found = TokenCache(db, own)
        yield found, own
        await found.close()


async def test_a_caller_is_asked_about_again(db: Database, cache: tuple[TokenCache, Fleet]) -> None:
    async with db.unit("default") as unit:
        person = await people.add(unit, OPERATOR, "ben@acme.test")
        row, clear = await people.issue(unit, OPERATOR, person, agent=None, client=None, expires=None)
    caller = await cache[0].lookup(clear)
    nobody = msgspec.structs.replace(caller, token=ANONYMOUS)
    assert await cache[0].again(caller) == caller
    assert (await cache[0].again(nobody)).roles == person.roles
    assert not await cache[0].ended(caller)
    await refuses(cache[0], msgspec.structs.replace(caller, token="tok_gone"), "invalid_token")
    async with db.unit("default") as unit:
        await tokens.revoke(unit, row.id, 1.0)
    await refuses(cache[0], caller, "invalid_token")
    assert await cache[0].ended(caller)
    assert not await cache[0].ended(nobody)
    async with db.unit("default") as unit:
        await leave(unit, OPERATOR, person)
    for one in (caller, nobody):
        await refuses(cache[0], one, "person_inactive")
        assert await cache[0].ended(one)


async def refuses(cache: TokenCache, caller: Caller, code: str) -> None:
    with pytest.raises(Refused) as caught:
        await cache.again(caller)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({}, "did not say who you are"),
        ({"sub": 7}, "did not say who you are"),
        ({"sub": "u"}, "needs the scope `email`"),
        ({"sub": "u", "email": "cyd@acme.test"}, "An admin can trust"),
        ({"sub": "u", "email": "cyd@acme.test", "email_verified": True}, "not of a domain that may sign in here"),
    ],
)
async def test_who_may_not_come_is_told_why(db: Database, claims: dict[str, Any], words: str) -> None:
    await prepared(db)
    async with db.unit("default") as unit:
        await providers.put(unit, PROVIDER)
        with pytest.raises(Refused, match=words):
            await arrive(unit, PROVIDER, claims, signed_in=True)


async def test_the_last_admin_stays_one_whatever_the_groups_say(db: Database) -> None:
    await prepared(db)
    config = msgspec.structs.replace(PROVIDER.config, domains=("acme.test",), teams={"mcp": "sre"})
    provider = msgspec.structs.replace(PROVIDER, config=config)
    given = {"sub": "u1", "email": "boss@acme.test", "email_verified": True}
    async with db.unit("default") as unit:
        await providers.put(unit, provider)
        await people.add(unit, OPERATOR, "boss@acme.test", ("admin",), ("sre",))
        first = await arrive(unit, provider, given, signed_in=True)
        again = await arrive(unit, provider, given, signed_in=True)
    assert (first.roles, first.teams) == (again.roles, again.teams) == (("admin",), ())
