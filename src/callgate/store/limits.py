"""Counters of limits, shared by all replicas: what was used within a sliding window, and calls under way.

A window slides as two: what is used in this one, and of the one before as much as still lies within. Taking is one
statement for each limit, on the store's own clock; the limits of a call are taken in the order of their keys, so that
two calls never wait for each other. Fail closed: a limit that is reached undoes what the call took before it.
"""

from collections.abc import Iterable

import msgspec
from sqlalchemy import ColumnElement, case, delete, func, insert, select, text, update

from callgate.errors import CallgateError
from callgate.model.limit import MILLION, Take
from callgate.store.policy_schema import limit_slots, limit_windows
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

SLOT_SECONDS = 30.0  # a call under way counts so long after its replica was heard of


class Reached(CallgateError):
    """A limit is used up; in `retry_s` seconds enough of it is free again, if nobody takes any more of it."""

    def __init__(self, take: Take, retry_s: float) -> None:
        super().__init__(take.rule)
        self.take = take
        self.retry_s = retry_s


async def take(unit: Unit, takes: Iterable[Take], call: str, replica: str) -> tuple[Take, ...]:
    """Count a call, everywhere or nowhere; what was taken, with the windows that it was counted in.

    Raises `Reached`, and then the unit must be left by that exception.
    """
    now = await unit.now()
    taken = []
    for one in sorted(takes, key=lambda one: one.key):
        if one.kind == "concurrency":
            if not await _slot(unit, one, call, replica, now):
                raise Reached(one, 1.0)
            taken.append(one)
        else:
            taken.append(msgspec.structs.replace(one, window=await _window(unit, one, now)))
    return tuple(taken)


async def _window(unit: Unit, one: Take, now: float) -> int:
    """Count it in the window of now, or in a newer one that another call has begun: a window never goes back, since
    what is counted in it would be lost. Raises `Reached`."""
    wanted = max(one.amount, 1)  # what is charged later needs that something is left
    number, inside = divmod(now, one.window_s)
    if wanted > one.most:
        raise Reached(one, one.window_s)
    table = limit_windows
    used, before = _used(int(number)), _before(int(number))
    share = case((table.c.window > int(number), 1.0), else_=1.0 - inside / one.window_s)
    statement = insert_or(unit.postgresql, table).values(
        tenant=unit.tenant, key=one.key, window=int(number), used=one.amount, before=0, expires=now + 2 * one.window_s
    )
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.tenant, table.c.key],
        set_={
            "window": _newest(int(number)), "used": used + one.amount, "before": before,
            "expires": now + 2 * one.window_s,
        },
        where=used + before * share + wanted <= one.most,
    )  # fmt: skip
    counted = (await unit.execute(statement.returning(table.c.window))).scalar_one_or_none()
    if counted is None:
        raise Reached(one, await _free_in(unit, one, wanted, int(number), inside))
    return int(counted)


def _used(number: int) -> ColumnElement[int]:
    """What was used in this window (or in a newer one)."""
    return case((limit_windows.c.window >= number, limit_windows.c.used), else_=0)


def _before(number: int) -> ColumnElement[int]:
    """What was used in the window before this one (or before a newer one)."""
    table = limit_windows
    return case((table.c.window >= number, table.c.before), (table.c.window == number - 1, table.c.used), else_=0)


def _newest(number: int) -> ColumnElement[int]:
    return case((limit_windows.c.window > number, limit_windows.c.window), else_=number)


async def _free_in(unit: Unit, one: Take, wanted: int, number: int, inside: float) -> float:
    """Seconds until so much is free, if nobody takes any more of it."""
    table = limit_windows
    statement = select(_used(number), _before(number)).where(table.c.tenant == unit.tenant, table.c.key == one.key)
    used, before = (await unit.execute(statement)).one()
    return free_in(one, wanted, int(used), int(before), inside)


def free_in(one: Take, wanted: int, used: int, before: int, inside: float) -> float:
    """The same from what was used; `inside` are the seconds that this window has lasted. Pure."""
    over = used + before + wanted - one.most
    if used + wanted <= one.most:  # enough of the window before slides out within this one
        return max(over / max(before, 1) * one.window_s - inside, 0.0)
    return one.window_s - inside + (used + wanted - one.most) / used * one.window_s


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
    """Count what a call turned out to cost, also beyond the limit."""
    now = await unit.now()
    number = int(now // one.window_s)
    table = limit_windows
    statement = insert_or(unit.postgresql, table).values(
        tenant=unit.tenant, key=one.key, window=number, used=amount, before=0, expires=now + 2 * one.window_s
    )
    await unit.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.tenant, table.c.key],
            set_={
                "window": _newest(number), "used": _used(number) + amount, "before": _before(number),
                "expires": now + 2 * one.window_s,
            },
        )
    )  # fmt: skip


async def untake(unit: Unit, one: Take, amount: int) -> None:
    """Give back what a call has not used after all, in the window that it was counted in and in no other."""
    table = limit_windows
    mine = (table.c.tenant == unit.tenant) & (table.c.key == one.key)
    for column, window in ((table.c.used, one.window), (table.c.before, one.window + 1)):
        left = case((column > amount, column - amount), else_=0)
        statement = update(table).where(mine, table.c.window == window).values({column.name: left})
        if (await unit.execute(statement)).rowcount:
            return


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
