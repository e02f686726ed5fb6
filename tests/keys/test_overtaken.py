"""Keys that change while somebody looks at them, and a key file that is away for a moment."""

import asyncio
from pathlib import Path

import pytest

from callgate.credentials import keyfile
from callgate.credentials.envelope import Envelope
from callgate.credentials.keyring import Keyring, Lifetimes
from callgate.credentials.wrapping import FileKeys
from callgate.errors import Refused
from callgate.keys.rotation import Rotation
from callgate.store import keysets
from callgate.store.engine import Database
from callgate.store.unit import Unit

TENANT = "default"


class Slow(FileKeys):
    """A key service that takes its time with what it was asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        keyset = await super().unwrap(tenant, wrapped)
        self.asked.set()
        await self.go.wait()
        return keyset


class Odd(FileKeys):
    """A place that answers "fine" and gives nothing, or something else."""

    def __init__(self, path: Path, gives: bytes) -> None:
        super().__init__(path)
        self.gives = gives

    async def wrap(self, tenant: str, keyset: bytes) -> bytes:
        return self.gives


async def noted(_unit: Unit) -> None:
    return None


async def test_a_look_that_was_overtaken_by_a_destruction_is_not_believed(db: Database, tmp_path: Path) -> None:
    here = Envelope.open(tmp_path / "key", db)
    sealed = await here.seal(TENANT, "p", b"", b"secret")
    slow = Slow(tmp_path / "key")
    there = Envelope(keyfile.load(tmp_path / "key"), Keyring(db, (slow,), Lifetimes()))
    first = asyncio.ensure_future(there.open_sealed(TENANT, "p", b"", sealed))
    await slow.asked.wait()
    await Rotation(db, here).destroy(TENANT, noted)
    there.keyring.on_change(TENANT, frozenset({keysets.AGGREGATE}))
    slow.go.set()
    await asyncio.gather(first, return_exceptions=True)
    with pytest.raises(Refused) as caught:
        await there.open_sealed(TENANT, "p", b"", sealed)
    assert caught.value.code == "keys_destroyed"
    assert there.keyring.at_hand(TENANT, sealed) is None


async def test_a_key_file_that_is_away_is_survived_and_never_made_anew(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "key"
    envelope = Envelope.open(path, db, lifetimes=Lifetimes(check=0.0))
    sealed = await envelope.seal(TENANT, "p", b"", b"secret")
    aside = path.rename(tmp_path / "aside")
    assert await envelope.open_sealed(TENANT, "p", b"", sealed) == b"secret"
    with pytest.raises(Refused) as caught:
        await envelope.seal("another", "p", b"", b"x")
    assert caught.value.code == "keys_unavailable"
    assert not path.exists(), "a fresh key would open nothing of what is there"
    aside.rename(path)
    assert await envelope.open_sealed(TENANT, "p", b"", sealed) == b"secret"


@pytest.mark.parametrize("gives", [b"", b"None", b"vault:v1:x"])
async def test_a_place_that_wraps_nothing_loses_no_keys(db: Database, tmp_path: Path, gives: bytes) -> None:
    envelope = Envelope.open(tmp_path / "key", db)
    sealed = await envelope.seal(TENANT, "p", b"", b"secret")
    odd = Envelope(
        keyfile.load(tmp_path / "key"),
        Keyring(db, (Odd(tmp_path / "key", gives), FileKeys(tmp_path / "key")), Lifetimes()),
    )
    with pytest.raises(Refused) as caught:
        await Rotation(db, odd).rewrap(TENANT, noted)
    assert caught.value.code == "keys_unavailable"
    with pytest.raises(Refused):
        await odd.seal("another", "p", b"", b"x")
    assert await Envelope.open(tmp_path / "key", db).open_sealed(TENANT, "p", b"", sealed) == b"secret"
