"""Envelope encryption: tenants, purposes and places are kept apart; a wrong key file is named as such."""

import asyncio
from pathlib import Path

import pytest

from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.store import keysets
from callgate.store.engine import Database


async def test_a_secret_opens_on_every_replica_with_the_key_file(db: Database, tmp_path: Path) -> None:
    one, two = Envelope.open(tmp_path / "key", db), Envelope.open(tmp_path / "key", db)
    async with asyncio.timeout(20):
        await asyncio.gather(one.unlock("default"), two.unlock("default"))
    sealed = await one.seal("default", "upstream", b"ups_1", b"hunter2")
    assert b"hunter2" not in sealed
    assert await two.open_sealed("default", "upstream", b"ups_1", sealed) == b"hunter2"


async def test_a_secret_opens_for_its_tenant_purpose_and_place_alone(db: Database, tmp_path: Path) -> None:
    envelope = Envelope.open(tmp_path / "key", db)
    for tenant in ("acme", "other"):
        await envelope.unlock(tenant)
    sealed = await envelope.seal("acme", "upstream", b"ups_1", b"hunter2")
    for tenant, purpose, place in (
        ("other", "upstream", b"ups_1"),
        ("acme", "grant", b"ups_1"),
        ("acme", "upstream", b"ups_2"),
        ("acme", "upstreamu", b"ps_1"),
    ):
        with pytest.raises(Refused) as caught:
            await envelope.open_sealed(tenant, purpose, place, sealed)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(Refused):
        await envelope.open_sealed("acme", "upstream", b"ups_1", sealed[:-1])


async def test_a_wrong_key_file_is_named(db: Database, tmp_path: Path) -> None:
    await Envelope.open(tmp_path / "key", db).unlock("default")
    with pytest.raises(Refused, match="key file does not open") as caught:
        await Envelope.open(tmp_path / "other", db).unlock("default")
    assert caught.value.code == "bad_setting"


async def test_after_a_change_of_keys_the_old_secrets_and_hashes_stay(db: Database, tmp_path: Path) -> None:
    old, fresh = tmp_path / "key", tmp_path / "fresh"
    before = Envelope.open(old, db)
    await before.unlock("default")
    sealed = await before.seal("default", "upstream", b"", b"hunter2")
    Envelope.open(fresh, db)
    fresh.write_text(fresh.read_text() + old.read_text())
    after = Envelope.open(fresh, db)
    await after.unlock("default")
    assert await after.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    assert after.mac("default", "name", b"x") == before.mac("default", "name", b"x")
    assert after.sealer("session").open(before.sealer("session").seal(b"s")) == b"s"
    assert before.sealer("session").open(after.sealer("session").seal(b"s")) is None


async def test_a_keyset_copied_to_another_tenant_does_not_open(db: Database, tmp_path: Path) -> None:
    await Envelope.open(tmp_path / "key", db).unlock("acme")
    async with db.unit("acme", write=False) as unit:
        found = await keysets.get(unit)
    assert found is not None
    async with db.unit("other") as unit:
        await keysets.put_first(unit, found.wrapped, found.wrapped_by)
    with pytest.raises(Refused, match="key file does not open"):
        await Envelope.open(tmp_path / "key", db).unlock("other")


def test_keyed_hashes_differ_by_tenant_purpose_and_key_file(db: Database, tmp_path: Path) -> None:
    one, two = Envelope.open(tmp_path / "a", db), Envelope.open(tmp_path / "b", db)
    found = {
        one.mac("acme", "name", b"x"),
        one.mac("other", "name", b"x"),
        one.mac("acme", "args", b"x"),
        one.mac("acme", "name", b"y"),
        two.mac("acme", "name", b"x"),
    }
    assert len(found) == 5
    assert one.mac("acme", "name", b"x") == one.mac("acme", "name", b"x")


def test_mail_of_one_installation_does_not_open_in_another(db: Database, tmp_path: Path) -> None:
    one, two = Envelope.open(tmp_path / "a", db), Envelope.open(tmp_path / "b", db)
    receiver = one.replica_key()
    assert receiver.open(one.replica_key().seal_for(receiver.public, b"x")) == b"x"
    assert receiver.open(two.replica_key().seal_for(receiver.public, b"x")) is None
