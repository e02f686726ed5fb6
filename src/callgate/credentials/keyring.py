"""The tenants' keysets (Tink) as one replica holds them: unwrapped for a while, and looked at again.

A keyset is looked at again every `check` seconds, when the store says that it changed, and when a ciphertext names a
key that it does not have. Fail closed: a wrapping key that says no ends the keyset here at once; one that is away is
survived for `outage` seconds, no longer; a destroyed keyset never comes back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import tink
from tink import aead, secret_key_access
from tink.proto import tink_pb2

from callgate import clock
from callgate.credentials.wrapping import WrappingKey, WrongKey
from callgate.errors import Refused
from callgate.store import keysets
from callgate.store.engine import Database
from callgate.store.keysets import Keyset
from callgate.telemetry.logs import get_logger

NUMBER = 5  # bytes with which a ciphertext of Tink names its key
_AGAIN_SECONDS = 5.0  # after an answer that was none
_UNKNOWN_SECONDS = 1.0  # between two looks for the sake of unknown ciphertexts
_AWAY = frozenset({"keys_unavailable", "store_unavailable"})
_log = get_logger(__name__)
aead.register()


class Lifetimes(NamedTuple):
    """For how many seconds an unwrapped keyset is used without a look, and without an answer."""

    check: float = 60.0
    outage: float = 3600.0


@dataclass(slots=True)
class _Held:
    edition: int
    until: float  # of the monotonic clock: look again then
    looked: float
    confirmed: float  # when the wrapping key last opened it
    primitive: aead.Aead | None = field(default=None, repr=False)
    numbers: frozenset[bytes] = frozenset()
    refusal: tuple[str, str] = ("", "")


class Keyring:
    """Keysets by tenant. The first of `wrapping` wraps new ones."""

    def __init__(self, db: Database, wrapping: Sequence[WrappingKey], lifetimes: Lifetimes) -> None:
        self._db = db
        self._wrapping = tuple(wrapping)
        self._lifetimes = lifetimes
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._changes = 0  # told of so far, of any tenant

    async def primitive(self, tenant: str, sealed: bytes | None = None) -> aead.Aead:
        """What seals and opens for a tenant, and knows the key of `sealed`; makes the keyset when there is none.

        Raises `Refused`: bad_setting (the wrapping key is not here), keys_unavailable, keys_refused, keys_destroyed,
        store_unavailable.
        """
        held = self._held.get(tenant)
        if held is None or _wants_look(held, sealed):
            async with self._locks.setdefault(tenant, asyncio.Lock()):
                held = self._held.get(tenant)
                if held is None or _wants_look(held, sealed):
                    changes = self._changes
                    held = self._held[tenant] = await self._look(tenant, held)
                    if changes != self._changes:  # what was read may be of before it
                        held.until = 0.0
        if held.primitive is None:
            raise Refused(*held.refusal)
        return held.primitive

    def at_hand(self, tenant: str, sealed: bytes) -> aead.Aead | None:
        """What opens a value, if it is held and needs no look now."""
        held = self._held.get(tenant)
        return None if held is None or _wants_look(held, sealed) else held.primitive

    def edition(self, tenant: str) -> int:
        """Changes whenever the tenant's keys do; what is cached sealed is cached for one edition."""
        held = self._held.get(tenant)
        return held.edition if held is not None else 0

    def on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        """What a fleet tells of its snapshots: after a change of the keyset it is looked at before its next use."""
        if keysets.AGGREGATE not in aggregates:
            return
        self._changes += 1
        held = self._held.get(tenant)
        if held is not None:
            held.until = 0.0

    # -- keysets, for those who change them -------------------------------------------------------------------------

    @property
    def wrapping(self) -> str:
        """The name of the key that wraps now."""
        return self._wrapping[0].name

    async def wrapped(self, tenant: str, keyset: bytes) -> tuple[bytes, str]:
        """A keyset wrapped by the first key, and the name of that key. It was tried: what does not come back whole
        takes no keyset's place. Raises `Refused`."""
        first = self._wrapping[0]
        wrapped, name = await first.wrap(tenant, keyset), first.name
        try:
            if await first.unwrap(tenant, wrapped) == keyset:
                return wrapped, name
        except WrongKey:
            pass
        raise Refused("keys_unavailable", f"What {name} has wrapped does not open again; nothing was changed.")

    async def unwrapped(self, tenant: str, row: Keyset) -> bytes:
        """The keyset of a row (Tink's binary form). Raises `Refused` as `primitive`."""
        if row.destroyed is not None:
            raise Refused("keys_destroyed")
        wrapped = row.wrapped
        if not row.wrapped_by:  # of the time before other places than the key file
            wrapped = tink_pb2.EncryptedKeyset.FromString(wrapped).encrypted_keyset
        for key in self._wrapping:
            if key.owns(row.wrapped_by or "file:"):
                try:
                    return await key.unwrap(tenant, wrapped)
                except WrongKey:
                    break
        raise Refused("bad_setting", _not_ours(row.wrapped_by))

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _look(self, tenant: str, held: _Held | None) -> _Held:
        now = clock.monotonic()
        try:
            row = await self._row(tenant)
            plain = await self.unwrapped(tenant, row)
        except Refused as refused:
            return self._without(tenant, held, refused, now)
        handle = tink.proto_keyset_format.parse(plain, secret_key_access.TOKEN)
        return _Held(
            row.edition, now + self._lifetimes.check, now, now, handle.primitive(aead.Aead), numbers_of(plain)
        )  # fmt: skip

    def _without(self, tenant: str, held: _Held | None, refused: Refused, now: float) -> _Held:
        """What is held after a look that did not open the keyset. Raises `Refused` where nothing was held."""
        again = now + min(_AGAIN_SECONDS, self._lifetimes.check)
        if held is None and refused.code not in ("keys_refused", "keys_unavailable", "keys_destroyed"):
            raise refused
        good = held is not None and held.primitive is not None and now - held.confirmed < self._lifetimes.outage
        if held is not None and good and refused.code in _AWAY:
            _log.warning("a keyset could not be looked at again", tenant=tenant, code=refused.code)
            held.until, held.looked = again, now
            return held
        _log.error("a keyset does not open", tenant=tenant, code=refused.code)
        edition = held.edition if held is not None else 0
        return _Held(edition, again, now, 0.0, refusal=(refused.code, refused.sentence))

    async def _row(self, tenant: str) -> Keyset:
        async with self._db.unit(tenant, write=False) as unit:
            row = await keysets.get(unit)
        if row is not None:
            return row
        wrapped, name = await self.wrapped(tenant, with_new_key(b""))
        async with self._db.unit(tenant) as unit:
            return await keysets.put_first(unit, wrapped, name)


