"""A call that began before an admin changed the upstream carries nothing to the old place; a new secret is used."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from callgate.credentials.envelope import Envelope
from callgate.credentials.registering import Credentials, change_secret
from callgate.credentials.secrets import PURPOSE, binding
from callgate.errors import Refused
from callgate.model.upstream import SHARED, Auth
from callgate.store import secrets, upstreams
from callgate.store.engine import Database
from tests.support.vendors import ISSUER, PERSON, TENANT, TOKENS, UPSTREAM, Lab, open_lab


@pytest.fixture
async def lab(db: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as found:
        yield found


async def change(lab: Lab, **more: object) -> None:
    changed = msgspec.structs.replace(lab.upstream, **more)
    async with lab.db.unit(TENANT) as unit:
        await upstreams.update_one(unit, changed)
    await lab.fleet.refresh()


async def test_the_secret_of_the_new_place_does_not_go_to_the_old_one(lab: Lab) -> None:
    sealed = await lab.envelope.seal(TENANT, PURPOSE, binding(UPSTREAM), b"of the new host")
    async with lab.db.unit(TENANT) as unit:
        await secrets.put(unit, "sec_2", PURPOSE, sealed)
    old = msgspec.structs.replace(lab.upstream, auth_mode=SHARED, secret_id="sec_1")
    await change(lab, auth_mode=SHARED, secret_id="sec_2", url="https://new.test/mcp", identity="two")
    with pytest.raises(Refused, match="changed meanwhile"):
        await lab.broker.open(old, PERSON)
    new = lab.fleet.view(TENANT).upstreams[UPSTREAM]
    assert (await lab.broker.open(new, PERSON)).header == ("Authorization", "Bearer of the new host")
    with pytest.raises(Refused, match="changed meanwhile"):
        lab.broker.at_hand(old, PERSON)
    assert lab.broker.at_hand(new, PERSON) is not None


async def test_the_account_of_the_new_place_does_not_go_to_the_old_one(lab: Lab) -> None:
    await lab.grant("of the old host", over=False)
    old, used = lab.upstream, await lab.broker.open(lab.upstream, PERSON)
    await change(lab, url="https://new.test/mcp", identity="two")
    await lab.grant("of the new host", over=False)
    for attempt in (lab.broker.open(old, PERSON), lab.broker.again(old, PERSON, used, {"error": "invalid_token"})):
        with pytest.raises(Refused, match="changed meanwhile"):
            await attempt


async def test_a_change_of_other_things_stops_nothing(lab: Lab) -> None:
    await lab.grant("fine", over=False)
    await change(lab, timeout_s=20.0)
    assert (await lab.broker.open(lab.upstream, PERSON)).header == ("Authorization", "Bearer fine")


async def test_a_new_secret_of_the_entered_client_renews_what_was_granted_before(lab: Lab) -> None:
    await lab.client(Credentials("c1", "client_secret_post", "old secret"), "entered")
    await lab.grant()
    lab.vendors.put(f"{ISSUER}/token", 200, TOKENS)
    entered = msgspec.structs.replace(lab.upstream, auth=Auth(client_id="c1"))
    async with lab.db.unit(TENANT) as unit:
        await change_secret(unit, lab.envelope, entered, b"new secret")
    await lab.broker.open(lab.upstream, PERSON)
    assert [form["client_secret"] for form in lab.forms(f"{ISSUER}/token")] == ["new secret"]
