"""Resource /tools: what upstreams offer, and what a reviewer said of it.

Approving binds to the hash that was shown: when the tool has changed since, it is `stale_hash` and nothing happens.
"""

from typing import Annotated, Any, Literal

import msgspec

from callgate.control import reviews
from callgate.control.beside import beside, one_tool
from callgate.control.fields import After, FullHash, Limit, LongText, PublicName, Slug
from callgate.control.operations import Asked, Nothing, Operation, Page, page_of
from callgate.control.reviews import Approval, Diff, DiffQuery, History, Note, Versions
from callgate.control.views import ToolDetail, ToolView, content, tool_view
from callgate.errors import Refused
from callgate.identity.recording import record_all
from callgate.model.definition import Definition
from callgate.store import definitions as rows
from callgate.store import upstreams
from callgate.store.reviews import Reviewer, approve_many
from callgate.store.unit import Unit

MOST_APPROVALS = 1000
Status = Literal["pending_review", "trusted", "drift_detected", "blocked", "removed"]


class ToolsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of tools, of one upstream or status when asked so."""

    after: After | None = None
    limit: Limit = 100
    upstream: Slug | None = None
    status: Status | None = None


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool, and the hash that was shown of it."""

    name: PublicName
    full: FullHash


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many of them, at most 1,000, and one note for all."""

    tools: Annotated[tuple[Shown, ...], msgspec.Meta(min_length=1, max_length=MOST_APPROVALS)]
    note: LongText = ""


class NotApproved(msgspec.Struct, frozen=True):
    """A tool that was not approved, and why."""

    name: str
    code: str
    detail: str


class Approved(msgspec.Struct, frozen=True):
    """What became of each, in the order they were named."""

    approved: list[ToolView]
    refused: list[NotApproved]


async def find(unit: Unit, name: str) -> Definition:
    """The tool of a public name. Raises `Refused("not_found")`."""
    tool = await rows.by_public_name(unit, "tool", name)
    if tool is None:
        raise Refused("not_found", "There is no tool of this name; see `callgate tools list`.")
    return tool


async def list_tools(asked: Asked[ToolsQuery, None]) -> Page[ToolView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        upstream = None
        if query.upstream is not None:
            known = await upstreams.by_name(unit, query.upstream)
            if known is None:
                return Page([])
            upstream = known.id
        wanted = {"upstream": upstream, "kind": "tool", "status": query.status}
        found = await rows.page(unit, query.after, query.limit + 1, **wanted)
        more = await beside(unit, found)
    return page_of([tool_view(one, more) for one in found], query.limit, lambda one: one.id)


async def get_tool(asked: Asked[Nothing, None]) -> ToolDetail:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        tool = await find(unit, asked.path["name"])
        view = await one_tool(unit, tool)
    definition, raw = content(tool.raw, tool.quarantined)
    return ToolDetail(**_members(view), definition=definition, raw=raw)


def _members(view: ToolView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in view.__struct_fields__}


async def list_versions(asked: Asked[Nothing, None]) -> Versions:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await reviews.versions(unit, await find(unit, asked.path["name"]))


async def get_history(asked: Asked[Nothing, None]) -> History:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await reviews.life(unit, await find(unit, asked.path["name"]))


async def get_diff(asked: Asked[DiffQuery, None]) -> Diff:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        pair = await reviews.pair(unit, await find(unit, asked.path["name"]), asked.query)
    return await reviews.compared(pair)


async def approve_tool(asked: Asked[Nothing, Approval]) -> ToolView:
    async with asked.services.db.unit(asked.tenant) as unit:
        tool = await reviews.approve(asked, unit, await find(unit, asked.path["name"]), "tools")
        view = await one_tool(unit, tool)
    await asked.services.seen(asked.tenant)
    return view


async def approve_tools(asked: Asked[Nothing, Approvals]) -> Approved:
    """All of them in one transaction; one that changed since it was shown is refused and holds up no other."""
    shown = {one.name: one.full for one in asked.body.tools}
    if len(shown) < len(asked.body.tools):
        raise Refused("validation", "A tool is named more than once.")
    done = Approved([], [])
    async with asked.services.db.unit(asked.tenant) as unit:
        answer = await approve_many(unit, Reviewer(asked.actor, asked.body.note), shown)
        more = await beside(unit, [after for _, after in answer.values() if not isinstance(after, Refused)])
        changed = []
        for name, (before, after) in answer.items():
            if isinstance(after, Refused):
                done.refused.append(NotApproved(name, after.code, after.sentence))
            elif before is not None:
                done.approved.append(tool_view(after, more))
                changed.append((after.id, before.approved_full or before.status, after.full))
        await record_all(unit, asked.actor, "tools.approve", changed)
    await asked.services.seen(asked.tenant)
    return done


async def block_tool(asked: Asked[Nothing, Note]) -> ToolView:
    async with asked.services.db.unit(asked.tenant) as unit:
        tool = await reviews.block(asked, unit, await find(unit, asked.path["name"]), "tools")
        view = await one_tool(unit, tool)
    await asked.services.seen(asked.tenant)
    return view


OPERATIONS = (
    Operation("GET", "/tools", "List tools.", list_tools, Page[ToolView], query=ToolsQuery),
    Operation("GET", "/tools/{name}", "One tool with its definition.", get_tool, ToolDetail),
    Operation("GET", "/tools/{name}/versions", "Every content a tool had.", list_versions, Versions),
    Operation("GET", "/tools/{name}/history", "What happened to a tool, and why.", get_history, History),
    Operation("GET", "/tools/{name}/diff", "What changed in a tool.", get_diff, Diff, query=DiffQuery),
    Operation(
        "POST", "/tools/{name}/approve", "Trust a tool with exactly this hash.", approve_tool, ToolView,
        body=Approval, errors=("stale_hash", "two_person_review"),
    ),
    Operation(
        "POST", "/tools/approve", "Trust many tools, each with exactly the hash that was shown.", approve_tools,
        Approved, body=Approvals, errors=("two_person_review",),
    ),
    Operation("POST", "/tools/{name}/block", "Put a tool out of reach.", block_tool, ToolView, body=Note),
)  # fmt: skip
