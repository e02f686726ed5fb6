"""Off-boardings and the outbox of revocations."""

from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update

from callgate.model.offboarding import PENDING, Offboarding, Revocation, Summary
from callgate.store import rows
from callgate.store.identity_schema import offboardings, revocations
from callgate.store.unit import Unit


class _Content(msgspec.Struct, frozen=True):
    email: str
    cause: str
    summary: Summary


_content = msgspec.json.Decoder(_Content).decode


def _build(row: Row[Any]) -> Offboarding:
    content = _content(row.content)
    return Offboarding(row.id, row.person, row.actor, row.at, content.email, content.cause, content.summary)


def _revocation(row: Row[Any]) -> Revocation:
    sealed = None if row.sealed is None else bytes(row.sealed)
    return Revocation(**{**row._asdict(), "sealed": sealed})


async def add(unit: Unit, one: Offboarding) -> None:
    content = rows.to_json(_Content(one.email, one.cause, one.summary))
    values = {"id": one.id, "person": one.person, "actor": one.actor, "at": one.at, "content": content}
    await unit.execute(insert(offboardings).values(tenant=unit.tenant, **values))


async def get(unit: Unit, id_: str) -> Offboarding | None:
    return await rows.one(unit, rows.own(unit, offboardings, offboardings.c.id == id_), _build)


async def latest_of(unit: Unit, person: str) -> Offboarding | None:
    """The last off-boarding of a person."""
    statement = rows.own(unit, offboardings, offboardings.c.person == person).order_by(offboardings.c.id.desc())
    return await rows.one(unit, statement.limit(1), _build)


async def page(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[Offboarding, ...]:
    return await rows.many(unit, rows.after_key(rows.own(unit, offboardings), offboardings, after, limit), _build)


async def latest(unit: Unit, limit: int) -> tuple[Offboarding, ...]:
    """The last off-boardings, the newest first."""
    return await rows.many(unit, rows.own(unit, offboardings).order_by(offboardings.c.at.desc()).limit(limit), _build)


async def enqueue(unit: Unit, one: Revocation) -> None:
    await unit.execute(insert(revocations).values(**{**msgspec.structs.asdict(one), "tenant": unit.tenant}))


async def revocations_of(unit: Unit, offboarding: str) -> tuple[Revocation, ...]:
    """What vendors were told for one off-boarding, by the upstream's name."""
    statement = rows.own(unit, revocations, revocations.c.offboarding == offboarding)
    return await rows.many(unit, statement.order_by(revocations.c.upstream_name), _revocation)


async def due(unit: Unit, now: float, until: float, limit: int = 20) -> tuple[Revocation, ...]:
    """Take what is due, of all tenants, until `until`: who dies with it leaves it to another."""
    unit.require_system()
    c = revocations.c
    statement = select(revocations).where(c.state == PENDING, c.due <= now).order_by(c.due).limit(limit)
    if unit.postgresql:
        statement = statement.with_for_update(skip_locked=True)
    found = await rows.many(unit, statement, _revocation)
    for one in found:
        mine = (c.tenant == one.tenant) & (c.id == one.id)
        await unit.execute(update(revocations).where(mine).values(due=until, tries=one.tries + 1))
    return found


async def answered(unit: Unit, id_: str, state: str, answer: str, at: float) -> None:
    """The vendor has answered: the secrets are erased."""
    mine = (revocations.c.tenant == unit.tenant) & (revocations.c.id == id_)
    values = {"state": state, "answer": answer, "changed": at, "sealed": None}
    await unit.execute(update(revocations).where(mine).values(**values))


async def later(unit: Unit, id_: str, answer: str, due_at: float) -> None:
    """The vendor could not be asked; again then."""
    mine = (revocations.c.tenant == unit.tenant) & (revocations.c.id == id_)
    await unit.execute(update(revocations).where(mine).values(answer=answer, due=due_at))
