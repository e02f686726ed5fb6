"""Resource /upstreams: the MCP servers behind the gateway.

What an upstream *is* decides whether its tools stay trusted: when its identity changes, everything goes back to review
in the same transaction (design §4).
"""

from typing import Any

import msgspec

from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.people import find as find_person
from callgate.control.services import Services
from callgate.control.upstream_config import (
    Configured,
    NewUpstream,
    UpstreamChange,
    create,
    guard,
    keep_secret,
    revise,
)
from callgate.control.views import UpstreamDetail, UpstreamView, clean, upstream_view
from callgate.credentials.registering import change_secret
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.upstream import PIN, REVIEW, Upstream, UpstreamState
from callgate.offboarding.leave import outbox_entry
from callgate.store import definitions, grants, secrets, states
from callgate.store import upstreams as rows
from callgate.store.unit import Unit


async def find(unit: Unit, name: str) -> Upstream:
    """The upstream of a name. Raises `Refused("not_found")`."""
    upstream = await rows.by_name(unit, name)
    if upstream is None:
        raise Refused("not_found", "There is no upstream of this name.")
    return upstream


def counts(services: Services, tenant: str, upstream_id: str) -> dict[str, int]:
    """Status → number of tools of an upstream, out of the snapshot."""
    found: dict[str, int] = {}
    known = services.fleet.view(tenant).by_upstream.get(upstream_id, {})
    for (kind, _name), definition in known.items():
        if kind == "tool":
            found[definition.status] = found.get(definition.status, 0) + 1
    return found


def shown(services: Services, upstream: Upstream, state: UpstreamState | None) -> UpstreamView:
    """One upstream for an answer."""
    return upstream_view(upstream, state, counts(services, upstream.tenant, upstream.id))


async def detail(services: Services, upstream: Upstream, state: UpstreamState | None) -> UpstreamDetail:
    """One upstream with what only its own page shows."""
    view = shown(services, upstream, state)
    return UpstreamDetail(
        **msgspec.structs.asdict(view),
        identity=upstream.identity,
        instructions=clean(state.instructions if state else ""),
        stderr=services.upstreams.stderr(upstream.id),
    )


async def list_upstreams(asked: Asked[PageQuery, None]) -> Page[UpstreamView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, query.after, query.limit + 1)
        items = [shown(asked.services, one, await states.get(unit, one.id)) for one in found]
    return page_of(items, query.limit, lambda one: one.id)


async def get_upstream(asked: Asked[Any, None]) -> UpstreamDetail:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        upstream = await find(unit, asked.path["name"])
        state = await states.get(unit, upstream.id)
    return await detail(asked.services, upstream, state)


async def add_upstream(asked: Asked[Any, NewUpstream]) -> UpstreamView:
    await asked.services.envelope.warm(asked.tenant)
    configured = create(asked.services, asked.tenant, asked.body)
    async with asked.services.db.unit(asked.tenant) as unit:
        owner = None
        if asked.body.owner is not None:
            owner = (await find_person(unit, asked.body.owner)).id
        upstream = await insert(asked.services, unit, asked.actor, configured, owner)
    await asked.services.seen(asked.tenant)
    return shown(asked.services, upstream, None)


async def insert(services: Services, unit: Unit, actor: Actor, configured: Configured, owner: str | None) -> Upstream:
    """Write a new upstream with its secret and its record. Raises `Refused`: conflict, operator_only."""
    guard(actor, None, configured.upstream)
    upstream = await keep_secret(services, unit, configured, owner)
    upstream = await rows.add(unit, upstream)
    await record(unit, actor, "upstreams.add", upstream.id, after=upstream.identity)
    if upstream.review != REVIEW:
        await record(unit, actor, "upstreams.review", upstream.id, REVIEW, upstream.review)
    return upstream


