"""What follows when an upstream refuses a credential: another one, once, or a state that says what to do."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import Opened
from callgate.credentials.registering import Credentials
from callgate.errors import Refused
from callgate.model.grant import CONNECTED, NEEDS_SCOPES, REFUSED
from callgate.store import grants, keysets
from callgate.store.engine import Database
from tests.support.vendors import ISSUER, PERSON, TENANT, TOKENS, UPSTREAM, Lab, open_lab

TOKEN = f"{ISSUER}/token"
EXPIRED = {"error": "invalid_token"}


@pytest.fixture
async def lab(db: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as found:
        yield found


async def state(lab: Lab) -> str:
    grant, _ = await lab.stored()
    return grant.state if grant is not None else "gone"


async def refused(lab: Lab, used: Opened, challenge: dict[str, str] | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        await lab.broker.again(lab.upstream, PERSON, used, EXPIRED if challenge is None else challenge)
    return caught.value


async def test_a_credential_that_renews_is_replaced(lab: Lab) -> None:
    await lab.client(Credentials("c1", "none"))
    await lab.grant(over=False)
    lab.vendors.put(TOKEN, 200, TOKENS)
    used = await lab.broker.open(lab.upstream, PERSON)
    fresh = await lab.broker.again(lab.upstream, PERSON, used, EXPIRED)
    assert (used.header, fresh.header) == (("Authorization", "Bearer old"), ("Authorization", "Bearer new"))
    later = await lab.broker.again(lab.upstream, PERSON, used, EXPIRED)
    assert later.header == fresh.header, "somebody else's refusal of the old one finds the new one"
    assert len(lab.forms(TOKEN)) == 1


async def test_one_that_cannot_be_renewed_is_over(lab: Lab) -> None:
    await lab.grant(refresh="", over=False)
    used = await lab.broker.open(lab.upstream, PERSON)
    found = await refused(lab, used)
    assert (found.code, await state(lab)) == ("connection_required", REFUSED)
    with pytest.raises(Refused, match="the server refused it"):
        await lab.broker.open(lab.upstream, PERSON)


async def test_one_whose_client_is_gone_is_over(lab: Lab) -> None:
    await lab.grant()
    with pytest.raises(Refused, match="it is over"):
        await lab.broker.open(lab.upstream, PERSON)
    assert await state(lab) == REFUSED


async def test_more_permissions_are_remembered_to_be_asked_for(lab: Lab) -> None:
    await lab.grant(over=False)
    used = await lab.broker.open(lab.upstream, PERSON)
    found = await refused(lab, used, {"error": "insufficient_scope", "scope": "write"})
    grant, _ = await lab.stored()
    assert grant is not None
    assert (found.code, grant.state, grant.facts.needs) == ("connection_required", NEEDS_SCOPES, "write")


async def test_a_shared_one_has_no_other(lab: Lab) -> None:
    found = await refused(lab, Opened(("Authorization", "Bearer shared")))
    assert (found.code, "tell an admin" in found.sentence) == ("credential_refused", True)


async def test_what_comes_for_a_grant_that_was_ended_meanwhile_is_given_back(lab: Lab) -> None:
    await lab.client(Credentials("c1", "none"))
    await lab.grant()

    async def ends(_: dict[str, str]) -> tuple[int, object]:
        async with lab.db.unit(TENANT) as unit:
            await grants.remove(unit, PERSON, UPSTREAM)
        return 200, TOKENS

    lab.vendors.at[TOKEN] = ends
    lab.vendors.put(f"{ISSUER}/revoke", 200, b"")
    with pytest.raises(Refused, match="it was ended"):
        await lab.broker.open(lab.upstream, PERSON)
    assert [form["token"] for form in lab.forms(f"{ISSUER}/revoke")] == ["R2"]


async def test_nothing_is_at_hand_that_has_to_be_looked_at_first(lab: Lab) -> None:
    assert lab.broker.at_hand(lab.upstream, PERSON) is None
    await lab.grant(over=False)
    assert lab.broker.at_hand(lab.upstream, PERSON) is None, "not read yet"
    opened = await lab.broker.open(lab.upstream, PERSON)
    assert lab.broker.at_hand(lab.upstream, PERSON) == opened
    none = msgspec.structs.replace(lab.upstream, auth_mode="none")
    assert lab.broker.at_hand(none, PERSON) == Opened() == await lab.broker.open(none, PERSON)
    lab.envelope.keyring.on_change(TENANT, frozenset({keysets.AGGREGATE}))
    assert lab.broker.at_hand(lab.upstream, PERSON) is None, "the keys may have changed"
    assert await lab.broker.open(lab.upstream, PERSON) == opened
    assert await state(lab) == CONNECTED
