"""Leases: who does a thing that only one replica may do. Times by the clock that all replicas share.

Fail closed: who cannot reach the store has no lease. All functions on units need one over all tenants.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import delete, select

from callgate.store.engine import Database
from callgate.store.schema import leases
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


async def acquire(unit: Unit, name: str, replica: str, seconds: float) -> bool:
    """Take a lease that is free, over, or one's own; True when `replica` has it now, for `seconds` from now."""
    unit.require_system()
    now = await unit.now()
    values = {"replica": replica, "until": now + seconds}
    statement = insert_or(unit.postgresql, leases).values(name=name, **values)
    free = (leases.c.until <= now) | (leases.c.replica == replica)
    result = await unit.execute(
        statement.on_conflict_do_update(index_elements=[leases.c.name], set_=values, where=free).returning(
            leases.c.name
        )
    )
    return result.one_or_none() is not None


async def renew(unit: Unit, name: str, replica: str, seconds: float) -> bool:
    """Keep a lease that one holds; False when it is over or another's."""
    unit.require_system()
    holder = await holder_of(unit, name)
    return holder == replica and await acquire(unit, name, replica, seconds)


async def release(unit: Unit, name: str, replica: str) -> None:
    """Give a lease back; nothing happens when it is another's."""
    unit.require_system()
    await unit.execute(delete(leases).where(leases.c.name == name, leases.c.replica == replica))


@asynccontextmanager
async def trying(db: Database, name: str, replica: str, seconds: float) -> AsyncIterator[bool]:
    """Whether `replica` has the lease in this block; it is given back at the end."""
    async with db.unit(None) as unit:
        ours = await acquire(unit, name, replica, seconds)
    try:
        yield ours
    finally:
        if ours:
            async with db.unit(None) as unit:
                await release(unit, name, replica)


async def holder_of(unit: Unit, name: str) -> str | None:
    """The replica that has a lease now, or None."""
    unit.require_system()
    statement = select(leases.c.replica).where(leases.c.name == name, leases.c.until > await unit.now())
    return (await unit.execute(statement)).scalar_one_or_none()
