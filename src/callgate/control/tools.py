"""Resource /tools: what upstreams offer, and what a reviewer said of it.

Approving binds to the hash that was shown: when the tool has changed since, it is `stale_hash` and nothing happens.
"""

import asyncio
from typing import Annotated, Literal

import msgspec

from callgate.control.fields import After, FullHash, Limit, PublicName, Slug
from callgate.control.operations import Asked, Nothing, Operation, Page, page_of
from callgate.control.views import ToolDetail, ToolView, content, iso, tool_view
from callgate.errors import Refused
from callgate.fingerprints.diff import changes
from callgate.identity.people import record, record_all
from callgate.model.definition import Definition
from callgate.store import definitions as rows
from callgate.store import upstreams
from callgate.store.unit import Unit

MOST_APPROVALS = 1000
Status = Literal["pending_review", "trusted", "drift_detected", "blocked", "removed"]


class ToolsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of tools, of one upstream or status when asked so."""

    after: After | None = None
    limit: Limit = 100
    upstream: Slug | None = None
    status: Status | None = None


class DiffQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which versions to compare; by default the approved one with the one last seen."""

    old: FullHash | None = None
    new: FullHash | None = None


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hash that was on the reviewer's screen."""

    full: FullHash


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool, and the hash that was shown of it."""

    name: PublicName
    full: FullHash


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many of them, at most 1,000."""

    tools: Annotated[tuple[Shown, ...], msgspec.Meta(min_length=1, max_length=MOST_APPROVALS)]


class NotApproved(msgspec.Struct, frozen=True):
    """A tool that was not approved, and why."""

    name: str
    code: str
    detail: str


class Approved(msgspec.Struct, frozen=True):
    """What became of each, in the order they were named."""

    approved: list[ToolView]
    refused: list[NotApproved]


class VersionView(msgspec.Struct, frozen=True):
    """One content that a tool had."""

    full: str
    core: str
    quarantined: str
    first_seen: str | None
    last_seen: str | None
    approved: bool


class Versions(msgspec.Struct, frozen=True):
    """All of them, oldest first."""

    items: list[VersionView]


class PartView(msgspec.Struct, frozen=True):
    """A piece of a changed text; `cut` says in words what was left out."""

    op: Literal["equal", "removed", "added", "cut"]
    text: str


class ChangeView(msgspec.Struct, frozen=True):
    """One difference; `path` is a JSON Pointer. Invisible characters are named in all texts, look-alikes in `parts`.

    `what` is a sentence for a person in a hurry; `parts` is empty where the values are no texts.
    """

    path: str
    kind: str
    severity: Literal["info", "low", "medium", "high", "critical"]
    what: str
    before: str | None
    after: str | None
    parts: list[PartView]


class Diff(msgspec.Struct, frozen=True):
    """All differences; `old` is null when nothing was approved yet."""

    name: str
    old: str | None
    new: str
    changes: list[ChangeView]


async def find(unit: Unit, name: str) -> Definition:
    """The tool of a public name. Raises `Refused("not_found")`."""
    tool = await rows.by_public_name(unit, "tool", name)
    if tool is None:
        raise Refused("not_found", "There is no tool of this name; see `callgate tools list`.")
    return tool


async def _shown(unit: Unit, tool: Definition) -> ToolView:
    names = await upstreams.names_of(unit, [tool.upstream])
    return tool_view(tool, names.get(tool.upstream, ""))


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
        names = await upstreams.names_of(unit, {one.upstream for one in found})
    items = [tool_view(one, names.get(one.upstream, "")) for one in found]
    return page_of(items, query.limit, lambda one: one.id)


async def get_tool(asked: Asked[Nothing, None]) -> ToolDetail:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        tool = await find(unit, asked.path["name"])
        view = await _shown(unit, tool)
    definition, raw = content(tool.raw, tool.quarantined)
    return ToolDetail(**msgspec.structs.asdict(view), definition=definition, raw=raw)


