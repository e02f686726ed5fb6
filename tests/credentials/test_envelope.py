"""Envelope encryption: tenants, purposes and places are kept apart; a wrong key file is named as such."""

import asyncio
from pathlib import Path

import pytest

from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.store import keysets
from callgate.store.engine import Database


async def test_a_secret_opens_on_every_replica_with_the_key_file(db: Database, tmp_path: Path) -> None:
    one, two = Envelope.open(tmp_path / "key"), Envelope.open(tmp_path / "key")
    async with asyncio.timeout(20):
        await asyncio.gather(one.unlock(db, "default"), two.unlock(db, "default"))
    sealed = one.seal("default", "upstream", b"ups_1", b"hunter2")
    assert b"hunter2" not in sealed
    assert two.open_sealed("default", "upstream", b"ups_1", sealed) == b"hunter2"


async def test_a_secret_opens_for_its_tenant_purpose_and_place_alone(db: Database, tmp_path: Path) -> None:
    envelope = Envelope.open(tmp_path / "key")
    for tenant in ("acme", "other"):
        await envelope.unlock(db, tenant)
    sealed = envelope.seal("acme", "upstream", b"ups_1", b"hunter2")
    for tenant, purpose, place in (
        ("other", "upstream", b"ups_1"),
        ("acme", "grant", b"ups_1"),
        ("acme", "upstream", b"ups_2"),
        ("acme", "upstreamu", b"ps_1"),
    ):
        with pytest.raises(Refused) as caught:
            envelope.open_sealed(tenant, purpose, place, sealed)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(Refused):
        envelope.open_sealed("acme", "upstream", b"ups_1", sealed[:-1])


async def test_a_tenant_that_is_locked_seals_nothing(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        Envelope.open(tmp_path / "key").seal("default", "upstream", b"", b"x")


async def test_a_wrong_key_file_is_named(db: Database, tmp_path: Path) -> None:
    await Envelope.open(tmp_path / "key").unlock(db, "default")
    with pytest.raises(Refused, match="key file does not open") as caught:
        await Envelope.open(tmp_path / "other").unlock(db, "default")
    assert caught.value.code == "bad_setting"


async def test_after_a_change_of_keys_the_old_secrets_and_hashes_stay(db: Database, tmp_path: Path) -> None:
    old, fresh = tmp_path / "key", tmp_path / "fresh"
    before = Envelope.open(old)
    await before.unlock(db, "default")
    sealed = before.seal("default", "upstream", b"", b"hunter2")
    Envelope.open(fresh)
    fresh.write_text(fresh.read_text() + old.read_text())
    after = Envelope.open(fresh)
    await after.unlock(db, "default")
    assert after.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    assert after.mac("default", "name", b"x") == before.mac("default", "name", b"x")
    assert after.sealer("session").open(before.sealer("session").seal(b"s")) == b"s"
    assert before.sealer("session").open(after.sealer("session").seal(b"s")) is None


async def test_a_keyset_copied_to_another_tenant_does_not_open(db: Database, tmp_path: Path) -> None:
    await Envelope.open(tmp_path / "key").unlock(db, "acme")
    async with db.unit("acme", write=False) as unit:
        wrapped = await keysets.get(unit)
    assert wrapped is not None
    async with db.unit("other") as unit:
        await keysets.put_first(unit, wrapped)
    with pytest.raises(Refused, match="key file does not open"):
        await Envelope.open(tmp_path / "key").unlock(db, "other")


def test_keyed_hashes_differ_by_tenant_purpose_and_key_file(tmp_path: Path) -> None:
    one, two = Envelope.open(tmp_path / "a"), Envelope.open(tmp_path / "b")
    found = {
        one.mac("acme", "name", b"x"),
        one.mac("other", "name", b"x"),
        one.mac("acme", "args", b"x"),
        one.mac("acme", "name", b"y"),
        two.mac("acme", "name", b"x"),
    }
    assert len(found) == 5
    assert one.mac("acme", "name", b"x") == one.mac("acme", "name", b"x")


def test_mail_of_one_installation_does_not_open_in_another(tmp_path: Path) -> None:
    one, two = Envelope.open(tmp_path / "a"), Envelope.open(tmp_path / "b")
    receiver = one.replica_key()
    assert receiver.open(one.replica_key().seal_for(receiver.public, b"x")) == b"x"
    assert receiver.open(two.replica_key().seal_for(receiver.public, b"x")) is None
