"""What happens to a grant while a vendor takes its time: people leave, upstreams change, tokens are renewed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import began
from callgate.credentials.registering import Credentials
from callgate.credentials.revoking import Revoker
from callgate.errors import Refused
from callgate.identity import arriving, browser
from callgate.model.caller import Actor
from callgate.model.grant import Grant, ProviderTokens
from callgate.model.signin import Provider, ProviderConfig
from callgate.offboarding.leave import leave
from callgate.offboarding.outbox import Outbox
from callgate.store import grants, people, provider_tokens, providers, signin, upstreams
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.vendors import ISSUER, PERSON, TENANT, TOKENS, UPSTREAM, Lab, open_lab, slow

OPERATOR = Actor(TENANT, "operator", "operator:0", ())
BASE = "http://127.0.0.1:8787"


@pytest.fixture
async def lab(db: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as found:
        found.vendors.put(f"{ISSUER}/register", 201, {"client_id": "c1"})
        found.vendors.put(f"{ISSUER}/revoke", 200, b"")
        yield found


async def left(lab: Lab, *, back: bool = False) -> None:
    async with lab.db.unit(TENANT) as unit:
        person = await people.get(unit, PERSON)
        assert person is not None
        await leave(unit, OPERATOR, person)
    if back:
        async with lab.db.unit(TENANT) as unit:
            await people.update_one(unit, person)


async def moved(lab: Lab) -> None:
    """An admin gives the upstream another address."""
    other = msgspec.structs.replace(lab.upstream, url="https://elsewhere.test/mcp", identity="two")
    async with lab.db.unit(TENANT) as unit:
        await upstreams.update_one(unit, other)
        await grants.remove_upstream(unit, UPSTREAM)
    await lab.fleet.refresh()


async def removed(lab: Lab) -> None:
    async with lab.db.unit(TENANT) as unit:
        await upstreams.remove(unit, UPSTREAM)
        await grants.remove_upstream(unit, UPSTREAM)


async def begun(lab: Lab, session: bytes = b"s") -> str:
    """The state of a connection that was begun."""
    where = await lab.connecting.begin(lab.upstream, (PERSON, session), BASE)
    return parse_qs(urlsplit(where).query)["state"][0]


def finish(lab: Lab, state: str, session: bytes = b"s") -> "asyncio.Task[Grant]":
    answer = {"state": state, "code": "c"}
    return asyncio.ensure_future(lab.connecting.finish(lab.upstream, (PERSON, session), answer))


@pytest.mark.parametrize("happens", [left, moved, removed, lambda lab: left(lab, back=True)])
async def test_a_connection_that_was_overtaken_makes_no_grant(
    lab: Lab, happens: Callable[[Lab], Awaitable[None]]
) -> None:
    state = await begun(lab)
    asked, go = slow(lab, f"{ISSUER}/token", TOKENS)
    work = finish(lab, state)
    await asked.wait()
    await happens(lab)
    go.set()
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.code in ("person_inactive", "connection_failed")
    assert await lab.stored() == (None, None)


@pytest.mark.parametrize("happens", [left, moved, removed, lambda lab: left(lab, back=True)])
async def test_a_token_that_was_tried_before_is_not_kept_after(
    lab: Lab, happens: Callable[[Lab], Awaitable[None]]
) -> None:
    async with lab.db.unit(TENANT, write=False) as unit:
        since = await began(unit, PERSON, lab.upstream)
    await happens(lab)
    with pytest.raises(Refused):
        await lab.connecting.own_token(lab.upstream, since, "secret")
    assert await lab.stored() == (None, None)


async def test_who_leaves_takes_along_what_they_had_begun(lab: Lab) -> None:
    state = await begun(lab)
    await left(lab, back=True)
    with pytest.raises(Refused, match="not begun in this browser"):
        await finish(lab, state)


async def test_of_a_refresh_beside_an_off_boarding_nothing_lives_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was renewed after the grant was read is revoked too, whoever of the two it is that knows it."""
    await lab.client(Credentials("c1", "none"))
    await lab.grant()
    lab.vendors.put(f"{ISSUER}/token", 200, TOKENS)
    renewal: list[asyncio.Task[object]] = []
    whole = grants.remove

    async def remove(unit: Unit, person: str, upstream: str | None = None) -> int:
        renewal.append(asyncio.ensure_future(lab.broker.open(lab.upstream, PERSON)))
        await asyncio.wait(renewal, timeout=0.5)
        return await whole(unit, person, upstream)

    monkeypatch.setattr(grants, "remove", remove)
    await left(lab)
    await asyncio.gather(*renewal, return_exceptions=True)
    await Outbox(lab.db, Revoker(lab.envelope, *lab.outside)).round()
    revoked = {form["token"] for form in lab.forms(f"{ISSUER}/revoke")}
    given = {"R2"} if lab.forms(f"{ISSUER}/token") else {"R1"}
    assert given <= revoked


async def test_a_sign_in_that_ends_while_somebody_leaves_leaves_nothing(lab: Lab) -> None:
    """They come back one day: neither the session nor the kept sign-in of that moment is there."""
    provider = Provider("idp_1", TENANT, "acme", ProviderConfig("https://idp.test", "gateway", keep_tokens=True))
    async with lab.db.unit(TENANT) as unit:
        await providers.put(unit, provider)
        await providers.bind(unit, provider.id, "subject", PERSON, 0.0)
    async with lab.db.unit(TENANT) as unit:
        person = await arriving.arrive(unit, provider, {"sub": "subject"}, signed_in=True)
        leaving = asyncio.ensure_future(left(lab, back=True))
        await asyncio.wait([leaving], timeout=0.5)
        await provider_tokens.put(unit, ProviderTokens(TENANT, provider.id, person.id, b"sealed", 0.0))
        await browser.start(unit, person.id, "provider")
    await leaving
    async with lab.db.unit(TENANT, write=False) as unit:
        assert await provider_tokens.get(unit, provider.id, PERSON) is None
        assert not await signin.sessions_of(unit, PERSON)
