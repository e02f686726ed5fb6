"""Long-lived streams: each caller hears of what changes for it, and of nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callgate.call.admit import MAX_STREAMS
from callgate.mcp.streams import MAX_FOLLOWED
from tests.mcp.lab import Lab, Upstream
from tests.mcp.wire_client import Answer, Client
from tests.support.running import running
from tests.upstreams.scripted import Answering, Asked

pytestmark = pytest.mark.usefixtures("clients")
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
URI = "test://watched"
RESOURCES = {"resources": [{"uri": URI, "name": "watched"}, {"uri": "test://other", "name": "other"}]}


class Hearing:
    """A modern upstream that tells of updates on its `subscriptions/listen` streams."""

    def __init__(self) -> None:
        self.streams: dict[str, tuple[Asked, Answering]] = {}
        self.changed = asyncio.Event()

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        wanted = asked.rpc["params"]["notifications"]
        await answering.stream()
        await self.tell(asked, answering, "notifications/subscriptions/acknowledged", {"notifications": wanted})
        for uri in wanted.get("resourceSubscriptions", ()):
            self.streams[uri] = (asked, answering)
            self.changed.set()
        await answering.until_gone()
        for uri in wanted.get("resourceSubscriptions", ()):
            del self.streams[uri]
            self.changed.set()

    async def tell(self, asked: Asked, answering: Answering, method: str, params: dict[str, Any]) -> None:
        params["_meta"] = {SUBSCRIPTION: asked.rpc["id"]}
        await answering.event({"jsonrpc": "2.0", "method": method, "params": params})

    async def update(self, uri: str) -> None:
        await self.tell(*self.streams[uri], "notifications/resources/updated", {"uri": uri, "odd": 1})

    async def until(self, *uris: str) -> None:
        """Wait until exactly these are followed."""
        while self.streams.keys() != set(uris):
            self.changed.clear()
            await self.changed.wait()


async def listen(client: Client, id_: Any = "sub", **wanted: Any) -> tuple[Answer, AsyncIterator[Any], Any]:
    """A `subscriptions/listen` stream and what was agreed."""
    answer = await client.modern("subscriptions/listen", {"notifications": wanted}, id_=id_)
    messages = answer.messages()
    first = await anext(messages)
    assert first["method"] == "notifications/subscriptions/acknowledged"
    assert first["params"]["_meta"] == {SUBSCRIPTION: id_}
    return answer, messages, first["params"]["notifications"]


async def block(lab: Lab, upstream: Upstream) -> None:
    await lab.operator("post", f"/tools/{upstream.tool}/block")


async def nothing(asked: Asked, answering: Answering) -> None:
    await answering.result(asked, {})


async def test_a_listener_hears_of_the_lists_it_asked_for_under_its_own_id(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(nothing) as upstream:
        _, tools, agreed = await listen(lab.client(upstream), 7, toolsListChanged=True, odd=True)
        _, prompts, _ = await listen(lab.client(upstream), promptsListChanged=True, toolsListChanged=False)
        assert agreed == {"toolsListChanged": True}
        heard = asyncio.ensure_future(anext(prompts))
        await block(lab, upstream)
        message = await anext(tools)
        assert message == {
            "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": {SUBSCRIPTION: 7}},
        }  # fmt: skip
        assert not heard.done()
        heard.cancel()


async def test_a_handshake_clients_get_stream_hears_of_its_lists(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(nothing) as upstream:
        client = lab.client()
        await client.initialize()
        stream = await client.listen()
        assert (stream.status, stream.headers["x-accel-buffering"]) == (200, "no")
        messages = stream.messages()
        heard = asyncio.ensure_future(anext(messages))
        await block(lab, upstream)
        assert await heard == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


async def test_only_resources_that_exist_are_agreed_and_their_updates_told(lab: Lab) -> None:
    hearing = Hearing()
    async with asyncio.timeout(30), lab.upstream(hearing, modern=True, lists=RESOURCES) as upstream:
        client = lab.client()
        answer, messages, agreed = await listen(client, resourceSubscriptions=[URI, "test://nowhere"])
        assert agreed == {"resourceSubscriptions": [URI]}
        await hearing.until(URI)
        await hearing.update(URI)
        told = await anext(messages)
        assert (told["method"], told["params"]["uri"], told["params"]["odd"]) == (
            "notifications/resources/updated", URI, 1,
        )  # fmt: skip
        assert told["params"]["_meta"][SUBSCRIPTION] == "sub"
        answer.close()
        await hearing.until()
        assert upstream.server.seen("subscriptions/listen")


async def test_a_session_follows_what_it_subscribed_to_on_its_get_stream(lab: Lab) -> None:
    hearing = Hearing()
    async with asyncio.timeout(30), lab.upstream(hearing, modern=True, lists=RESOURCES):
        client = lab.client()
        await client.initialize()
        await client.ask("resources/subscribe", {"uri": URI})
        messages = (await client.listen()).messages()
        heard = asyncio.ensure_future(anext(messages))
        await hearing.until(URI)
        await client.ask("resources/subscribe", {"uri": "test://other"})
        await hearing.until(URI, "test://other")
        await client.ask("resources/unsubscribe", {"uri": URI})
        await hearing.until("test://other")
        await hearing.update("test://other")
        told = await heard
        assert told["params"]["uri"] == "test://other"
        assert "_meta" not in told["params"]


async def test_a_resource_that_vanishes_or_that_a_rule_denies_is_not_followed_any_more(lab: Lab) -> None:
    hearing = Hearing()
    async with asyncio.timeout(30), lab.upstream(hearing, modern=True, lists=RESOURCES) as upstream:
        client = lab.client()
        await client.initialize()
        for uri in (URI, "test://other"):
            await client.ask("resources/subscribe", {"uri": uri})
        stream = await client.listen()
        heard = asyncio.ensure_future(anext(stream.messages()))
        await hearing.until(URI, "test://other")
        upstream.lists["resources"] = RESOURCES["resources"][1:]
        await lab.operator("post", f"/upstreams/{upstream.name}/refresh")
        await hearing.until("test://other")
        assert (await heard)["method"] == "notifications/resources/list_changed"
        rule = {"id": f"no-{upstream.name}", "title": "No", "effect": "deny", "match": {"upstream": [upstream.name]}}
        await lab.operator("post", "/rules", rule)
        await hearing.until()
        refused = await (await client.ask("resources/subscribe", {"uri": "test://other"})).last()
        assert refused["error"]["data"]["code"] == "denied_by_rule"
        assert (await (await client.ask("resources/unsubscribe", {"uri": URI})).last())["result"] == {}
        await lab.operator("delete", f"/rules/no-{upstream.name}")
        await hearing.until("test://other")


async def test_a_stream_ends_when_its_token_does(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(nothing) as upstream:
        _, token = await asyncio.to_thread(lab.run.person, "carl@acme.test", "member")
        client = lab.client(upstream)
        client.token = token
        _, messages, _ = await listen(client, toolsListChanged=True)
        await lab.operator("post", "/people/carl@acme.test/deactivate")
        (last,) = [message async for message in messages]
        assert last["result"] == {"resultType": "complete", "_meta": {SUBSCRIPTION: "sub"}}


async def test_a_stream_sees_what_the_agent_may_see_now(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(nothing):
        await lab.operator("post", "/agents", {"name": "bot", "upstreams": ["*"]})
        _, token = await asyncio.to_thread(lambda: lab.run.person("dora@acme.test", "member", agent="bot"))
        client = lab.client()
        client.token = token
        _, messages, _ = await listen(client, toolsListChanged=True)
        await lab.operator("put", "/agents/bot", {"upstreams": []})
        assert (await anext(messages))["method"] == "notifications/tools/list_changed"
        listed = (await (await client.modern("tools/list")).last())["result"]
        assert listed["tools"] == []


async def test_a_person_has_so_many_streams_and_no_more(lab: Lab) -> None:
    async with asyncio.timeout(60):
        _, token = await asyncio.to_thread(lab.run.person, "emil@acme.test", "member")
        client = lab.client()
        client.token = token
        for number in range(MAX_STREAMS):
            await listen(client, number, toolsListChanged=True)
        over = await client.modern("subscriptions/listen", {"notifications": {}})
        assert (over.status, (await over.last())["error"]["data"]["code"]) == (429, "too_many_streams")
        assert (await client.listen()).status == 429
        assert (await client.modern("tools/list")).status == 200


async def test_a_session_follows_so_many_resources_and_no_more(lab: Lab) -> None:
    many = [{"uri": f"test://{number}", "name": "x"} for number in range(MAX_FOLLOWED + 1)]
    async with asyncio.timeout(60), lab.upstream(nothing, modern=True, lists={"resources": many}):
        client = lab.client()
        await client.initialize()
        for number in range(MAX_FOLLOWED):
            await client.ask("resources/subscribe", {"uri": f"test://{number}"})
        over = await (await client.ask("resources/subscribe", {"uri": f"test://{MAX_FOLLOWED}"})).last()
        assert over["error"]["code"] == -32602
        again = await (await client.ask("resources/subscribe", {"uri": "test://0"})).last()
        assert again["result"] == {}
        _, _, agreed = await listen(lab.client(), resourceSubscriptions=[one["uri"] for one in many])
        assert len(agreed["resourceSubscriptions"]) == MAX_FOLLOWED


@pytest.mark.parametrize("filter_", [1, [], {"toolsListChanged": "yes"}, {"resourceSubscriptions": [1]}])
async def test_a_filter_that_is_none_is_refused(lab: Lab, filter_: Any) -> None:
    answer = await lab.client().modern("subscriptions/listen", {"notifications": filter_})
    assert (answer.status, (await answer.last())["error"]["code"]) == (400, -32602)


async def test_streams_end_in_good_order_when_the_gateway_stops(tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        gateway = running(tmp_path / "data")
        run = await asyncio.to_thread(gateway.__enter__)
        client = Lab(run).client()
        _, messages, _ = await listen(client, toolsListChanged=True)
        await client.initialize()
        quiet = (await client.listen()).messages()
        stopping = asyncio.ensure_future(asyncio.to_thread(gateway.__exit__, None, None, None))
        (last,) = [message async for message in messages]
        assert last["result"]["resultType"] == "complete"
        assert [message async for message in quiet] == []
        await stopping
