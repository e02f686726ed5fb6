"""Definitions of the catalogue (aggregate "definitions"): the last observation, the status, every version.

Only `observe` moves statuses by what an upstream says, only `reviews` by what a person decides; `reset` and `unpin`
follow a change of the upstream's configuration.
`last_seen` moves when a row changes; while a definition is listed it is as fresh as its state's `observed_at`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, Select, select, update

from callgate import clock
from callgate.model.definition import BLOCKED, DRIFT_DETECTED, PENDING_REVIEW, REMOVED, TRUSTED, Definition
from callgate.store import history, rows
from callgate.store.history import Transition
from callgate.store.schema import definition_versions, definitions, key_of
from callgate.store.unit import Unit

AGGREGATE = "definitions"
_COLUMNS = (
    "id", "tenant", "upstream", "kind", "name", "public_name", "status", "raw", "core", "full", "approved_full",
    "quarantined", "first_seen", "last_seen", "listed", "approved_by", "pinned", "worst", "risk", "scanned",
    "renamed_from", "seconded_full", "seconded_by", "revision",
)  # fmt: skip


def build(row: Row[Any]) -> Definition:
    """A definition from a row of the table."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["raw"] = bytes(row.raw)
    values["pinned"] = None if row.pinned is None else bytes(row.pinned)
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


async def some(unit: Unit, ids: Iterable[str]) -> tuple[Definition, ...]:
    """The definitions of these row ids that are there."""
    found: list[Definition] = []
    for chunk in rows.chunks(ids):
        found += await rows.many(unit, rows.own(unit, definitions, definitions.c.id.in_(chunk)), build)
    return tuple(found)


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


async def reset(unit: Unit, upstream_id: str, actor: str) -> None:
    """Send everything of an upstream back to review (it became another program). Blocked and removed ones stay so."""
    revision = await unit.bump(AGGREGATE)
    at = clock.now()
    steps = [
        Transition(one.id, at, actor, "other_program", one.status, PENDING_REVIEW, one.full)
        for one in await of_upstream(unit, upstream_id)
        if one.status in (TRUSTED, DRIFT_DETECTED)
    ]
    await history.append(unit, steps)
    own = (definitions.c.tenant == unit.tenant) & (definitions.c.upstream == upstream_id) & rows.live(definitions)
    forgotten = {"approved_full": None, "approved_by": "", "pinned": None, "seconded_full": None, "seconded_by": None}
    await unit.execute(update(definitions).where(own).values(revision=revision, **forgotten))
    kept = definitions.c.status.in_((BLOCKED, REMOVED))
    await unit.execute(update(definitions).where(own, ~kept).values(status=PENDING_REVIEW))


async def unpin(unit: Unit, upstream_id: str) -> None:
    """End every pin of an upstream: what has drifted is out of reach again."""
    revision = await unit.bump(AGGREGATE)
    own = (definitions.c.tenant == unit.tenant) & (definitions.c.upstream == upstream_id)
    statement = update(definitions).where(own, definitions.c.pinned.is_not(None))
    await unit.execute(statement.values(pinned=None, revision=revision))


async def contents(unit: Unit, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """Definition id → the raw content that it had under this hash."""
    table = definition_versions
    found: dict[str, bytes] = {}
    for chunk in rows.chunks(wanted):
        statement = select(table.c.definition, table.c.full, table.c.raw)
        statement = statement.where(table.c.tenant == unit.tenant, table.c.definition.in_(chunk))
        for definition, full, raw in await unit.execute(statement):
            if wanted[definition] == full:
                found[definition] = bytes(raw)
    return found


async def reviewed_contents(unit: Unit, now: Iterable[tuple[Definition, str]]) -> dict[str, bytes]:
    """Row id → what was approved, of each definition that was approved and has another content by now, the one of the
    hash that is given with it."""
    found: dict[str, bytes] = {}
    older: dict[str, str] = {}
    for one, full in now:
        if one.approved_full is None or one.approved_full == full:
            continue
        if one.approved_full == one.full:
            found[one.id] = one.raw
        else:
            older[one.id] = one.approved_full
    return found | await contents(unit, older) if older else found


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