def _wants_look(held: _Held, sealed: bytes | None) -> bool:
    now = clock.monotonic()
    if now >= held.until:
        return True
    known = sealed is None or held.primitive is None or sealed[:NUMBER] in held.numbers
    return not known and now - held.looked >= _UNKNOWN_SECONDS


def _not_ours(name: str) -> str:
    if not name or name.startswith("file:"):
        return "This key file does not open the secrets of this database; use the one they were made with."
    return f"The secrets of this database are wrapped by {name}, which is not in the setting `kms`; add it there."


# -- keysets (pure) ----------------------------------------------------------------------------------------------------


def numbers_of(keyset: bytes) -> frozenset[bytes]:
    """How ciphertexts name the keys of a keyset (Tink's output prefix: 1, and the id in four bytes)."""
    found = tink_pb2.Keyset.FromString(keyset)
    return frozenset(b"\x01" + one.key_id.to_bytes(4, "big") for one in found.key)


def primary_of(keyset: bytes) -> bytes:
    """How ciphertexts name the key that seals."""
    primary: int = tink_pb2.Keyset.FromString(keyset).primary_key_id
    return b"\x01" + primary.to_bytes(4, "big")


def with_new_key(keyset: bytes, keep: frozenset[bytes] = frozenset()) -> bytes:
    """A keyset whose fresh key (AES-256-GCM) seals, and that of the old keys has those in `keep`."""
    fresh = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    made = tink_pb2.Keyset.FromString(tink.proto_keyset_format.serialize(fresh, secret_key_access.TOKEN))
    for one in tink_pb2.Keyset.FromString(keyset).key:
        if b"\x01" + one.key_id.to_bytes(4, "big") in keep and one.key_id != made.primary_key_id:
            made.key.append(one)
    whole: bytes = made.SerializeToString()
    return whole
