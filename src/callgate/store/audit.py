"""Audit events: append and read. There is no function that changes or deletes one, and no role that may.

An intent and its outcome are two rows; a page joins them to one entry per call.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Boolean, ColumnElement, Row, Select, and_, insert, literal_column, or_, select, tuple_

from callgate.model.entry import Entry, Filter
from callgate.model.event import Change, Event, Intent, Outcome
from callgate.store import rows
from callgate.store.schema import audit
from callgate.store.unit import Unit

KINDS: dict[type[Any], str] = {Intent: "intent", Outcome: "outcome", Change: "change"}
_ENDING = (
    "outcome", "code", "result_bytes", "duration_us", "upstream_us", "durability", "verdict", "verdict_rule",
    "result_seen", "cost",
)  # fmt: skip
_OWN = tuple(name for name in Entry.__struct_fields__ if name not in (*_ENDING, "kind", "ended_at"))
_SKEW_US = 86_400_000_000  # an outcome may bear an earlier time than its intent when the clock was set back
_ending, _other = audit.alias("ending"), audit.alias("other")
_BEGINNINGS = literal_column("audit.kind <> 'outcome'", Boolean)  # spelt as the partial index spells it


async def append(unit: Unit, *events: Event) -> None:
    """Write events in this transaction: they are durable exactly when the rest of it is."""
    for kind, same in groupby(events, lambda event: KINDS[type(event)]):  # rows of one statement have the same columns
        for chunk in rows.chunks(same):
            values = [{"kind": kind, **msgspec.structs.asdict(event)} for event in chunk]
            await unit.execute(insert(audit), values)


def cursor(entry: Entry) -> str:
    """What `page` takes as `after` to go on behind this entry."""
    return f"{entry.at}.{entry.id}"


async def page(
    unit: Unit, after: str | None = None, limit: int = 100, *, wanted: Filter | None = None, newest_first: bool = True
) -> tuple[Entry, ...]:
    """Entries of the unit's tenant by time. Raises `ValueError` for an `after` that `cursor` did not make."""
    statement = _entries(unit).where(*_conditions(wanted or Filter()))
    if after is not None:
        at, _, key = after.partition(".")
        here, there = tuple_(audit.c.at, audit.c.id), tuple_(int(at), key)
        statement = statement.where(here < there if newest_first else here > there)
    order = (audit.c.at.desc(), audit.c.id.desc()) if newest_first else (audit.c.at, audit.c.id)
    statement = statement.order_by(*order).limit(min(max(limit, 1), rows.MAX_PAGE))
    return await rows.many(unit, statement, _build)


async def by_ids(unit: Unit, ids: Iterable[str]) -> tuple[Entry, ...]:
    """The entries with these ids, in no order."""
    return await rows.many(unit, _entries(unit).where(audit.c.id.in_(list(ids))), _build)


async def open_intents(unit: Unit, replica: str, since: int) -> tuple[tuple[str, str], ...]:
    """(tenant, call id) of calls of a replica that came in since a time (microseconds) and have no outcome.

    Needs a unit over all tenants.
    """
    unit.require_system()
    statement = select(audit.c.tenant, audit.c.id).select_from(_joined()).where(
        _BEGINNINGS, audit.c.replica == replica, audit.c.at >= since, _ending.c.id.is_(None)
    )  # fmt: skip
    return tuple((tenant, key) for tenant, key in await unit.execute(statement))


def _joined() -> Any:
    known = select(_other.c.id).where(
        _other.c.tenant == _ending.c.tenant,
        _other.c.id == _ending.c.id,
        _other.c.kind == "outcome",
        _other.c.outcome != "unknown",
    )
    same_call = and_(
        _ending.c.tenant == audit.c.tenant,
        _ending.c.id == audit.c.id,
        _ending.c.kind == "outcome",
        _ending.c.at >= audit.c.at - _SKEW_US,
        # a replica that was taken for dead may have ended the call after all
        or_(_ending.c.outcome != "unknown", ~known.correlate(_ending).exists()),
    )
    return audit.outerjoin(_ending, same_call)


def _entries(unit: Unit) -> Select[Any]:
    columns: list[Any] = [audit.c.kind, *(audit.c[name] for name in _OWN)]
    columns += [_ending.c.at.label("ended_at"), *(_ending.c[name].label(name) for name in _ENDING)]
    return select(*columns).select_from(_joined()).where(audit.c.tenant == unit.tenant, _BEGINNINGS)


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for name in ("person", "agent", "upstream", "definition", "decision", "actor", "action"):
        value = getattr(wanted, name)
        if value is not None:
            found.append(audit.c[name] == value)
    if wanted.since is not None:
        found.append(audit.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(audit.c.at < wanted.until)
    if wanted.kind is not None:
        found.append(audit.c.kind == ("intent" if wanted.kind == "call" else wanted.kind))
    if wanted.code is not None:
        found.append(_ending.c.code == wanted.code)
    if wanted.outcome == "open":
        found.append(and_(audit.c.kind == "intent", _ending.c.id.is_(None)))
    elif wanted.outcome is not None:
        found.append(_ending.c.outcome == wanted.outcome)
    return found


def _build(row: Row[Any]) -> Entry:
    values = row._asdict()
    values["kind"] = "call" if row.kind == "intent" else row.kind
    return Entry(**values)
