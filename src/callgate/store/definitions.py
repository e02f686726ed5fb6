"""Definitions of the catalogue (aggregate "definitions"): the last observation, the status, every version.

Only `observe` moves statuses by what an upstream says; only `approve`, `block` and `reset` by what a person does.
`last_seen` moves when a row changes; while a definition is listed it is as fresh as its state's `observed_at`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, Select, bindparam, select, update

from callgate.errors import Refused
from callgate.model.definition import BLOCKED, PENDING_REVIEW, REMOVED, TRUSTED, Definition
from callgate.store import rows
from callgate.store.schema import definition_versions, definitions, key_of
from callgate.store.unit import Unit

AGGREGATE = "definitions"
_COLUMNS = (
    "id", "tenant", "upstream", "kind", "name", "public_name", "status", "raw", "core", "full", "approved_full",
    "quarantined", "first_seen", "last_seen", "listed", "revision",
)  # fmt: skip


def build(row: Row[Any]) -> Definition:
    """A definition from a row of the table."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["raw"] = bytes(row.raw)
    return Definition(**values)


async def get(unit: Unit, definition_id: str) -> Definition | None:
    return await rows.one(unit, rows.own(unit, definitions, definitions.c.id == definition_id), build)


async def by_public_name(unit: Unit, kind: str, public_name: str) -> Definition | None:
    """The definition of this public name (tools and prompts have unique ones)."""
    condition = (definitions.c.kind == kind) & (definitions.c.public_key == key_of(public_name))
    return await rows.one(unit, rows.own(unit, definitions, condition).limit(1), build)


async def of_upstream(unit: Unit, upstream_id: str) -> tuple[Definition, ...]:
    """Everything known of one upstream, removed definitions too."""
    return await rows.many(unit, rows.own(unit, definitions, definitions.c.upstream == upstream_id), build)


async def page(
    unit: Unit,
    after: str | None = None,
    limit: int = 100,
    *,
    upstream: str | None = None,
    kind: str | None = None,
    status: str | None = None,
) -> tuple[Definition, ...]:
    statement = _filtered(rows.own(unit, definitions), {"upstream": upstream, "kind": kind, "status": status})
    return await rows.many(unit, rows.after_key(statement, definitions, after, limit), build)


async def names_of(unit: Unit, ids: Iterable[str]) -> dict[str, str]:
    """Row id → public name, of deleted definitions too (the audit speaks of them)."""
    statement = select(definitions.c.id, definitions.c.public_name)
    statement = statement.where(definitions.c.tenant == unit.tenant, definitions.c.id.in_(list(ids)))
    return await rows.pairs(unit, statement)


class Version(msgspec.Struct, frozen=True):
    """One content that a definition had. `last_seen`: when it last became the current one."""

    full: str
    core: str
    raw: bytes
    quarantined: str
    first_seen: float
    last_seen: float


async def versions(unit: Unit, definition_id: str) -> tuple[Version, ...]:
    """Every content a definition ever had, oldest first."""
    table = definition_versions
    statement = select(table).where(table.c.tenant == unit.tenant, table.c.definition == definition_id)
    return await rows.many(unit, statement.order_by(table.c.first_seen, table.c.full), _version)


async def version(unit: Unit, definition_id: str, full: str) -> Version | None:
    """The content of one hash."""
    table = definition_versions
    statement = select(table).where(table.c.tenant == unit.tenant, table.c.definition == definition_id)
    return await rows.one(unit, statement.where(table.c.full == full), _version)


async def approve(unit: Unit, definition_id: str, full: str) -> Definition:
    """Trust exactly this content. Raises `Refused`: not_found, stale_hash, validation (removed or quarantined).

    What vanished while it was blocked becomes `removed`, and trusted when an observation lists exactly this again.
    """
    current = await _locked(unit, definition_id)
    return await _set(unit, current, status=_approved(current, full), approved_full=full)


Before = Definition | None
After = Definition | Refused


