"""Idempotency keys of the control API: a repeated POST gets the first answer again.

Answers are kept as the caller gives them; one that shows a secret once must be sealed by the caller, or left out.
Fail closed: the same key with another request, or while the first is under way, is `conflict`.
"""

import msgspec
from sqlalchemy import ColumnElement, delete, select, update

from callgate import clock
from callgate.errors import Refused
from callgate.store.schema import idempotency
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


class Answer(msgspec.Struct, frozen=True):
    """The first answer: HTTP status and body."""

    status: int
    body: bytes


async def claim(unit: Unit, actor: str, key: str, digest: str, lifetime: float) -> Answer | None:
    """Claim a key for a request with this digest. None: go on; an answer: give it again.

    Raises `Refused("conflict")` for another digest, or when the first request is still under way.
    """
    now = clock.now()
    own = _own(unit, actor, key)
    await unit.execute(delete(idempotency).where(*own, idempotency.c.expires <= now))
    statement = insert_or(unit.postgresql, idempotency).values(
        tenant=unit.tenant, actor=actor, key=key, digest=digest, expires=now + lifetime
    )
    if (await unit.execute(statement.on_conflict_do_nothing())).rowcount == 1:
        return None
    row = (await unit.execute(select(idempotency).where(*own))).one()
    if row.digest != digest:
        raise Refused("conflict", "This Idempotency-Key was used for another request; use a fresh one.")
    if row.status is None:
        raise Refused("conflict", "The first request with this Idempotency-Key is still under way.")
    return Answer(row.status, bytes(row.body or b""))


async def finish(unit: Unit, actor: str, key: str, status: int, body: bytes) -> None:
    """Keep the answer of a claimed key."""
    await unit.execute(update(idempotency).where(*_own(unit, actor, key)).values(status=status, body=body))


async def release(unit: Unit, actor: str, key: str) -> None:
    """Give a claimed key back: the request failed and may be tried again."""
    await unit.execute(delete(idempotency).where(*_own(unit, actor, key)))


async def prune(unit: Unit) -> int:
    """Delete what has expired, of all tenants; needs a unit over all tenants."""
    unit.require_system()
    return (await unit.execute(delete(idempotency).where(idempotency.c.expires <= clock.now()))).rowcount


def _own(unit: Unit, actor: str, key: str) -> tuple[ColumnElement[bool], ...]:
    table = idempotency.c
    return (table.tenant == unit.tenant, table.actor == actor, table.key == key)
