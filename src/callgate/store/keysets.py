"""The tenants' encryption keys, wrapped: one keyset per tenant, made by whoever needs it first.

A keyset that was destroyed stays as a row without keys, so that no other is ever made in its place.
"""

import msgspec
from sqlalchemy import select, update

from callgate import clock
from callgate.store.schema import keysets
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

AGGREGATE = "keys"
_columns = keysets.c


class Keyset(msgspec.Struct, frozen=True):
    """A wrapped keyset. `edition` grows with every change; `rotated` is when its newest key was made."""

    wrapped: bytes
    wrapped_by: str
    edition: int
    created: float
    rotated: float
    destroyed: float | None

    def __repr__(self) -> str:
        return f"Keyset({self.wrapped_by}, {self.edition})"


async def get(unit: Unit) -> Keyset | None:
    """The keyset of the unit's tenant, or None."""
    row = (await unit.execute(select(keysets).where(_columns.tenant == unit.tenant))).one_or_none()
    if row is None:
        return None
    return Keyset(bytes(row.wrapped), row.wrapped_by, row.edition, row.created, row.rotated, row.destroyed)


async def put_first(unit: Unit, wrapped: bytes, wrapped_by: str) -> Keyset:
    """Keep a wrapped keyset unless the tenant has one; returns the one that is kept."""
    now = clock.now()
    statement = insert_or(unit.postgresql, keysets).values(
        tenant=unit.tenant, wrapped=wrapped, wrapped_by=wrapped_by, edition=1, created=now, rotated=now
    )
    await unit.execute(statement.on_conflict_do_nothing())
    return await get(unit) or Keyset(wrapped, wrapped_by, 1, now, now, None)


async def swap(unit: Unit, before: Keyset, wrapped: bytes, wrapped_by: str, *, rotated: bool) -> bool:
    """Put another keyset in the place of the one that was read; False when it is not that any more."""
    values = {"wrapped": wrapped, "wrapped_by": wrapped_by, "edition": before.edition + 1}
    if rotated:
        values["rotated"] = clock.now()
    theirs = _columns.tenant == unit.tenant, _columns.edition == before.edition, _columns.destroyed.is_(None)
    if (await unit.execute(update(keysets).where(*theirs).values(**values))).rowcount != 1:
        return False
    await unit.bump(AGGREGATE)
    return True


async def destroy(unit: Unit) -> bool:
    """Erase the tenant's keys for good; False when they were erased before."""
    now = clock.now()
    await put_first(unit, b"", "")  # a tenant that never sealed anything never will
    gone = {"wrapped": b"", "wrapped_by": "", "edition": _columns.edition + 1, "destroyed": now}
    theirs = _columns.tenant == unit.tenant, _columns.destroyed.is_(None)
    done = (await unit.execute(update(keysets).where(*theirs).values(**gone))).rowcount == 1
    await unit.bump(AGGREGATE)
    return done
