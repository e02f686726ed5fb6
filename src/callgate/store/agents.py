"""Agent profiles (aggregate "agents"), unique by name."""

from typing import Any

import msgspec
from sqlalchemy import Row, insert, update

from callgate.errors import Refused
from callgate.model.person import Agent
from callgate.store import rows
from callgate.store.schema import agents
from callgate.store.unit import Unit

AGGREGATE = "agents"


def _build(row: Row[Any]) -> Agent:
    return Agent(
        id=row.id, tenant=row.tenant, name=row.name, revision=row.revision,
        upstreams=None if row.upstreams is None else rows.names_from(row.upstreams), owner=row.owner, active=row.active,
    )  # fmt: skip


def _globs(agent: Agent) -> str | None:
    return None if agent.upstreams is None else rows.names(agent.upstreams)


def _values(agent: Agent) -> dict[str, object]:
    return {"name": agent.name, "upstreams": _globs(agent), "owner": agent.owner, "active": agent.active}


async def add(unit: Unit, agent: Agent) -> Agent:
    """Add an agent. Raises `Refused("conflict")` when the name is taken."""
    if await by_name(unit, agent.name) is not None:
        raise Refused("conflict", f"There is already an agent called {agent.name}.")
    revision = await unit.bump(AGGREGATE)
    values = {"tenant": unit.tenant, "id": agent.id, "revision": revision, **_values(agent)}
    await unit.execute(insert(agents).values(**values))
    return _stored(unit, agent, revision)


async def update_one(unit: Unit, agent: Agent) -> Agent:
    """Write an agent's name and upstreams. Raises `Refused`: not_found, conflict."""
    revision = await unit.bump(AGGREGATE)
    statement = update(agents).where(agents.c.tenant == unit.tenant, agents.c.id == agent.id, rows.live(agents))
    result = await unit.execute(statement.values(revision=revision, **_values(agent)))
    if result.rowcount != 1:
        raise Refused("not_found", "There is no such agent.")
    return _stored(unit, agent, revision)


async def remove(unit: Unit, agent_id: str) -> None:
    """Delete an agent. Raises `Refused("not_found")`."""
    revision = await unit.bump(AGGREGATE)
    if await rows.mark_deleted(unit, agents, revision, agents.c.id == agent_id) != 1:
        raise Refused("not_found", "There is no such agent.")


async def get(unit: Unit, agent_id: str) -> Agent | None:
    return await rows.one(unit, rows.own(unit, agents, agents.c.id == agent_id), _build)


async def by_name(unit: Unit, name: str) -> Agent | None:
    return await rows.one(unit, rows.own(unit, agents, agents.c.name == name), _build)


async def owned_by(unit: Unit, person_id: str) -> tuple[Agent, ...]:
    """The agents that a person answers for."""
    return await rows.many(unit, rows.own(unit, agents, agents.c.owner == person_id), _build)


async def page(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[Agent, ...]:
    return await rows.many(unit, rows.after_key(rows.own(unit, agents), agents, after, limit), _build)


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[Agent, ...], tuple[str, ...]]:
    """(changed agents, ids of deleted agents) after a revision of "agents"."""
    return await rows.changed(unit, agents, revision, _build)


def _stored(unit: Unit, agent: Agent, revision: int) -> Agent:
    globs = None if agent.upstreams is None else tuple(sorted(set(agent.upstreams)))
    return msgspec.structs.replace(agent, tenant=unit.tenant, upstreams=globs, revision=revision)
