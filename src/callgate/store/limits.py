"""Counters of limits, shared by all replicas: what was used within a sliding window, and calls under way.

A window slides as two: what is used in this one, and of the one before as much as still lies within. Taking is one
statement for each limit, on the store's own clock; the limits of a call are taken in the order of their keys, so that
two calls never wait for each other. Fail closed: a limit that is reached undoes what the call took before it.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, case, delete, func, insert, select, text, update

from callgate.errors import CallgateError
from callgate.model.limit import MILLION, Take
from callgate.store.policy_schema import limit_slots, limit_windows
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

SLOT_SECONDS = 30.0  # a call under way counts so long after its replica was heard of


class Reached(CallgateError):
    """A limit is used up; `retry_s` is when something of it is free again at the latest."""

    def __init__(self, take: Take, retry_s: float) -> None:
        super().__init__(take.rule)
        self.take = take
        self.retry_s = retry_s


async def take(unit: Unit, takes: Iterable[Take], call: str, replica: str) -> None:
    """Count a call, everywhere or nowhere: raises `Reached`, and then the unit must be left by that exception."""
    now = await unit.now()
    for one in sorted(takes, key=lambda one: one.key):
        if one.kind == "concurrency":
            free = await _slot(unit, one, call, replica, now)
            retry = 1.0
        else:
            free = await _window(unit, one, now)
            retry = one.window_s - now % one.window_s
        if not free:
            raise Reached(one, max(retry, 1.0))


async def _window(unit: Unit, one: Take, now: float) -> bool:
    wanted = max(one.amount, 1)  # what is charged later needs that something is left
    if wanted > one.most:
        return False
    number, share = _place(one, now)
    table = limit_windows
    used = case((table.c.window == number, table.c.used), else_=0)
    before = _before(number)
    statement = insert_or(unit.postgresql, table).values(
        tenant=unit.tenant, key=one.key, window=number, used=one.amount, before=0, expires=now + 2 * one.window_s
    )
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.tenant, table.c.key],
        set_={
            "window": number, "used": used + one.amount, "before": before, "expires": now + 2 * one.window_s,
        },
        where=used + before * share + wanted <= one.most,
    )  # fmt: skip
    return (await unit.execute(statement.returning(table.c.key))).one_or_none() is not None


def _place(one: Take, now: float) -> tuple[int, float]:
    """Number of the window, and how much of the one before still counts."""
    number, inside = divmod(now, one.window_s)
    return int(number), 1.0 - inside / one.window_s


def _before(number: int) -> ColumnElement[int]:
    """What was used in the window before this one."""
    table = limit_windows
    return case((table.c.window == number, table.c.before), (table.c.window == number - 1, table.c.used), else_=0)


async def _slot(unit: Unit, one: Take, call: str, replica: str, now: float) -> bool:
    table = limit_slots
    if unit.postgresql:  # the calls of one limit, one after the other
        await unit.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": one.key})
    mine = (table.c.tenant == unit.tenant) & (table.c.key == one.key)
    await unit.execute(delete(table).where(mine, table.c.expires <= now))
    used = int((await unit.execute(select(func.count()).select_from(table).where(mine))).scalar_one())
    if (used + 1) * MILLION > one.most:
        return False
    values = {"tenant": unit.tenant, "key": one.key, "call": call, "replica": replica, "expires": now + SLOT_SECONDS}
    await unit.execute(insert(table).values(**values))
    return True


async def charge(unit: Unit, one: Take, amount: int) -> None:
    """Count what a call turned out to cost, also beyond the limit; a negative amount gives back."""
    now = await unit.now()
    number, _ = _place(one, now)
    table = limit_windows
    used = case((table.c.window == number, table.c.used), else_=0)
    total = case((used + amount > 0, used + amount), else_=0)
    statement = insert_or(unit.postgresql, table).values(
        tenant=unit.tenant, key=one.key, window=number, used=max(amount, 0), before=0, expires=now + 2 * one.window_s
    )
    await unit.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.tenant, table.c.key],
            set_={"window": number, "used": total, "before": _before(number), "expires": now + 2 * one.window_s},
        )
    )


async def give_back(unit: Unit, call: str) -> None:
    """A call is over: its slots are free."""
    table = limit_slots
    await unit.execute(delete(table).where(table.c.tenant == unit.tenant, table.c.call == call))


async def renew(unit: Unit, calls: Iterable[str], replica: str) -> None:
    """The calls that are still under way here."""
    table = limit_slots
    statement = update(table).where(
        table.c.tenant == unit.tenant, table.c.replica == replica, table.c.call.in_(list(calls))
    )
    await unit.execute(statement.values(expires=await unit.now() + SLOT_SECONDS))


async def prune(unit: Unit) -> None:
    """Delete what counts no more. Needs a unit over all tenants."""
    unit.require_system()
    now = await unit.now()
    for table in (limit_windows, limit_slots):
        await unit.execute(delete(table).where(table.c.expires <= now))
