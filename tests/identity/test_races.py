"""What two units do to one person at the same moment: who left stays out, what was ended stays ended."""

import asyncio
from contextlib import suppress

import pytest

from callgate import ids
from callgate.identity import authorizing, people
from callgate.identity.authorizing import Issued, Lifetimes
from callgate.identity.leaving import end_access
from callgate.model.caller import Actor
from callgate.model.oauth import DYNAMIC, Authorization, ClientFacts, Code, OAuthClient
from callgate.model.person import Person
from callgate.offboarding.leave import leave
from callgate.store import oauth, tenants, tokens
from callgate.store import people as rows
from callgate.store.engine import Database
from callgate.store.unit import Unit

OPERATOR = Actor("default", "operator", "operator:0", ("admin",))
LIFETIMES = Lifetimes(3600.0, 86400.0)
CLIENT = OAuthClient("cli_1", "default", "cli_1", DYNAMIC, ClientFacts(redirect_uris=("http://127.0.0.1/back",)))


class Meeting:
    """One goes on when the other is done, or when the other plainly waits for it (SQLite writes one by one)."""

    def __init__(self) -> None:
        self.read, self.done = asyncio.Event(), asyncio.Event()

    async def let_other(self) -> None:
        self.read.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), 0.5)


async def prepared(db: Database) -> Person:
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    async with db.unit("default") as unit:
        return await people.add(unit, OPERATOR, "ana@acme.test")


async def test_who_leaves_while_they_are_changed_stays_out(db: Database) -> None:
    person, meeting = await prepared(db), Meeting()

    async def change() -> None:
        async with db.unit("default") as unit:
            found = await rows.get(unit, person.id)
            assert found is not None
            await meeting.let_other()
            await people.change(unit, OPERATOR, found, ("reviewer",), None)

    async def go() -> None:
        await meeting.read.wait()
        async with db.unit("default") as unit:
            await leave(unit, OPERATOR, person)
        meeting.done.set()

    await asyncio.gather(change(), go())
    async with db.unit("default", write=False) as unit:
        found = await rows.get(unit, person.id)
    assert found is not None
    assert not found.active
    assert found.roles == ("reviewer",)


async def issued(db: Database, person: Person) -> str:
    """A refresh token of theirs."""
    code = Code(b"", "default", CLIENT.client_id, person.id, "x", "y", "z", ("mcp:read",), 0.0)
    async with db.unit("default") as unit:
        await oauth.put_client(unit, CLIENT)
        clear = await authorizing.new_code(unit, code)
        found = await authorizing.redeem(unit, clear, CLIENT, LIFETIMES)
    assert found is not None
    assert found[1].refresh is not None
    return found[1].refresh


@pytest.mark.parametrize("signed_out", [True, False])
async def test_a_refresh_beside_an_end_leaves_no_token(
    db: Database, monkeypatch: pytest.MonkeyPatch, signed_out: bool
) -> None:
    person, meeting = await prepared(db), Meeting()
    refresh, own, given = await issued(db, person), oauth.authorization, list[Issued | None]()

    async def slow(unit: Unit, id_: str) -> Authorization | None:
        found = await own(unit, id_)
        await meeting.let_other()
        return found

    monkeypatch.setattr(oauth, "authorization", slow)

    async def renew() -> None:
        async with db.unit("default") as unit:
            given.append(await authorizing.renew(unit, refresh, CLIENT, None, LIFETIMES))

    async def end() -> None:
        await meeting.read.wait()
        async with db.unit("default") as unit:
            if signed_out:
                await end_access(unit, person.id, "signed out", issued_too=False)
            else:
                (one,) = await oauth.authorizations_of(unit, person.id)
                await authorizing.end(unit, "gateway", one.id, "ended")
        meeting.done.set()

    await asyncio.gather(renew(), end())
    if given[0] is not None:
        async with db.unit("default", write=False) as unit:
            token = await tokens.by_hash(unit, ids.token_hash(given[0].access))
        assert token is not None
        assert token.revoked_at is not None, "a token outlived its authorization"
