"""Sealed arguments of calls that rules blocked or parked, where the tenant chose to keep them, for a bounded time."""

from sqlalchemy import delete, select

from callgate.store.policy_schema import kept_arguments as table
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


async def put(unit: Unit, call: str, sealed: bytes, seconds: float) -> None:
    """Keep what is sealed for so many seconds."""
    values = {"tenant": unit.tenant, "call": call, "sealed": sealed, "expires": await unit.now() + seconds}
    await unit.execute(insert_or(unit.postgresql, table).values(**values).on_conflict_do_nothing())


async def get(unit: Unit, call: str) -> bytes | None:
    """The sealed arguments of a call, while their time lasts."""
    statement = select(table.c.sealed).where(
        table.c.tenant == unit.tenant, table.c.call == call, table.c.expires > await unit.now()
    )
    found = (await unit.execute(statement)).scalar_one_or_none()
    return None if found is None else bytes(found)


async def forget(unit: Unit) -> int:
    """Erase all that the tenant has kept; how many there were."""
    return (await unit.execute(delete(table).where(table.c.tenant == unit.tenant))).rowcount


async def prune(unit: Unit) -> None:
    """Delete what is overdue. Needs a unit over all tenants."""
    unit.require_system()
    await unit.execute(delete(table).where(table.c.expires <= await unit.now()))
