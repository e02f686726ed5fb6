"""Upstreams as configured (aggregate "upstreams"). Deleting one takes its state and definitions along."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update

from callgate.errors import Refused
from callgate.model.upstream import Auth, Stdio, Upstream
from callgate.store import rows
from callgate.store.schema import definitions, states, upstreams
from callgate.store.unit import Unit

AGGREGATE = "upstreams"
_stdio = msgspec.json.Decoder(Stdio).decode
_auth = msgspec.json.Decoder(Auth).decode
_PLAIN = (
    "name", "kind", "url", "auth_mode", "secret_id", "auth_header", "auth_scheme", "allow_private", "enabled",
    "identity", "timeout_s", "review", "trust_below",
)  # fmt: skip


def _build(row: Row[Any]) -> Upstream:
    plain = {name: getattr(row, name) for name in _PLAIN}
    stdio = None if row.stdio is None else _stdio(row.stdio)
    labels = rows.names_from(row.labels)
    more = {"stdio": stdio, "labels": labels, "auth": _auth(row.auth), "revision": row.revision}
    return Upstream(id=row.id, tenant=row.tenant, **more, **plain)


def _values(upstream: Upstream) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(upstream, name) for name in _PLAIN}
    values["labels"] = rows.names(upstream.labels)
    values["auth"] = rows.to_json(upstream.auth)
    values["stdio"] = None if upstream.stdio is None else rows.to_json(upstream.stdio)
    return values


async def add(unit: Unit, upstream: Upstream) -> Upstream:
    """Add an upstream and its empty state. Raises `Refused("conflict")` when the name is taken."""
    if await by_name(unit, upstream.name) is not None:
        raise Refused("conflict", f"There is already an upstream called {upstream.name}.")
    revision = await unit.bump(AGGREGATE)
    key = {"tenant": unit.tenant, "id": upstream.id, "revision": revision}
    await unit.execute(insert(upstreams).values(**key, **_values(upstream)))
    empty = {
        "state": "new", "reason": "", "server_name": "", "server_version": "", "capabilities": b"{}",
        "instructions": "", "observed_at": 0.0, "observation": 0, "revision": await unit.bump("states"),
    }  # fmt: skip
    await unit.execute(insert(states).values(tenant=unit.tenant, upstream=upstream.id, **empty))
    return msgspec.structs.replace(upstream, tenant=unit.tenant, revision=revision)


async def update_one(unit: Unit, upstream: Upstream) -> Upstream:
    """Write an upstream's configuration. Raises `Refused`: not_found, conflict (the name is taken)."""
    other = await by_name(unit, upstream.name)
    if other is not None and other.id != upstream.id:
        raise Refused("conflict", f"There is already an upstream called {upstream.name}.")
    revision = await unit.bump(AGGREGATE)
    statement = update(upstreams).where(
        upstreams.c.tenant == unit.tenant, upstreams.c.id == upstream.id, rows.live(upstreams)
    )
    result = await unit.execute(statement.values(revision=revision, **_values(upstream)))
    if result.rowcount != 1:
        raise Refused("not_found", "There is no such upstream.")
    return msgspec.structs.replace(upstream, tenant=unit.tenant, revision=revision)


async def remove(unit: Unit, upstream_id: str) -> None:
    """Delete an upstream, its state and its definitions. Raises `Refused("not_found")`."""
    revision = await unit.bump(AGGREGATE)
    if await rows.mark_deleted(unit, upstreams, revision, upstreams.c.id == upstream_id) != 1:
        raise Refused("not_found", "There is no such upstream.")
    await rows.mark_deleted(unit, states, await unit.bump("states"), states.c.upstream == upstream_id)
    await rows.mark_deleted(unit, definitions, await unit.bump("definitions"), definitions.c.upstream == upstream_id)


async def get(unit: Unit, upstream_id: str) -> Upstream | None:
    return await rows.one(unit, rows.own(unit, upstreams, upstreams.c.id == upstream_id), _build)


async def locked(unit: Unit, upstream_id: str) -> Upstream | None:
    """The upstream, unchanged until this unit ends (SQLite writes one unit at a time anyway)."""
    statement = rows.own(unit, upstreams, upstreams.c.id == upstream_id)
    return await rows.one(unit, statement.with_for_update(read=True) if unit.postgresql else statement, _build)


async def by_name(unit: Unit, name: str) -> Upstream | None:
    return await rows.one(unit, rows.own(unit, upstreams, upstreams.c.name == name), _build)


async def page(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[Upstream, ...]:
    return await rows.many(unit, rows.after_key(rows.own(unit, upstreams), upstreams, after, limit), _build)


async def names_of(unit: Unit, ids: Iterable[str]) -> dict[str, str]:
    """Row id → name, of deleted upstreams too (the audit speaks of them)."""
    statement = select(upstreams.c.id, upstreams.c.name)
    statement = statement.where(upstreams.c.tenant == unit.tenant, upstreams.c.id.in_(list(ids)))
    return await rows.pairs(unit, statement)


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[Upstream, ...], tuple[str, ...]]:
    """(changed upstreams, ids of deleted upstreams) after a revision of "upstreams"."""
    return await rows.changed(unit, upstreams, revision, _build)
