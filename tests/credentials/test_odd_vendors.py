"""Vendors that answer oddly, late or twice: nothing that a person granted is lost, and what is wrong is said."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from callgate import clock
from callgate.credentials import exchange
from callgate.credentials.connecting import Connecting
from callgate.credentials.envelope import Envelope
from callgate.credentials.registering import Credentials
from callgate.errors import Refused
from callgate.model.grant import CONNECTED, REFUSED, Held, ProviderTokens
from callgate.model.signin import Provider, ProviderConfig
from callgate.model.upstream import Auth
from callgate.store import grants, provider_tokens, providers, upstreams
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.vendors import ISSUER, METADATA, PERSON, TENANT, TOKENS, Answer, Lab, open_lab, slow

TOKEN, BASE = f"{ISSUER}/token", "http://127.0.0.1:8787"
PROVIDER = "idp_1"


@pytest.fixture
async def lab(db: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as found:
        yield found


# -- renewing a grant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (403, b"<html>blocked</html>", CONNECTED),
        (302, b"", CONNECTED),
        (404, b"<html>", CONNECTED),
        (408, b"", CONNECTED),
        (200, b"<html>sign in</html>", CONNECTED),
        (200, {**TOKENS, "access_token": "two\r\nlines: x"}, CONNECTED),
        (200, {**TOKENS, "access_token": "é"}, CONNECTED),
        (400, {"error": "temporarily_unavailable"}, CONNECTED),
        (400, {"error": "slow_down"}, CONNECTED),
        (401, {"error": "invalid_client"}, CONNECTED),
        (400, {"error": "invalid_grant"}, REFUSED),
        (403, {"error": "invalid_grant"}, REFUSED),
        (200, {"error": "bad_refresh_token"}, REFUSED),
        (400, b"no such token", REFUSED),
    ],
)
async def test_only_an_answer_that_speaks_of_the_grant_ends_it(
    lab: Lab, status: int, body: object, state: str
) -> None:  # fmt: skip
    await lab.client(Credentials("c1", "none"), "document")
    await lab.grant()
    lab.vendors.put(TOKEN, status, body)
    with pytest.raises(Refused) as caught:
        await lab.broker.open(lab.upstream, PERSON)
    assert caught.value.code == ("upstream_unavailable" if state == CONNECTED else "connection_required")
    grant, held = await lab.stored()
    assert grant is not None
    assert grant.state == state
    assert held is not None
    assert held.refresh == "R1"


@pytest.mark.parametrize("lasts", ["900", 900.5, None, -5, True, [], 10**400])
async def test_any_lifetime_is_read(lab: Lab, lasts: object) -> None:
    await lab.client(Credentials("c1", "none"))
    await lab.grant()
    lab.vendors.put(TOKEN, 200, {**TOKENS, "expires_in": lasts})
    assert (await lab.broker.open(lab.upstream, PERSON)).header == ("Authorization", "Bearer new")
    grant, _ = await lab.stored()
    assert grant is not None
    assert (grant.expires is not None) is (lasts in ("900", 900.5, True))


async def test_what_a_vendor_gave_once_is_kept_when_the_store_is_away_for_a_moment(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.client(Credentials("c1", "none"))
    await lab.grant()
    lab.vendors.put(TOKEN, 200, TOKENS)
    whole, tries = grants.write_back, 0

    async def away(*given: Any) -> bool:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Refused("store_unavailable")
        return await whole(*given)

    monkeypatch.setattr(grants, "write_back", away)
    assert (await lab.broker.open(lab.upstream, PERSON)).header == ("Authorization", "Bearer new")
    _, held = await lab.stored()
    assert held is not None
    assert held.refresh == "R2"


async def test_a_gateway_that_stops_keeps_what_is_on_its_way(lab: Lab) -> None:
    await lab.client(Credentials("c1", "none"))
    await lab.grant()
    asked, go = slow(lab, TOKEN, TOKENS)
    call = asyncio.ensure_future(lab.broker.open(lab.upstream, PERSON))
    await asked.wait()
    asyncio.get_running_loop().call_later(0.2, go.set)
    await lab.broker.close()
    await call
    _, held = await lab.stored()
    assert held is not None
    assert held.refresh == "R2"


async def test_a_late_refusal_of_an_old_token_says_nothing_of_a_new_connection(lab: Lab) -> None:
    await lab.grant("old", over=False)
    used = await lab.broker.open(lab.upstream, PERSON)
    await lab.grant("with more scopes", over=False)
    again = await lab.broker.again(lab.upstream, PERSON, used, {"error": "insufficient_scope", "scope": "x"})
    assert again.header == ("Authorization", "Bearer with more scopes")
    grant, _ = await lab.stored()
    assert grant is not None
    assert grant.state == CONNECTED


# -- registering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [1, 2])
async def test_two_who_connect_first_at_once_have_one_client(lab: Lab, replicas: int) -> None:
    count = 0

    async def register(_: dict[str, str]) -> Answer:
        nonlocal count
        count += 1
        name = f"c{count}"
        await asyncio.sleep(0.1)
        return 201, {"client_id": name}

    lab.vendors.at[f"{ISSUER}/register"] = register
    lab.vendors.put(TOKEN, 200, TOKENS)
    others = [lab.connecting, Connecting(lab.db, lab.envelope, lab.secrets, lab.outside)]
    sides = [others[number % replicas] for number in range(2)]
    who = [(PERSON, b"a"), (PERSON, b"b")]
    begun = await asyncio.gather(*(at.begin(lab.upstream, one, BASE) for at, one in zip(sides, who, strict=True)))
    for one, where in zip(who, begun, strict=True):
        state = parse_qs(urlsplit(where).query)["state"][0]
        await lab.connecting.finish(lab.upstream, one, {"state": state, "code": "c"})
    assert count == replicas


@pytest.mark.parametrize("member", ["revocation_endpoint", "scopes_supported", "registration_endpoint_auth"])
async def test_members_that_are_null_are_absent(lab: Lab, member: str) -> None:
    lab.vendors.put(f"{ISSUER}/.well-known/oauth-authorization-server", 200, {**METADATA, member: None})
    lab.vendors.put(f"{ISSUER}/register", 201, {"client_id": "c9", "client_secret": None})
    assert (await lab.connecting.begin(lab.upstream, (PERSON, b"s"), BASE)).startswith(f"{ISSUER}/authorize?")


# -- kept sign-ins -----------------------------------------------------------------------------------------------------

AUTH = Auth("token_exchange", provider="acme")
RENEWED = {"access_token": "a", "token_type": "Bearer", "expires_in": 900, "refresh_token": "P2"}


@pytest.fixture
async def signed_in(db: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(db, Envelope.open(tmp_path / "key", db), AUTH) as found:
        await sign_in(found, "P1")
        yield found


async def sign_in(lab: Lab, refresh: str) -> None:
    """What somebody's sign-in has left; its access token is over."""
    one = Provider(PROVIDER, TENANT, "acme", ProviderConfig(ISSUER, "gateway", keep_tokens=True))
    held = msgspec.json.encode(Held("", "over", refresh, clock.now() - 10))
    sealed = await lab.envelope.seal(TENANT, exchange.PURPOSE, exchange.binding(PROVIDER, PERSON), held)
    async with lab.db.unit(TENANT) as unit:
        await providers.put(unit, one)
        await provider_tokens.put(unit, ProviderTokens(TENANT, PROVIDER, PERSON, sealed, clock.now()))


