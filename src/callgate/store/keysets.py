"""The tenants' encryption keys, wrapped: one keyset per tenant, made by whoever needs it first."""

from sqlalchemy import select

from callgate import clock
from callgate.store.schema import keysets
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


async def get(unit: Unit) -> bytes | None:
    """The wrapped keyset of the unit's tenant, or None."""
    found = (await unit.execute(select(keysets.c.wrapped).where(keysets.c.tenant == unit.tenant))).scalar_one_or_none()
    return None if found is None else bytes(found)


async def put_first(unit: Unit, wrapped: bytes) -> bytes:
    """Keep a wrapped keyset unless the tenant has one; returns the one that is kept."""
    statement = insert_or(unit.postgresql, keysets).values(tenant=unit.tenant, wrapped=wrapped, created=clock.now())
    await unit.execute(statement.on_conflict_do_nothing())
    return await get(unit) or wrapped
