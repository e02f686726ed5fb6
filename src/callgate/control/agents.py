"""Resource /agents: named profiles of what acts for a person; they limit which upstreams are listed."""

from typing import Any

import msgspec

from callgate import ids
from callgate.control.fields import Email, Globs, Slug
from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.people import find as find_person
from callgate.control.views import AgentView, agent_view
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.person import Agent
from callgate.store import agents as rows
from callgate.store import people
from callgate.store.unit import Unit


class NewAgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent profile to add; `upstreams` are globs over upstream names, null means all; `owner` answers for it."""

    name: Slug
    upstreams: Globs | None = None
    owner: Email | None = None


class AgentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The profile as it shall be. One that is not `active` is stopped: its tokens are good for nothing meanwhile."""

    upstreams: Globs | None
    owner: Email | None = None
    active: bool = True


async def find(unit: Unit, name: str) -> Agent:
    """The agent of a name. Raises `Refused("not_found")`."""
    agent = await rows.by_name(unit, name)
    if agent is None:
        raise Refused("not_found", "There is no agent of this name.")
    return agent


async def owner_of(unit: Unit, email: str | None) -> str | None:
    """Row id of who answers for an agent. Raises `Refused`: not_found, person_inactive."""
    if email is None:
        return None
    person = await find_person(unit, email)
    if not person.active:
        raise Refused("person_inactive")
    return person.id


async def shown(unit: Unit, agent: Agent) -> AgentView:
    """An agent with its owner's address."""
    owner = await people.get(unit, agent.owner) if agent.owner is not None else None
    return agent_view(agent, owner.email if owner is not None else None)


async def list_agents(asked: Asked[PageQuery, None]) -> Page[AgentView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, query.after, query.limit + 1)
        views = [await shown(unit, one) for one in found]
    return page_of(views, query.limit, lambda one: one.id)


async def get_agent(asked: Asked[Any, None]) -> AgentView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await shown(unit, await find(unit, asked.path["name"]))


async def create_agent(asked: Asked[Any, NewAgent]) -> AgentView:
    body = asked.body
    async with asked.services.db.unit(asked.tenant) as unit:
        owner = await owner_of(unit, body.owner)
        agent = await rows.add(unit, Agent(ids.new_id("agt"), asked.tenant, body.name, body.upstreams, owner=owner))
        await record(unit, asked.actor, "agents.add", agent.id)
        view = await shown(unit, agent)
    await asked.services.seen(asked.tenant)
    return view


async def update_agent(asked: Asked[Any, AgentChange]) -> AgentView:
    async with asked.services.db.unit(asked.tenant) as unit:
        agent = await find(unit, asked.path["name"])
        owner = await owner_of(unit, asked.body.owner)
        changed = msgspec.structs.replace(agent, upstreams=asked.body.upstreams, owner=owner, active=asked.body.active)
        agent = await rows.update_one(unit, changed)
        await record(unit, asked.actor, "agents.change", agent.id)
        view = await shown(unit, agent)
    await asked.services.seen(asked.tenant)
    return view


async def delete_agent(asked: Asked[Any, None]) -> None:
    async with asked.services.db.unit(asked.tenant) as unit:
        agent = await find(unit, asked.path["name"])
        await rows.remove(unit, agent.id)
        await record(unit, asked.actor, "agents.remove", agent.id)
    await asked.services.seen(asked.tenant)


OPERATIONS = (
    Operation("GET", "/agents", "List agent profiles.", list_agents, Page[AgentView], query=PageQuery),
    Operation(
        "POST", "/agents", "Add an agent profile.", create_agent, AgentView, body=NewAgent, status=201,
        errors=("conflict",),
    ),
    Operation("GET", "/agents/{name}", "One agent profile.", get_agent, AgentView),
    Operation("PUT", "/agents/{name}", "Change an agent profile.", update_agent, AgentView, body=AgentChange),
    Operation("DELETE", "/agents/{name}", "Remove an agent profile.", delete_agent, None, status=204),
)  # fmt: skip