async def approve_many(unit: Unit, shown: Mapping[str, str]) -> dict[str, tuple[Before, After]]:
    """The same for many tools, by public name → hash: for each name what it was, and what it is now or why not."""
    known = await _locked_tools(unit, shown)
    answer = {name: (known.get(name), _judged(known.get(name), full)) for name, full in shown.items()}
    approved = [after for _, after in answer.values() if isinstance(after, Definition)]
    if not approved:
        return answer
    revision = await unit.bump(AGGREGATE)
    statement = update(definitions).where(definitions.c.tenant == unit.tenant, definitions.c.id == bindparam("row"))
    statement = statement.values(
        status=bindparam("new_status"), approved_full=bindparam("new_full"), revision=revision
    )  # fmt: skip
    for chunk in rows.chunks(approved):
        values = [{"row": one.id, "new_status": one.status, "new_full": one.approved_full} for one in chunk]
        await unit.execute(statement, values)
    return answer


async def _locked_tools(unit: Unit, names: Iterable[str]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for chunk in rows.chunks(sorted(map(key_of, names))):
        condition = (definitions.c.kind == "tool") & definitions.c.public_key.in_(chunk)
        statement = rows.own(unit, definitions, condition).order_by(definitions.c.id).with_for_update()
        found.update({one.public_name: one for one in await rows.many(unit, statement, build)})
    return found


def _judged(current: Definition | None, full: str) -> After:
    try:
        if current is None:
            raise Refused("not_found", "There is no tool of this name.")
        return msgspec.structs.replace(current, status=_approved(current, full), approved_full=full)
    except Refused as refused:
        return refused


def _approved(current: Definition, full: str) -> str:
    """The status that approving this hash leads to."""
    if current.status == REMOVED:
        raise Refused("validation", "The server no longer offers this tool, so there is nothing to approve.")
    if current.quarantined:
        raise Refused("validation", f"This definition can never be trusted: {current.quarantined}.")
    if current.full != full:
        raise Refused("stale_hash")
    return TRUSTED if current.listed else REMOVED


async def block(unit: Unit, definition_id: str) -> Definition:
    """Keep a definition out of reach until a person approves it again. Raises `Refused("not_found")`."""
    return await _set(unit, await _locked(unit, definition_id), status=BLOCKED, approved_full=None)


async def reset(unit: Unit, upstream_id: str) -> None:
    """Send everything of an upstream back to review (it became another program). Blocked and removed ones stay so."""
    revision = await unit.bump(AGGREGATE)
    own = (definitions.c.tenant == unit.tenant) & (definitions.c.upstream == upstream_id) & rows.live(definitions)
    await unit.execute(update(definitions).where(own).values(approved_full=None, revision=revision))
    kept = definitions.c.status.in_((BLOCKED, REMOVED))
    await unit.execute(update(definitions).where(own, ~kept).values(status=PENDING_REVIEW))


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[Definition, ...], tuple[str, ...]]:
    """(changed definitions, ids of deleted ones) after a revision of "definitions"."""
    return await rows.changed(unit, definitions, revision, build)


def _version(row: Row[Any]) -> Version:
    return Version(row.full, row.core, bytes(row.raw), row.quarantined, row.first_seen, row.last_seen)


def _filtered(statement: Select[Any], wanted: dict[str, str | None]) -> Select[Any]:
    for column, value in wanted.items():
        if value is not None:
            statement = statement.where(definitions.c[column] == value)
    return statement


async def _locked(unit: Unit, definition_id: str) -> Definition:
    # FOR UPDATE: an observation must not change the content between the look and the approval
    statement = rows.own(unit, definitions, definitions.c.id == definition_id).with_for_update()
    found = await rows.one(unit, statement, build)
    if found is None:
        raise Refused("not_found", "There is no such definition.")
    return found


async def _set(unit: Unit, current: Definition, *, status: str, approved_full: str | None) -> Definition:
    revision = await unit.bump(AGGREGATE)
    statement = update(definitions).where(definitions.c.tenant == unit.tenant, definitions.c.id == current.id)
    await unit.execute(statement.values(status=status, approved_full=approved_full, revision=revision))
    return msgspec.structs.replace(current, status=status, approved_full=approved_full, revision=revision)
