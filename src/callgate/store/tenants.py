"""Tenants: one company each; a single-tenant install has `default`."""

from sqlalchemy import select

from callgate import clock
from callgate.store.schema import tenants
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


async def ensure(unit: Unit, tenant: str) -> bool:
    """Make a tenant unless it exists; True when it was made. Needs a unit over all tenants."""
    unit.require_system()
    statement = insert_or(unit.postgresql, tenants).values(id=tenant, created=clock.now())
    result = await unit.execute(statement.on_conflict_do_nothing())
    return result.rowcount == 1


async def all_ids(unit: Unit) -> tuple[str, ...]:
    """The ids of the tenants that this unit may see, sorted."""
    result = await unit.execute(select(tenants.c.id).order_by(tenants.c.id))
    return tuple(result.scalars())
