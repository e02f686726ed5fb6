"""Resource /agents: named profiles of what acts for a person; they limit which upstreams are listed."""

from typing import Any

import msgspec

from callgate import ids
from callgate.control.fields import Globs, Slug
from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.views import AgentView, agent_view
from callgate.errors import Refused
from callgate.identity.people import record
from callgate.model.person import Agent
from callgate.store import agents as rows
from callgate.store.unit import Unit


class NewAgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent profile to add; `upstreams` are globs over upstream names, null means all."""

    name: Slug
    upstreams: Globs | None = None


class AgentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The profile as it shall be."""

    upstreams: Globs | None


async def find(unit: Unit, name: str) -> Agent:
    """The agent of a name. Raises `Refused("not_found")`."""
    agent = await rows.by_name(unit, name)
    if agent is None:
        raise Refused("not_found", "There is no agent of this name.")
    return agent


async def list_agents(asked: Asked[PageQuery, None]) -> Page[AgentView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, query.after, query.limit + 1)
    return page_of([agent_view(one) for one in found], query.limit, lambda one: one.id)


async def get_agent(asked: Asked[Any, None]) -> AgentView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return agent_view(await find(unit, asked.path["name"]))


async def create_agent(asked: Asked[Any, NewAgent]) -> AgentView:
    agent = Agent(ids.new_id("agt"), asked.tenant, asked.body.name, asked.body.upstreams)
    async with asked.services.db.unit(asked.tenant) as unit:
        agent = await rows.add(unit, agent)
        await record(unit, asked.actor, "agents.add", agent.id)
    await asked.services.seen(asked.tenant)
    return agent_view(agent)


async def update_agent(asked: Asked[Any, AgentChange]) -> AgentView:
    async with asked.services.db.unit(asked.tenant) as unit:
        agent = await find(unit, asked.path["name"])
        agent = await rows.update_one(unit, msgspec.structs.replace(agent, upstreams=asked.body.upstreams))
        await record(unit, asked.actor, "agents.change", agent.id)
    await asked.services.seen(asked.tenant)
    return agent_view(agent)


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