async def change_upstream(asked: Asked[Any, UpstreamChange]) -> UpstreamView:
    await asked.services.envelope.warm(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        before = await find(unit, asked.path["name"])
        configured = revise(asked.services, before, asked.body)
        upstream = await replace(asked.services, unit, asked.actor, before, configured)
        state = await states.get(unit, upstream.id)
    await settle(asked.services, upstream)
    return shown(asked.services, upstream, state)


async def replace(services: Services, unit: Unit, actor: Actor, before: Upstream, configured: Configured) -> Upstream:
    """Write a changed upstream; another identity sends everything back to review. Unchanged is not written.

    Raises `Refused`: operator_only, conflict.
    """
    guard(actor, before, configured.upstream)
    upstream = await keep_secret(services, unit, configured, None)
    if upstream == before:
        return before
    upstream = await rows.update_one(unit, upstream)
    if upstream.identity != before.identity:
        await definitions.reset(unit, upstream.id, actor.id)
    if (upstream.identity, upstream.auth_mode, upstream.auth) != (before.identity, before.auth_mode, before.auth):
        await end_grants(unit, before)
    if upstream.identity == before.identity and before.review == PIN != upstream.review:
        await definitions.unpin(unit, upstream.id)
    if before.secret_id is not None and before.secret_id != upstream.secret_id:
        await secrets.remove(unit, before.secret_id)
        if configured.secret is not None:
            await change_secret(unit, services.envelope, upstream, configured.secret)
    await record(unit, actor, "upstreams.change", upstream.id, before.identity, upstream.identity)
    if before.review != upstream.review:
        await record(unit, actor, "upstreams.review", upstream.id, before.review, upstream.review)
    return upstream


async def settle(services: Services, upstream: Upstream) -> None:
    """After a change: this replica sees it, and no conversation with the old target goes on."""
    await services.seen(upstream.tenant)
    await services.upstreams.forget(upstream.id)


async def remove_upstream(asked: Asked[Any, None]) -> None:
    async with asked.services.db.unit(asked.tenant) as unit:
        upstream = await find(unit, asked.path["name"])
        await delete(unit, asked.actor, upstream)
    await settle(asked.services, upstream)


async def end_grants(unit: Unit, upstream: Upstream) -> None:
    """End what people have connected there, and have the vendor told: it is for this upstream as it was, alone."""
    for grant in await grants.to_end(unit, upstream=upstream.id):
        await outbox_entry(unit, grant, None)
    await grants.remove_upstream(unit, upstream.id)


async def delete(unit: Unit, actor: Actor, upstream: Upstream) -> None:
    """Delete an upstream with its definitions, its secret and people's accounts there."""
    await end_grants(unit, upstream)
    await rows.remove(unit, upstream.id)
    if upstream.secret_id is not None:
        await secrets.remove(unit, upstream.secret_id)
    await record(unit, actor, "upstreams.remove", upstream.id, before=upstream.identity)


async def refresh_upstream(asked: Asked[Any, None]) -> UpstreamView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        upstream = await find(unit, asked.path["name"])
    state = await asked.services.discovery.refresh(asked.tenant, upstream.id)
    await asked.services.seen(asked.tenant)
    return shown(asked.services, upstream, state)


OPERATIONS = (
    Operation("GET", "/upstreams", "List upstreams.", list_upstreams, Page[UpstreamView], query=PageQuery),
    Operation(
        "POST", "/upstreams", "Add an upstream.", add_upstream, UpstreamView, body=NewUpstream, status=201,
        errors=("conflict", "not_found", "unsafe_target", "operator_only"),
    ),
    Operation("GET", "/upstreams/{name}", "One upstream.", get_upstream, UpstreamDetail),
    Operation(
        "PATCH", "/upstreams/{name}", "Change an upstream.", change_upstream, UpstreamView, body=UpstreamChange,
        errors=("unsafe_target", "operator_only", "conflict"),
    ),
    Operation("DELETE", "/upstreams/{name}", "Remove an upstream.", remove_upstream, None, status=204),
    Operation(
        "POST", "/upstreams/{name}/refresh", "Look at an upstream now.", refresh_upstream, UpstreamView
    ),
)  # fmt: skip
