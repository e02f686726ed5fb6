"""Approvals: parked calls and what reviewers said of them. Every change wakes whoever waits (`approval:<tenant>:<id>`).

At most one of those that are alive (pending or approved) exists for what it is bound to. Fail closed: what is overdue
counts as expired whoever looks first, and an approval is claimed by one statement, so by one call.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, case, func, select, update

from callgate.errors import Refused
from callgate.model.approval import (
    APPROVED,
    DENIED,
    EXPIRED,
    PENDING,
    USED,
    Approval,
    Ask,
    Terms,
    Vote,
    met,
)
from callgate.store import approval_notices, rows
from callgate.store.policy_schema import approvals
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

USE_SECONDS = 1800.0  # how long an approved call can still be made
MOST_PENDING = 100  # of one person
_terms = msgspec.json.Decoder(Terms).decode
_votes = msgspec.json.Decoder(tuple[Vote, ...]).decode
_PLAIN = tuple(name for name in Approval.__struct_fields__ if name not in ("terms", "votes"))
_COLUMNS = [approvals.c[name] for name in (*_PLAIN, "terms", "votes")]


def _build(row: Row[Any]) -> Approval:
    plain = {name: getattr(row, name) for name in _PLAIN}
    return Approval(**plain, terms=_terms(row.terms), votes=_votes(row.votes))


def wake(unit: Unit, approval_id: str) -> None:
    """Tell whoever waits for it, after the commit."""
    unit.wake(f"approval:{unit.tenant}:{approval_id}")


async def file(unit: Unit, ask: Ask, approval_id: str, sealed: bytes, channels: tuple[str, ...] = ()) -> Approval:
    """The approval that a call waits for: the one that is alive, a denial that still holds, or a new one, of which
    these channels are to be told.

    Raises `Refused("too_many_calls")` when too many of the person's wait already.
    """
    now = await unit.now()
    await expire(unit, now)
    found = await _alive(unit, ask.bound) or await _denied(unit, ask.bound, now)
    if found is not None:
        return found
    waiting = select(approvals.c.id).where(
        approvals.c.tenant == unit.tenant, approvals.c.state == PENDING, approvals.c.person == ask.person
    )
    if len((await unit.execute(waiting.limit(MOST_PENDING))).all()) >= MOST_PENDING:
        raise Refused("too_many_calls", f"{MOST_PENDING} of your calls wait for approval already; see to those first.")
    values = {
        **{name: getattr(ask, name) for name in _PLAIN if name in Ask.__struct_fields__},
        "id": approval_id, "tenant": unit.tenant, "state": PENDING, "bound": ask.bound, "created": now,
        "expires": now + ask.terms.expires_s, "terms": rows.to_json(ask.terms), "votes": "[]", "uses": 0,
        "sealed": sealed,
    }  # fmt: skip
    statement = insert_or(unit.postgresql, approvals).values(**values).on_conflict_do_nothing()
    if (await unit.execute(statement)).rowcount == 1:  # else another replica has filed the same meanwhile
        await approval_notices.add(unit, approval_id, channels, "requested")
        wake(unit, approval_id)
    found = await _alive(unit, ask.bound)
    if found is None:
        raise Refused("conflict", "This approval was decided while it was asked for; call again.")
    return found


async def get(unit: Unit, approval_id: str) -> Approval | None:
    """An approval as it is now: what is overdue has expired, whether that was written yet or not."""
    found = await rows.one(unit, _own(unit).where(approvals.c.id == approval_id), _build)
    return None if found is None else _overdue(found, await unit.now())


async def sealed(unit: Unit, approval_id: str) -> bytes | None:
    """The sealed arguments; None once they were erased."""
    statement = select(approvals.c.sealed).where(approvals.c.tenant == unit.tenant, approvals.c.id == approval_id)
    found = (await unit.execute(statement)).scalar_one_or_none()
    return None if found is None else bytes(found)


async def page(
    unit: Unit, after: str | None = None, limit: int = 100, *, state: str | None = None
) -> tuple[Approval, ...]:
    """Approvals by id, the oldest first."""
    statement = _own(unit)
    if state is not None:
        statement = statement.where(approvals.c.state == state)
    return await rows.many(unit, rows.after_key(statement, approvals, after, limit), _build)


async def vote(unit: Unit, approval_id: str, given: Vote, reuse_s: float = 0.0) -> Approval:
    """Add a reviewer's answer: one denial denies, and the last approval that is needed approves.

    Raises `Refused`: not_found, conflict (it is not pending any more, or this reviewer has answered).
    """
    statement = _own(unit).where(approvals.c.id == approval_id)
    found = await rows.one(unit, statement.with_for_update(), _build)
    if found is None:
        raise Refused("not_found", "There is no approval of this id.")
    now = await unit.now()
    found = _overdue(found, now)
    if found.state != PENDING:
        raise Refused("conflict", f"This approval is {found.state} already.")
    if any(one.by == given.by for one in found.votes):
        raise Refused("conflict", "You have approved this already; it waits for somebody else.")
    votes = (*found.votes, given)
    state = PENDING if given.approve else DENIED
    if given.approve and met(found, votes):
        state = APPROVED
    found = msgspec.structs.replace(found, votes=votes, state=state)
    if state == APPROVED:
        until = now + max(USE_SECONDS, reuse_s)
        found = msgspec.structs.replace(found, expires=until, reuse_until=now + reuse_s if reuse_s else None)
    if state != PENDING:
        found = msgspec.structs.replace(found, decided=now)
    await _write(unit, found)
    return found


async def claim(unit: Unit, approval_id: str) -> bool:
    """Use an approved one for one call; True for the call that got it. One for a time stays approved until then."""
    now = await unit.now()
    reusable = approvals.c.reuse_until.is_not(None) & (approvals.c.reuse_until > now)
    statement = (
        update(approvals)
        .where(
            approvals.c.tenant == unit.tenant, approvals.c.id == approval_id, approvals.c.state == APPROVED,
            approvals.c.expires > now, (approvals.c.uses == 0) | reusable,
        )
        .values(uses=approvals.c.uses + 1, state=case((reusable, APPROVED), else_=USED))
    )  # fmt: skip
    claimed = (await unit.execute(statement)).rowcount == 1
    if claimed:
        wake(unit, approval_id)
    return claimed


async def count_pending(unit: Unit, person: str) -> int:
    """How many calls of a person wait."""
    mine = (approvals.c.tenant == unit.tenant) & (approvals.c.person == person) & (approvals.c.state == PENDING)
    return int((await unit.execute(select(func.count()).where(mine))).scalar_one())


async def withdraw_of(unit: Unit, person: str, state: str) -> int:
    """End every approval of a person that could still let a call through; how many waited."""
    waiting = await count_pending(unit, person)
    alive = approvals.c.state.in_((PENDING, APPROVED))
    statement = update(approvals).where(approvals.c.tenant == unit.tenant, approvals.c.person == person, alive)
    ended = await unit.execute(
        statement.values(state=state, decided=await unit.now(), sealed=None).returning(approvals.c.id)
    )
    for id_ in ended.scalars():
        wake(unit, id_)
    return waiting


async def release(unit: Unit, approval_id: str, state: str) -> bool:
    """End one that is pending, or approved and not used: `cancelled` by its caller, or `void`."""
    alive = (approvals.c.state == PENDING) | ((approvals.c.state == APPROVED) & (approvals.c.uses == 0))
    statement = update(approvals).where(approvals.c.tenant == unit.tenant, approvals.c.id == approval_id, alive)
    ended = await unit.execute(statement.values(state=state, decided=await unit.now(), sealed=None))
    if ended.rowcount:
        wake(unit, approval_id)
    return bool(ended.rowcount)


async def expire(unit: Unit, now: float) -> tuple[str, ...]:
    """Write down what is overdue; the ids."""
    statement = (
        update(approvals)
        .where(
            approvals.c.tenant == unit.tenant, approvals.c.state.in_((PENDING, APPROVED)), approvals.c.expires <= now
        )
        .values(state=case((approvals.c.uses > 0, USED), else_=EXPIRED), decided=now, sealed=None)
        .returning(approvals.c.id)
    )
    ended = tuple((await unit.execute(statement)).scalars())
    for one in ended:
        wake(unit, one)
    return ended


async def escalate(unit: Unit, now: float, channels: tuple[str, ...] = ()) -> tuple[Approval, ...]:
    """Mark those that waited long enough, and have these channels told; what was marked."""
    statement = _own(unit).where(approvals.c.state == PENDING, approvals.c.escalated.is_(False))
    due = [
        one
        for one in await rows.many(unit, statement.with_for_update(), _build)
        if 0 < one.terms.escalate_s <= now - one.created
    ]
    marked = tuple(msgspec.structs.replace(one, escalated=True) for one in due)
    for one in marked:
        await _write(unit, one)
        await approval_notices.add(unit, one.id, channels, "escalated")
    return marked


async def states_of(unit: Unit, ids: Iterable[str]) -> dict[str, str]:
    """Id → state, for those who look whether they missed a wake-up."""
    statement = select(approvals.c.id, approvals.c.state).where(
        approvals.c.tenant == unit.tenant, approvals.c.id.in_(list(ids))
    )
    return await rows.pairs(unit, statement)


# -- inside ------------------------------------------------------------------------------------------------------------


def _own(unit: Unit) -> Any:
    return select(*_COLUMNS).where(approvals.c.tenant == unit.tenant)


async def _alive(unit: Unit, bound: str) -> Approval | None:
    statement = _own(unit).where(approvals.c.bound == bound, approvals.c.state.in_((PENDING, APPROVED)))
    return await rows.one(unit, statement, _build)


async def _denied(unit: Unit, bound: str, now: float) -> Approval | None:
    """A denial holds for the time in which it was asked for: asking again at once changes nothing."""
    statement = _own(unit).where(approvals.c.bound == bound, approvals.c.state == DENIED, approvals.c.expires > now)
    return await rows.one(unit, statement.order_by(approvals.c.id.desc()).limit(1), _build)


def _overdue(found: Approval, now: float) -> Approval:
    if found.state not in (PENDING, APPROVED) or found.expires > now:
        return found
    return msgspec.structs.replace(found, state=USED if found.uses else EXPIRED)


async def _write(unit: Unit, one: Approval) -> None:
    values: dict[str, Any] = {
        "state": one.state, "votes": rows.to_json(one.votes), "expires": one.expires, "decided": one.decided,
        "reuse_until": one.reuse_until, "escalated": one.escalated,
    }  # fmt: skip
    if one.state != PENDING:
        values["sealed"] = None
    statement = update(approvals).where(approvals.c.tenant == unit.tenant, approvals.c.id == one.id)
    await unit.execute(statement.values(**values))
    wake(unit, one.id)
