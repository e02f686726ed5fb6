"""The outbox of approvals: what is to be told outside, until it was told. Written with what it is about."""

from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from callgate import ids
from callgate.store.policy_schema import approval_notices as table
from callgate.store.unit import Unit


class Notice(NamedTuple):
    """One thing to tell over one channel. `kind`: `requested` or `escalated`."""

    id: str
    approval: str
    channel: str
    kind: str
    tries: int


async def add(unit: Unit, approval: str, channels: tuple[str, ...], kind: str) -> None:
    """Leave one for every channel."""
    now = await unit.now()
    values = [
        {"tenant": unit.tenant, "id": ids.new_id("ntc"), "approval": approval, "channel": channel, "kind": kind,
         "due": now, "tries": 0}
        for channel in channels
    ]  # fmt: skip
    if values:
        await unit.execute(insert(table), values)


async def due(unit: Unit, limit: int = 20) -> tuple[Notice, ...]:
    """Those whose time has come, the oldest first."""
    statement = select(table.c.id, table.c.approval, table.c.channel, table.c.kind, table.c.tries).where(
        table.c.tenant == unit.tenant, table.c.due <= await unit.now()
    )
    found = await unit.execute(statement.order_by(table.c.due, table.c.id).limit(limit))
    return tuple(Notice(*row) for row in found)


async def done(unit: Unit, notice: str) -> None:
    await unit.execute(delete(table).where(table.c.tenant == unit.tenant, table.c.id == notice))


async def later(unit: Unit, notice: str, seconds: float) -> None:
    """Try again after so many seconds."""
    statement = update(table).where(table.c.tenant == unit.tenant, table.c.id == notice)
    await unit.execute(statement.values(due=await unit.now() + seconds, tries=table.c.tries + 1))
