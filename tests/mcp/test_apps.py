"""MCP Apps over two upstreams with the same URIs: what a tool or a result names can be read, from its own upstream."""

import asyncio
from typing import Any

import pytest

from tests.mcp.lab import Lab, Upstream
from tests.upstreams.scripted import Answering, Asked

pytestmark = pytest.mark.usefixtures("clients")
VIEW = "ui://shop/view"
TOOL = {"name": "tool", "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": VIEW}, "kept": None}}
LISTS: dict[str, list[Any]] = {"tools": [TOOL], "resources": [{"uri": VIEW, "name": "view"}]}


def shop(text: str) -> Any:
    async def call(asked: Asked, answering: Answering) -> None:
        params = asked.rpc["params"]
        if asked.rpc["method"] == "resources/read":
            await answering.result(asked, {"contents": [{"uri": params["uri"], "text": text}]})
        else:
            links = [{"type": "resource_link", "uri": uri, "name": "n"} for uri in (VIEW, "ui://shop/unlisted")]
            await answering.result(asked, {"content": links})

    return call


@pytest.mark.parametrize("modern", [True, False])
async def test_each_tool_leads_to_the_interface_of_its_own_server(lab: Lab, modern: bool) -> None:
    async with (
        asyncio.timeout(30),
        lab.upstream(shop("one"), modern=modern, lists=LISTS) as one,
        lab.upstream(shop("two"), modern=modern, lists=LISTS) as two,
    ):
        client = lab.client()
        tools = (await (await client.modern("tools/list")).last())["result"]["tools"]
        metas = {tool["name"]: tool["_meta"] for tool in tools}
        for upstream, text in ((one, "one"), (two, "two")):
            meta = metas[upstream.tool]
            assert meta["kept"] is None
            assert meta["ui"]["resourceUri"].startswith("ui://")
            called = (await (await client.modern("tools/call", {"name": upstream.tool})).last())["result"]
            for uri in (meta["ui"]["resourceUri"], *(block["uri"] for block in called["content"])):
                read = (await (await client.modern("resources/read", {"uri": uri})).last())["result"]
                assert read["contents"] == [{"uri": uri, "text": text}]


async def test_on_an_upstreams_own_endpoint_nothing_is_renamed(lab: Lab) -> None:
    async with (
        asyncio.timeout(30),
        lab.upstream(shop("one"), lists=LISTS),
        lab.upstream(shop("two"), lists=LISTS) as two,
    ):
        await unchanged(lab, two)


async def unchanged(lab: Lab, upstream: Upstream) -> None:
    client = lab.client(upstream)
    (tool,) = (await (await client.modern("tools/list")).last())["result"]["tools"]
    assert tool == TOOL
    called = (await (await client.modern("tools/call", {"name": "tool"})).last())["result"]
    assert [block["uri"] for block in called["content"]] == [VIEW, "ui://shop/unlisted"]
    read = (await (await client.modern("resources/read", {"uri": VIEW})).last())["result"]
    assert read["contents"] == [{"uri": VIEW, "text": "two"}]
