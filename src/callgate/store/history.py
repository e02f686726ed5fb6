"""The history of definitions: every change of status or content, who or what made it, and why. Append-only."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select

from callgate import ids
from callgate.store import rows
from callgate.store.schema import transitions
from callgate.store.unit import Unit


class Transition(msgspec.Struct, frozen=True):
    """One step. `at`: seconds since 1970; `actor`: person row id, `operator:<uid>` or `observation`; `full`: the hash
    that it was about; `note`: what a reviewer wrote."""

    definition: str
    at: float
    actor: str
    cause: str
    before: str
    after: str
    full: str
    note: str = ""


async def append(unit: Unit, steps: Iterable[Transition]) -> None:
    """Write steps down."""
    for chunk in rows.chunks(steps):
        values = [
            {"tenant": unit.tenant, "id": ids.new_id("tra"), **msgspec.structs.asdict(step)} for step in chunk
        ]  # fmt: skip
        await unit.execute(insert(transitions), values)


async def of_definition(unit: Unit, definition: str, limit: int = 200) -> tuple[Transition, ...]:
    """The last steps of one definition, the newest first."""
    statement = select(transitions).where(
        transitions.c.tenant == unit.tenant, transitions.c.definition == definition
    )  # fmt: skip
    statement = statement.order_by(transitions.c.at.desc(), transitions.c.id.desc()).limit(limit)
    return await rows.many(unit, statement, _build)


def _build(row: Row[Any]) -> Transition:
    return Transition(row.definition, row.at, row.actor, row.cause, row.before, row.after, row.full, row.note)
