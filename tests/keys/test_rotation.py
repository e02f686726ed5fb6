"""Rotating, wrapping anew and destroying: every sealed value comes along, whoever else is at work and whatever dies."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import BigInteger, Boolean, Double, Integer, LargeBinary, insert, select

from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import PURPOSE as GRANT
from callgate.credentials.granted import binding as grant_binding
from callgate.credentials.keyring import Lifetimes
from callgate.credentials.registering import PURPOSE as CLIENT
from callgate.credentials.registering import binding as client_binding
from callgate.credentials.revoking import Over, over
from callgate.errors import Refused
from callgate.keys import resealing, rotation
from callgate.keys.places import OUTBOX, PLACES
from callgate.keys.rotation import Rotation
from callgate.model.grant import GrantFacts, UpstreamClient
from callgate.model.upstream import Upstream
from callgate.store import keysets
from callgate.store.engine import Database
from callgate.store.schema import metadata
from callgate.store.unit import Unit

OFTEN = Lifetimes(check=0.0)
TENANT = "default"
# columns that hold sealed bytes of other kinds: with the key file, not with a tenant's keyset
ELSEWHERE = {("notes", "value"), ("idempotency", "body"), ("mail", "body")}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SETTLED_SECONDS", 0.0)


async def noted(_unit: Unit) -> None:
    return None


def test_the_list_has_every_sealed_column_of_the_schema() -> None:
    listed = {(place.where.table, place.where.column) for place in PLACES} | {(OUTBOX.table, OUTBOX.column)}
    named = {
        (table.name, column.name) for table in metadata.sorted_tables for column in table.c
        if isinstance(column.type, LargeBinary) and column.name in ("sealed", "totp")
    }  # fmt: skip
    assert listed == named
    for table, column in ELSEWHERE:
        assert column in metadata.tables[table].c


def _row(table: str, **given: Any) -> dict[str, Any]:
    """A row in which every column that has to be there is."""
    plain = {BigInteger: 0, Integer: 0, Double: 0.0, Boolean: False, LargeBinary: b""}
    row = {
        column.name: next((value for kind, value in plain.items() if isinstance(column.type, kind)), "x")
        for column in metadata.tables[table].c if not column.nullable
    }  # fmt: skip
    return {**row, "tenant": TENANT, **given}


async def _put(db: Database, table: str, row: dict[str, Any]) -> None:
    async with db.unit(TENANT) as unit:
        await unit.execute(insert(metadata.tables[table]).values(**row))


async def fill(db: Database, envelope: Envelope) -> None:
    """One value in each place, as its package would seal it, and one message to a vendor."""
    await _put(db, "upstreams", _row("upstreams", id="ups_1", name="web", kind="http", secret_id="k1"))
    for place in PLACES:
        names = (*place.where.key, *place.where.more)
        given = dict.fromkeys(names, "k1")
        if place.where.table == "connects":
            given["hash"] = b"k1"  # type: ignore[assignment]
        purpose, aad = place.bound(given, {"k1": "ups_1"})
        sealed = await envelope.seal(TENANT, purpose, aad, f"secret of {place.where.table}".encode())
        row = _row(place.where.table, **given, **{place.where.column: sealed})
        await _put(db, place.where.table, row)
    client = UpstreamClient(
        TENANT, "ups_1", "https://idp", "c", "dynamic", "none", "", 0.0,
        await envelope.seal(TENANT, CLIENT, client_binding("ups_1", "https://idp"), b"secret of a client"), None,
    )  # fmt: skip
    tokens = await envelope.seal(TENANT, GRANT, grant_binding("prs_1", "ups_1"), b"secret of a message")
    upstream = Upstream(id="ups_1", tenant=TENANT, name="web", kind="http")
    message = msgspec.json.encode(Over("prs_1", GrantFacts(), tokens, upstream, client))
    await _put(db, "revocations", _row("revocations", id="rev_1", sealed=message))


async def opened(db: Database, envelope: Envelope) -> list[str]:
    """What opens of all that was put in."""
    found = []
    for place in PLACES:
        table = metadata.tables[place.where.table]
        async with db.unit(TENANT, write=False) as unit:
            rows = (await unit.execute(select(table).where(table.c.tenant == TENANT))).all()
        for row in rows:
            values = row._asdict()
            bound = place.bound(values, {"k1": "ups_1"})
            found.append((await envelope.open_sealed(TENANT, *bound, bytes(values[place.where.column]))).decode())
    table = metadata.tables["revocations"]
    async with db.unit(TENANT, write=False) as unit:
        message = over(bytes((await unit.execute(select(table.c.sealed))).scalar_one()))
    assert message.client is not None
    bound = CLIENT, client_binding("ups_1", "https://idp")
    found.append((await envelope.open_sealed(TENANT, *bound, message.client.sealed or b"")).decode())
    bound = GRANT, grant_binding("prs_1", "ups_1")
    found.append((await envelope.open_sealed(TENANT, *bound, message.tokens)).decode())
    return found


EVERYTHING = [f"secret of {place.where.table}" for place in PLACES] + ["secret of a client", "secret of a message"]


async def test_every_value_goes_to_the_fresh_key_and_the_old_key_goes(db: Database, tmp_path: Path) -> None:
    envelope = Envelope.open(tmp_path / "key", db)
    await fill(db, envelope)
    hands = Rotation(db, envelope)
    first = await hands.status(TENANT)
    assert first.sealed == {first.seals: len(EVERYTHING)}
    done = await hands.rotate(TENANT, noted)
    assert (done.left, done.keys) == (0, 2)
    assert done.resealed == len(EVERYTHING) - 1, "the message holds two, and is one row"
    second = await hands.status(TENANT)
    assert second.seals != first.seals
    assert second.sealed == {first.seals: 0, second.seals: len(EVERYTHING)}
    assert await opened(db, envelope) == EVERYTHING
    await hands.rotate(TENANT, noted)
    third = await hands.status(TENANT)
    assert third.sealed == {second.seals: 0, third.seals: len(EVERYTHING)}, "the first key is gone"
    assert await opened(db, Envelope.open(tmp_path / "key", db)) == EVERYTHING


async def test_replicas_follow_without_being_told(db: Database, tmp_path: Path) -> None:
    """One that has the old keys opens what is sealed with the new one, and what it sealed meanwhile is found."""
    here, there = Envelope.open(tmp_path / "key", db), Envelope.open(tmp_path / "key", db)
    await there.seal(TENANT, "p", b"", b"warm")
    await Rotation(db, here).rotate(TENANT, noted)
    late = await there.seal(TENANT, "kept", b"k1", b"late")
    await _put(db, "kept_arguments", _row("kept_arguments", call="k1", sealed=late))
    fresh = await here.seal(TENANT, "p", b"", b"fresh")
    await asyncio.sleep(1.1)  # a look for the sake of an unknown key at most every second
    assert await there.open_sealed(TENANT, "p", b"", fresh) == b"fresh"
    assert await here.open_sealed(TENANT, "kept", b"k1", late) == b"late"
    await Rotation(db, here).rotate(TENANT, noted)
    with pytest.raises(Refused):
        await here.open_sealed(TENANT, "kept", b"k1", late)
    async with db.unit(TENANT, write=False) as unit:
        now = (await unit.execute(select(metadata.tables["kept_arguments"].c.sealed))).scalar_one()
    assert await here.open_sealed(TENANT, "kept", b"k1", bytes(now)) == b"late"


@pytest.mark.parametrize("until", range(len(EVERYTHING) - 1))
async def test_one_that_dies_half_way_loses_nothing(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    envelope = Envelope.open(tmp_path / "key", db)
    await fill(db, envelope)
    whole, done = resealing.Resealer._put, 0

    async def dying(self: resealing.Resealer, *given: Any) -> None:
        nonlocal done
        if done >= until:
            raise KeyboardInterrupt
        done += 1
        await whole(self, *given)

    monkeypatch.setattr(resealing.Resealer, "_put", dying)
    with pytest.raises(KeyboardInterrupt):
        await Rotation(db, envelope).rotate(TENANT, noted)
    monkeypatch.undo()
    monkeypatch.setattr(rotation, "SETTLED_SECONDS", 0.0)
    other = Envelope.open(tmp_path / "key", db)
    assert await opened(db, other) == EVERYTHING
    await Rotation(db, other).rotate(TENANT, noted)
    await Rotation(db, other).rotate(TENANT, noted)
    status = await Rotation(db, other).status(TENANT)
    assert len(status.sealed) == 2
    assert status.sealed[status.seals] == len(EVERYTHING)
    assert await opened(db, other) == EVERYTHING


async def test_of_two_at_once_one_rotates(db: Database, tmp_path: Path) -> None:
    replicas = [Envelope.open(tmp_path / "key", db) for _ in range(4)]
    await fill(db, replicas[0])
    outcomes = await asyncio.gather(
        *(Rotation(db, one).rotate(TENANT, noted) for one in replicas), return_exceptions=True
    )
    refused = [one.code for one in outcomes if isinstance(one, Refused)]
    assert set(refused) <= {"conflict"}
    assert len(refused) < len(outcomes)
    assert await opened(db, Envelope.open(tmp_path / "key", db)) == EVERYTHING


async def test_soon_after_one_there_is_no_other(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """A replica may not have heard yet, and seal with a key that would go."""
    monkeypatch.setattr(rotation, "SETTLED_SECONDS", 60.0)
    hands = Rotation(db, Envelope.open(tmp_path / "key", db))
    with pytest.raises(Refused, match="wait 60 s") as caught:
        await hands.rotate(TENANT, noted)
    assert caught.value.code == "conflict", "a keyset that was made just now is as fresh"


async def test_a_value_that_does_not_open_is_counted_and_left(db: Database, tmp_path: Path) -> None:
    envelope = Envelope.open(tmp_path / "key", db)
    foreign = await envelope.seal(TENANT, "kept", b"another", b"x")
    await _put(db, "kept_arguments", _row("kept_arguments", call="k1", sealed=foreign))
    await _put(db, "kept_arguments", _row("kept_arguments", call="k2", sealed=b"nonsense"))
    hands = Rotation(db, envelope)
    done = await hands.rotate(TENANT, noted)
    assert (done.resealed, done.left) == (0, 2)
    done = await hands.rotate(TENANT, noted)
    assert done.keys == 3, "its key is still in use"
    assert (await hands.status(TENANT)).stray == 1


async def test_another_key_file_takes_over_while_it_runs(db: Database, tmp_path: Path) -> None:
    """The running process reads the file again; nothing is restarted."""
    path, fresh = tmp_path / "key", tmp_path / "fresh"
    envelope = Envelope.open(path, db, lifetimes=OFTEN)
    await fill(db, envelope)
    old = path.read_text()
    Envelope.open(fresh, db)
    path.write_text(fresh.read_text() + old)
    hands = Rotation(db, envelope)
    status = await hands.status(TENANT)
    assert status.wrapped_by != status.wraps_now
    assert await hands.rewrap(TENANT, noted)
    status = await hands.status(TENANT)
    assert status.wrapped_by == status.wraps_now
    assert await opened(db, envelope) == EVERYTHING
    alone = Envelope.open(fresh, db)
    assert await opened(db, alone) == EVERYTHING, "the old key is needed no more"


async def test_what_is_destroyed_opens_nowhere_and_its_keys_are_in_no_file(db: Database, tmp_path: Path) -> None:
    here, there = (Envelope.open(tmp_path / "key", db, lifetimes=OFTEN) for _ in range(2))
    other = await here.seal("other", "p", b"", b"another company's")
    await fill(db, here)
    sealed = await here.seal(TENANT, "p", b"", b"gone")
    assert await there.open_sealed(TENANT, "p", b"", sealed) == b"gone"
    async with db.unit(TENANT, write=False) as unit:
        row = await keysets.get(unit)
    assert row is not None
    assert await Rotation(db, here).destroy(TENANT, noted)
    assert not await Rotation(db, here).destroy(TENANT, noted)
    for envelope in (here, there, Envelope.open(tmp_path / "key", db)):
        for attempt in (envelope.open_sealed(TENANT, "p", b"", sealed), envelope.seal(TENANT, "p", b"", b"x")):
            with pytest.raises(Refused) as caught:
                await attempt
            assert caught.value.code == "keys_destroyed"
        assert await envelope.open_sealed("other", "p", b"", other) == b"another company's"
    with pytest.raises(Refused, match="destroyed"):
        await Rotation(db, here).rotate(TENANT, noted)
    assert not await Rotation(db, here).rewrap(TENANT, noted)
    assert (await Rotation(db, here).status(TENANT)).destroyed is not None
    if db.path is not None:
        for file in db.path.parent.glob(f"{db.path.name}*"):
            assert row.wrapped[8:-8] not in file.read_bytes(), file
    else:
        async with db.unit(None, write=False) as unit:
            rows = (await unit.execute(select(metadata.tables["keysets"].c.wrapped))).scalars().all()
        assert row.wrapped not in [bytes(one) for one in rows]


async def test_a_tenant_that_never_sealed_anything_can_be_destroyed(db: Database, tmp_path: Path) -> None:
    envelope = Envelope.open(tmp_path / "key", db)
    assert await Rotation(db, envelope).destroy("acme", noted)
    with pytest.raises(Refused, match="destroyed"):
        await envelope.seal("acme", "p", b"", b"x")
