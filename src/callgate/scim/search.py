"""Searching: a page of resources by filter, order and index (RFC 7644, section 3.4.2).

Without filter and order the store makes the page. `eq` on a name or an id is looked up. Everything else is a walk over
all resources in small steps, so that calls go on meanwhile; what would walk too far is refused (`tooMany`).
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from scim2_models import Resource, SearchRequest, TooManyException
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator
from scim2_server.storage import SearchPage

from callgate.scim.shelf import Found, Shelf

MAX_WALK = 50_000
_STEP = 50
Order = tuple[bool, Any, str]


async def search(shelves: list[Shelf], request: SearchRequest[Any]) -> SearchPage:
    """One page over all shelves. Raises `TooManyException`."""
    start = request.start_index_0 or 0
    count = request.count or 0
    if request.filter is None and request.sort_by is None and len(shelves) == 1:
        shelf = shelves[0]
        return SearchPage(await shelf.count(), await shelf.page(start, count) if count else [])
    found = [(key, shelf) for shelf in shelves async for key in _matching(shelf, request)]
    found.sort(key=lambda pair: pair[0], reverse=request.sort_order == SearchRequest.SortOrder.descending)
    return SearchPage(len(found), await _load(found[start : start + count]))


async def _matching(shelf: Shelf, request: SearchRequest[Any]) -> AsyncIterator[Order]:
    """The sort key of each resource that matches: its value (missing ones last), then its id."""
    async for resource in _candidates(shelf, request):
        if request.filter is None or request.filter.match(resource):
            value = None if request.sort_by is None else request.sort_value(resource)
            yield value is None, "" if value is None else value, str(resource.id)


async def _candidates(shelf: Shelf, request: SearchRequest[Any]) -> AsyncIterator[Resource[Any]]:
    if request.filter is not None:
        for attribute, value in _pinned(request.filter.ast):
            found = await shelf.exactly(attribute, value)
            if found is not None:
                for resource in found:
                    yield resource
                return
    async for resource in _walk(shelf):
        yield resource


async def _walk(shelf: Shelf) -> AsyncIterator[Resource[Any]]:
    if await shelf.count() > MAX_WALK:
        raise TooManyException(detail="Too many resources to look through; filter by userName, externalId or id.")
    last = ""
    while step := await shelf.after(last, _STEP):
        for resource in step:
            yield resource
        last = str(step[-1].id)
        await asyncio.sleep(0)


def _pinned(node: FilterNode) -> list[tuple[str, str]]:
    """The attributes that every match has with an exact text, by name in lower case."""
    if isinstance(node, LogicalExpr) and node.op is LogicalOperator.and_:
        return [pin for term in node.terms for pin in _pinned(term)]
    if not isinstance(node, Comparison) or node.op is not CompareOperator.eq or not isinstance(node.value, str):
        return []
    path = node.attr_path
    return [] if path.uri or path.sub_attr else [(path.attr.lower(), node.value)]


async def _load(wanted: list[tuple[Order, Shelf]]) -> Found:
    """The resources of a page, in its order."""
    by_shelf: dict[int, tuple[Shelf, list[str]]] = {}
    for (_, _, key), shelf in wanted:
        by_shelf.setdefault(id(shelf), (shelf, []))[1].append(key)
    loaded = {
        str(resource.id): resource for shelf, keys in by_shelf.values() for resource in await shelf.among(keys)
    }  # fmt: skip
    return [loaded[key] for (_, _, key), _ in wanted if key in loaded]