async def list_versions(asked: Asked[Nothing, None]) -> Versions:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        tool = await find(unit, asked.path["name"])
        found = await rows.versions(unit, tool.id)
    return Versions(
        [
            VersionView(
                one.full, one.core, one.quarantined, iso(one.first_seen), iso(one.last_seen),
                one.full == tool.approved_full,
            )
            for one in found
        ]
    )  # fmt: skip


async def get_diff(asked: Asked[DiffQuery, None]) -> Diff:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        tool = await find(unit, asked.path["name"])
        old = asked.query.old or tool.approved_full
        new = asked.query.new or tool.full
        before = None if old is None else await _version(unit, tool, old)
        after = await _version(unit, tool, new)
    found = await asyncio.to_thread(changes, before, after)
    return Diff(tool.public_name, old, new, [msgspec.convert(one, ChangeView, from_attributes=True) for one in found])


async def _version(unit: Unit, tool: Definition, full: str) -> bytes:
    if full == tool.full:
        return tool.raw
    found = await rows.version(unit, tool.id, full)
    if found is None:
        raise Refused("not_found", "This tool never had this hash.")
    return found.raw


async def approve_tool(asked: Asked[Nothing, Approval]) -> ToolView:
    async with asked.services.db.unit(asked.tenant) as unit:
        before = await find(unit, asked.path["name"])
        tool = await rows.approve(unit, before.id, asked.body.full)
        await record(unit, asked.actor, "tools.approve", tool.id, before.approved_full or before.status, tool.full)
        view = await _shown(unit, tool)
    await asked.services.seen(asked.tenant)
    return view


async def approve_tools(asked: Asked[Nothing, Approvals]) -> Approved:
    """All of them in one transaction; one that changed since it was shown is refused and holds up no other."""
    shown = {one.name: one.full for one in asked.body.tools}
    if len(shown) < len(asked.body.tools):
        raise Refused("validation", "A tool is named more than once.")
    done = Approved([], [])
    async with asked.services.db.unit(asked.tenant) as unit:
        answer = await rows.approve_many(unit, shown)
        names = await upstreams.names_of(unit, {before.upstream for before, _ in answer.values() if before is not None})
        changed = []
        for name, (before, after) in answer.items():
            if isinstance(after, Refused):
                done.refused.append(NotApproved(name, after.code, after.sentence))
            elif before is not None:
                done.approved.append(tool_view(after, names.get(after.upstream, "")))
                changed.append((after.id, before.approved_full or before.status, after.full))
        await record_all(unit, asked.actor, "tools.approve", changed)
    await asked.services.seen(asked.tenant)
    return done


async def block_tool(asked: Asked[Nothing, None]) -> ToolView:
    async with asked.services.db.unit(asked.tenant) as unit:
        before = await find(unit, asked.path["name"])
        tool = await rows.block(unit, before.id)
        await record(unit, asked.actor, "tools.block", tool.id, before.status, tool.status)
        view = await _shown(unit, tool)
    await asked.services.seen(asked.tenant)
    return view


OPERATIONS = (
    Operation("GET", "/tools", "List tools.", list_tools, Page[ToolView], query=ToolsQuery),
    Operation("GET", "/tools/{name}", "One tool with its definition.", get_tool, ToolDetail),
    Operation("GET", "/tools/{name}/versions", "Every content a tool had.", list_versions, Versions),
    Operation("GET", "/tools/{name}/diff", "What changed in a tool.", get_diff, Diff, query=DiffQuery),
    Operation(
        "POST", "/tools/{name}/approve", "Trust a tool with exactly this hash.", approve_tool, ToolView,
        body=Approval, errors=("stale_hash",),
    ),
    Operation(
        "POST", "/tools/approve", "Trust many tools, each with exactly the hash that was shown.", approve_tools,
        Approved, body=Approvals,
    ),
    Operation("POST", "/tools/{name}/block", "Put a tool out of reach.", block_tool, ToolView),
)  # fmt: skip
