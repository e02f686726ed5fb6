"""Resource /definitions: prompts, resources, templates and instructions as recorded. Their review comes later."""

from typing import Literal

import msgspec

from callgate.control.fields import After, Limit, Slug
from callgate.control.operations import Asked, Nothing, Operation, Page, page_of
from callgate.control.views import DefinitionDetail, DefinitionView, content, definition_view
from callgate.errors import Refused
from callgate.store import definitions as rows
from callgate.store import upstreams


class DefinitionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of definitions of one kind, of one upstream when asked so."""

    after: After | None = None
    limit: Limit = 100
    kind: Literal["prompt", "resource", "template", "instructions"] = "prompt"
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
        names = await upstreams.names_of(unit, {one.upstream for one in found})
    items = [definition_view(one, names.get(one.upstream, "")) for one in found]
    return page_of(items, query.limit, lambda one: one.id)


async def get_definition(asked: Asked[Nothing, None]) -> DefinitionDetail:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.get(unit, asked.path["id"])
        if found is None:
            raise Refused("not_found", "There is no such definition.")
        names = await upstreams.names_of(unit, [found.upstream])
    definition, raw = content(found.raw, found.quarantined)
    view = definition_view(found, names.get(found.upstream, ""))
    return DefinitionDetail(**msgspec.structs.asdict(view), definition=definition, raw=raw)


OPERATIONS = (
    Operation(
        "GET", "/definitions", "List prompts, resources, templates or instructions.", list_definitions,
        Page[DefinitionView], query=DefinitionsQuery,
    ),
    Operation("GET", "/definitions/{id}", "One definition with its content.", get_definition, DefinitionDetail),
)  # fmt: skip
