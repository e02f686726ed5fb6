"""Rotating a keyset, wrapping it with another key, destroying it; and what there is.

A rotation adds a fresh key that seals from then on and seals everything again; keys of earlier rotations go when
nothing is sealed with them. Fail closed: two changes at once are one and a `conflict`; a crash half-way leaves values
under keys that are all still there, and the next rotation goes on.
"""

from collections.abc import Awaitable, Callable

import msgspec

from callgate import clock
from callgate.credentials.envelope import Envelope
from callgate.credentials.keyring import numbers_of, primary_of, with_new_key
from callgate.errors import Refused
from callgate.keys.resealing import Resealer, in_use
from callgate.store import keysets
from callgate.store.engine import Database
from callgate.store.keysets import Keyset
from callgate.store.unit import Unit

SETTLED_SECONDS = 60.0  # by then no replica seals with an earlier key: one that is out of touch for 25 s refuses
Noted = Callable[[Unit], Awaitable[None]]


class KeyStatus(msgspec.Struct, frozen=True):
    """A tenant's keys. `sealed` maps each key's number to how many values it sealed; `stray` are under none of them."""

    wrapped_by: str
    wraps_now: str
    created: float | None
    rotated: float | None
    destroyed: float | None
    seals: str
    sealed: dict[str, int]
    stray: int


class Rotated(msgspec.Struct, frozen=True):
    """What a rotation did: values sealed again, values that do not open, keys that there are now."""

    resealed: int
    left: int
    keys: int


class Rotation:
    """One replica's hands for it. `noted` of each change is called in its transaction, for the audit."""

    def __init__(self, db: Database, envelope: Envelope) -> None:
        self._db = db
        self._envelope = envelope

    async def status(self, tenant: str) -> KeyStatus:
        """Raises `Refused` as `Keyring.primitive`, but for a destroyed keyset."""
        row, now = await self._row(tenant), self._envelope.keyring.wrapping
        if row is None:
            return KeyStatus("", now, None, None, None, "", {}, 0)
        if row.destroyed is not None:
            return KeyStatus("", now, row.created, row.rotated or None, row.destroyed, "", {}, 0)
        plain = await self._envelope.keyring.unwrapped(tenant, row)
        used = await in_use(self._db, tenant)
        known = {number: used.pop(number, 0) for number in sorted(numbers_of(plain))}
        return KeyStatus(
            row.wrapped_by or "file:", now, row.created, row.rotated or None, None, _shown(primary_of(plain)),
            {_shown(number): count for number, count in known.items()}, used.total(),
        )  # fmt: skip

    async def rotate(self, tenant: str, noted: Noted) -> Rotated:
        """A fresh key, and everything sealed again with it.

        Raises `Refused`: conflict (somebody else did just now), else as `Keyring.primitive`.
        """
        await self._envelope.unlock(tenant)
        before = await self._present(tenant)
        age = clock.now() - before.rotated
        if before.rotated and 0 <= age < SETTLED_SECONDS:
            raise Refused("conflict", f"These keys were rotated {age:.0f} s ago; wait {SETTLED_SECONDS:.0f} s.")
        plain = await self._envelope.keyring.unwrapped(tenant, before)
        primary = primary_of(plain)
        await self._reseal(tenant, primary)  # what an interrupted rotation left
        keep = frozenset({primary} | (numbers_of(plain) & set(await in_use(self._db, tenant))))
        fresh = with_new_key(plain, keep)
        await self._swap(tenant, before, fresh, noted, rotated=True)
        work = await self._reseal(tenant, primary_of(fresh))
        return Rotated(work.done, work.left, len(numbers_of(fresh)))

    async def rewrap(self, tenant: str, noted: Noted) -> bool:
        """Wrap the keyset anew with the key that wraps now; False where there is no keyset. Raises as `rotate`."""
        before = await self._row(tenant)
        if before is None or before.destroyed is not None:
            return False
        plain = await self._envelope.keyring.unwrapped(tenant, before)
        await self._swap(tenant, before, plain, noted, rotated=False)
        return True

    async def destroy(self, tenant: str, noted: Noted) -> bool:
        """Erase the tenant's keys, in the database's files too; nothing that they sealed opens again."""
        async with self._db.unit(tenant) as unit:
            done = await keysets.destroy(unit)
            if done:
                await noted(unit)
        await self._db.scrub()
        return done

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _row(self, tenant: str) -> Keyset | None:
        async with self._db.unit(tenant, write=False) as unit:
            return await keysets.get(unit)

    async def _present(self, tenant: str) -> Keyset:
        row = await self._row(tenant)
        if row is None or row.destroyed is not None:
            raise Refused("keys_destroyed")
        return row

    async def _swap(self, tenant: str, before: Keyset, plain: bytes, noted: Noted, *, rotated: bool) -> None:
        wrapped, name = await self._envelope.keyring.wrapped(tenant, plain)
        async with self._db.unit(tenant) as unit:
            if not await keysets.swap(unit, before, wrapped, name, rotated=rotated):
                raise Refused("conflict", "Somebody else changed these keys at the same moment; look, and try again.")
            await noted(unit)
        self._envelope.keyring.on_change(tenant, frozenset({keysets.AGGREGATE}))

    async def _reseal(self, tenant: str, primary: bytes) -> Resealer:
        work = Resealer(self._db, self._envelope, tenant, primary)
        await work.run()
        return work


def _shown(number: bytes) -> str:
    """A key's number, for people."""
    return number[1:].hex()
