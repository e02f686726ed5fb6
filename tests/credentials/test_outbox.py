"""The outbox of revocations goes on, whatever one vendor says of itself."""

from pathlib import Path

import pytest

from callgate.credentials.envelope import Envelope
from callgate.credentials.registering import Credentials
from callgate.credentials.revoking import Revoker
from callgate.errors import Refused
from callgate.keys.rotation import Rotation
from callgate.model.offboarding import BY_HAND, PENDING, REVOKED
from callgate.offboarding.leave import outbox_entry
from callgate.offboarding.outbox import Outbox
from callgate.store import keysets, offboarding
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.vendors import ISSUER, METADATA, PERSON, RESOURCE, TENANT, Answer, Lab, open_lab

BAD = ["https://[", "https://vendor.test:x/revoke", "https://exa mple/\r\nx: y", "ftp://vendor.test", "https://é.test/"]


async def told(lab: Lab, *endpoints: str) -> list[tuple[str, int]]:
    """The state and tries of revocations at these endpoints after one round."""
    await lab.client(Credentials("c1", "none"))
    for endpoint in endpoints:
        grant = await lab.grant(revocation=endpoint)
        async with lab.db.unit(TENANT) as unit:
            await outbox_entry(unit, grant, "off_1")
    assert await Outbox(lab.db, Revoker(lab.envelope, *lab.outside)).round() == len(endpoints)
    async with lab.db.unit(TENANT, write=False) as unit:
        found = await offboarding.revocations_of(unit, "off_1")
    return sorted((one.state, one.tries) for one in found)


@pytest.mark.parametrize("bad", BAD)
async def test_a_vendor_with_an_odd_endpoint_stops_nobody_else(db: Database, tmp_path: Path, bad: str) -> None:
    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as lab:
        lab.vendors.put(f"{ISSUER}/revoke", 200, b"")
        states = await told(lab, bad, f"{ISSUER}/revoke")
        assert (REVOKED, 1) in states
        assert len(states) == 2


async def test_what_nobody_foresaw_waits_like_a_vendor_that_is_away(db: Database, tmp_path: Path) -> None:
    async def broken(_: dict[str, str]) -> Answer:
        raise KeyError("no such thing")

    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as lab:
        lab.vendors.at["https://odd.test/revoke"] = broken
        lab.vendors.put(f"{ISSUER}/revoke", 200, b"")
        assert await told(lab, "https://odd.test/revoke", f"{ISSUER}/revoke") == [(PENDING, 1), (REVOKED, 1)]


async def test_metadata_with_an_address_that_is_none_is_a_clear_refusal(db: Database, tmp_path: Path) -> None:
    about = "https://shop.test/.well-known/oauth-protected-resource/mcp"
    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as lab:
        own = f"{ISSUER}/.well-known/oauth-authorization-server"
        for url, document in (
            (own, {**METADATA, "registration_endpoint": "https://["}),
            (own, {**METADATA, "issuer": "https://["}),
            (about, {"resource": "https://[", "authorization_servers": [ISSUER]}),
            (about, {"resource": RESOURCE, "authorization_servers": ["https://["]}),
        ):
            lab.vendors.put(url, 200, document)
            with pytest.raises(Refused) as caught:
                await lab.connecting.begin(lab.upstream, (PERSON, b"s"), "http://127.0.0.1:8787")
            assert caught.value.code == "connection_failed"


async def test_what_never_opens_again_is_left_to_people_and_completes_the_receipt(db: Database, tmp_path: Path) -> None:
    async def noted(_: Unit) -> None:
        return None

    async with open_lab(db, Envelope.open(tmp_path / "key", db)) as lab:
        await lab.client(Credentials("c1", "none"))
        grant = await lab.grant()
        async with db.unit(TENANT) as unit:
            await outbox_entry(unit, grant, "off_1")
        await Rotation(db, lab.envelope).destroy(TENANT, noted)
        lab.envelope.keyring.on_change(TENANT, frozenset({keysets.AGGREGATE}))
        await Outbox(db, Revoker(lab.envelope, *lab.outside)).round()
        async with db.unit(TENANT, write=False) as unit:
            (told_,) = await offboarding.revocations_of(unit, "off_1")
        assert told_.state == BY_HAND
        assert told_.sealed is None
