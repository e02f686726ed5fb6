"""Resource /definitions: prompts, resources, templates, instructions and what servers call themselves.

They need no approval to be shown; one that was given binds to its hash, and a change after it holds them back.
"""

from typing import Literal

import msgspec

from callgate.control import reviews
from callgate.control.beside import beside
from callgate.control.fields import After, Limit, Slug
from callgate.control.operations import Asked, Nothing, Operation, Page, page_of
from callgate.control.reviews import Approval, Diff, DiffQuery, History, Note
from callgate.control.views import DefinitionDetail, DefinitionView, content, definition_view, findings_of
from callgate.errors import Refused
from callgate.model.definition import Definition
from callgate.store import definitions as rows
from callgate.store import upstreams
from callgate.store.unit import Unit


class DefinitionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of definitions of one kind, of one upstream when asked so."""

    after: After | None = None
    limit: Limit = 100
    kind: Literal["prompt", "resource", "template", "instructions", "server"] = "prompt"
    upstream: Slug | None = None


async def list_definitions(asked: Asked[DefinitionsQuery, None]) -> Page[DefinitionView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        upstream = None
        if query.upstream is not None:
            known = await upstreams.by_name(unit, query.upstream)
            if known is None:
                return Page([])
            upstream = known.id
        found = await rows.page(unit, query.after, query.limit + 1, kind=query.kind, upstream=upstream)
        more = await beside(unit, found)
    return page_of([definition_view(one, more) for one in found], query.limit, lambda one: one.id)


async def find(unit: Unit, definition_id: str) -> Definition:
    """The definition of a row id, which is no tool. Raises `Refused("not_found")`."""
    found = await rows.get(unit, definition_id)
    if found is None or found.kind == "tool":
        raise Refused("not_found", "There is no such definition; tools are under /tools.")
    return found


async def _detail(unit: Unit, one: Definition) -> DefinitionDetail:
    more = await beside(unit, [one])
    definition, raw = content(one.raw, one.quarantined)
    view = definition_view(one, more)
    members = {name: getattr(view, name) for name in view.__struct_fields__}
    return DefinitionDetail(**members, definition=definition, raw=raw, findings=findings_of(one.id, more))


async def get_definition(asked: Asked[Nothing, None]) -> DefinitionDetail:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await _detail(unit, await find(unit, asked.path["id"]))


async def get_history(asked: Asked[Nothing, None]) -> History:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await reviews.life(unit, await find(unit, asked.path["id"]))


async def get_diff(asked: Asked[DiffQuery, None]) -> Diff:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        pair = await reviews.pair(unit, await find(unit, asked.path["id"]), asked.query)
    return await reviews.compared(pair)


async def approve_definition(asked: Asked[Nothing, Approval]) -> DefinitionDetail:
    async with asked.services.db.unit(asked.tenant) as unit:
        one = await reviews.approve(asked, unit, await find(unit, asked.path["id"]), "definitions")
        view = await _detail(unit, one)
    await asked.services.seen(asked.tenant)
    return view


async def block_definition(asked: Asked[Nothing, Note]) -> DefinitionDetail:
    async with asked.services.db.unit(asked.tenant) as unit:
        one = await reviews.block(asked, unit, await find(unit, asked.path["id"]), "definitions")
        view = await _detail(unit, one)
    await asked.services.seen(asked.tenant)
    return view


OPERATIONS = (
    Operation(
        "GET", "/definitions", "List prompts, resources, templates or instructions.", list_definitions,
        Page[DefinitionView], query=DefinitionsQuery,
    ),
    Operation("GET", "/definitions/{id}", "One definition with its content.", get_definition, DefinitionDetail),
    Operation("GET", "/definitions/{id}/history", "What happened to a definition.", get_history, History),
    Operation("GET", "/definitions/{id}/diff", "What changed in a definition.", get_diff, Diff, query=DiffQuery),
    Operation(
        "POST", "/definitions/{id}/approve", "Trust a definition with exactly this hash.", approve_definition,
        DefinitionDetail, body=Approval, errors=("stale_hash", "two_person_review"),
    ),
    Operation(
        "POST", "/definitions/{id}/block", "Put a definition out of reach.", block_definition, DefinitionDetail,
        body=Note,
    ),
)  # fmt: skip