async def refresh_token(lab: Lab) -> str | None:
    async with lab.db.unit(TENANT, write=False) as unit:
        row = await provider_tokens.get(unit, PROVIDER, PERSON)
    if row is None:
        return None
    plain = await lab.envelope.open_sealed(TENANT, exchange.PURPOSE, exchange.binding(PROVIDER, PERSON), row.sealed)
    return msgspec.json.decode(plain, type=Held).refresh


def renewing(lab: Lab, status: int, body: object) -> list[str]:
    """Have the provider renew like this, each token once; the refresh tokens that it gets."""
    used: list[str] = []

    async def token(form: dict[str, str]) -> Answer:
        if form["grant_type"] != "refresh_token":
            return 200, {**TOKENS, "issued_token_type": "x"}
        used.append(form["refresh_token"])
        await asyncio.sleep(0.1)
        return (status, body) if used.count(form["refresh_token"]) == 1 else (400, {"error": "invalid_grant"})

    lab.vendors.at[TOKEN] = token
    return used


async def test_two_upstreams_renew_a_sign_in_once(signed_in: Lab) -> None:
    lab = signed_in
    async with lab.db.unit(TENANT) as unit:
        other = await upstreams.add(unit, msgspec.structs.replace(lab.upstream, id="ups_2", name="two"))
    await lab.fleet.refresh()
    used = renewing(lab, 200, RENEWED)
    opened = await asyncio.gather(*(lab.broker.open(one, PERSON) for one in (lab.upstream, other)))
    assert [one.header for one in opened] == [("Authorization", "Bearer new")] * 2
    assert used == ["P1"]
    assert await refresh_token(lab) == "P2"


async def test_a_refresh_token_that_is_null_takes_none_away(signed_in: Lab) -> None:
    renewing(signed_in, 200, {**RENEWED, "refresh_token": None})
    await signed_in.broker.open(signed_in.upstream, PERSON)
    assert await refresh_token(signed_in) == "P1"


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (403, b"<html>"), (401, {"error": "invalid_client"}), (302, b"")]
)
async def test_a_sign_in_outlives_an_odd_answer(signed_in: Lab, status: int, body: object) -> None:
    renewing(signed_in, status, body)
    with pytest.raises(Refused) as caught:
        await signed_in.broker.open(signed_in.upstream, PERSON)
    assert caught.value.code == "upstream_unavailable"
    assert await refresh_token(signed_in) == "P1"


async def test_a_late_refusal_leaves_a_newer_sign_in_alone(signed_in: Lab) -> None:
    asked, go = slow(signed_in, TOKEN, {"error": "invalid_grant"}, 400)
    call = asyncio.ensure_future(signed_in.broker.open(signed_in.upstream, PERSON))
    await asked.wait()
    async with signed_in.db.unit(TENANT) as unit:  # signed out, so that editions begin anew
        await _forgotten(unit)
    await sign_in(signed_in, "P9")
    go.set()
    await asyncio.gather(call, return_exceptions=True)
    assert await refresh_token(signed_in) == "P9"


async def _forgotten(unit: Unit) -> None:
    await provider_tokens.remove(unit, person=PERSON)
