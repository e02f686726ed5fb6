"""Tasks through the running endpoint: a person's list, news, and what is on record."""

import asyncio
from typing import Any

import pytest

from callgate.mcp import tasks as own
from tests.mcp.lab import Lab, Upstream
from tests.mcp.wire_client import Client
from tests.upstreams.scripted import Answering, Asked

pytestmark = pytest.mark.usefixtures("clients")
EXTENSION = "io.modelcontextprotocol/tasks"
CORE: dict[str, Any] = {"tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}
MODERN: dict[str, Any] = {"extensions": {EXTENSION: {}}}


class Jobs:
    """What a server knows of its tasks, by its own ids."""

    def __init__(self, *, modern: bool) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self._modern = modern

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        params = asked.rpc["params"]
        if asked.rpc["method"] == "tools/call":
            id_ = f"own-{len(self.states)}"
            self.states[id_] = {"taskId": id_, "status": "working", "ttl": 60_000, "pollIntervalMs": 1}
            made = {"resultType": "task", **self.states[id_]} if self._modern else {"task": self.states[id_]}
            await answering.result(asked, made)
        elif params["taskId"] in self.states:
            await answering.result(asked, self.states[params["taskId"]])
        else:
            await answering.whole(b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32602,"message":"no"}}' % asked.id)


async def made(client: Client, upstream: Upstream) -> str:
    answer = await (await client.ask("tools/call", {"name": upstream.tool, "task": {}})).last()
    return str(answer["result"]["task"]["taskId"])


async def listed(client: Client) -> list[str]:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await (await client.ask("tasks/list", cursor)).last())["result"]
        found += [task["taskId"] for task in page["tasks"]]
        if "nextCursor" not in page:
            return found
        cursor = {"cursor": page["nextCursor"]}


async def test_a_list_has_pages_and_leaves_out_what_its_server_forgot(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "PAGE", 2)
    jobs = Jobs(modern=False)
    async with (
        asyncio.timeout(60),
        lab.upstream(jobs, **CORE) as upstream,
        lab.upstream(jobs, **CORE) as other,
    ):
        client = lab.client()
        await client.initialize()
        tasks = [await made(client, upstream) for _ in range(5)]
        elsewhere = await made(client, other)
        assert sorted(await listed(client)) == sorted([*tasks, elsewhere])
        scoped = lab.client(upstream)
        await scoped.initialize()
        assert sorted(await listed(scoped)) == sorted(tasks)
        del jobs.states["own-2"]
        for _ in range(2):
            assert sorted(await listed(scoped)) == sorted(task for task in tasks if task != tasks[2])
        wrong = await (await client.ask("tasks/list", {"cursor": "forged"})).last()
        assert wrong["error"]["code"] == -32602
        stranger = lab.client()
        stranger.token = lab.run.person("bob@acme.test", "member")[1]
        await stranger.initialize()
        assert await listed(stranger) == []


async def test_every_request_of_a_task_is_on_record_with_its_tool(lab: Lab) -> None:
    jobs = Jobs(modern=False)
    async with asyncio.timeout(60), lab.upstream(jobs, **CORE) as upstream:
        client = lab.client()
        await client.initialize()
        task = await made(client, upstream)
        for method in ("tasks/get", "tasks/cancel"):
            assert (await (await client.ask(method, {"taskId": task})).last())["result"]["taskId"] == task
        unknown = await (await client.ask("tasks/get", {"taskId": "own-0"})).last()
        assert unknown["error"]["code"] == -32602
        page = await lab.operator("get", f"/audit/events?limit=500&type=call&upstream={upstream.name}")
        found = [(one["method"], one["outcome"], one["tool"]) for one in page["items"]]
        assert found == [
            ("tools/call", "task", upstream.tool),
            ("tasks/get", "result", upstream.tool),
            ("tasks/cancel", "result", upstream.tool),
        ]
        first = page["items"][0]["id"]
        assert [one["continues"] for one in page["items"]] == [None, first, first]
        assert "own-0" not in str(await lab.operator("get", "/audit/events?limit=500"))


async def test_news_end_with_the_task_and_repeat_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "SHORTEST_WAIT", 0.01)
    jobs = Jobs(modern=True)
    async with asyncio.timeout(60), lab.upstream(jobs, modern=True, **MODERN) as upstream:
        client = lab.client(capabilities=MODERN)
        created = (await (await client.modern("tools/call", {"name": upstream.tool})).last())["result"]
        task = created["taskId"]
        answer = await client.modern("subscriptions/listen", {"notifications": {"taskIds": [task, task, "x"]}}, id_=9)
        messages = answer.messages()
        agreed = await anext(messages)
        assert agreed["params"]["notifications"] == {"taskIds": [task]}
        seen = []
        async for message in messages:
            assert message["method"] == "notifications/tasks"
            assert message["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 9}
            assert message["params"]["taskId"] == task
            seen.append(message["params"]["status"])
            if seen == ["working"]:
                await upstream.server.until("tasks/get", 3)
                jobs.states["own-0"] |= {"status": "completed", "result": {"content": []}}
            else:
                break
        assert seen == ["working", "completed"]


async def test_where_nobody_offers_tasks_there_are_no_such_methods(lab: Lab) -> None:
    async with asyncio.timeout(60), lab.upstream(Jobs(modern=True), modern=True) as upstream:
        client = lab.client(upstream)
        found = await client.modern("tasks/get", {"taskId": "x"})
        assert (found.status, (await found.last())["error"]["code"]) == (404, -32601)
        await client.initialize()
        for method in ("tasks/get", "tasks/list"):
            assert (await (await client.ask(method, {"taskId": "x"})).last())["error"]["code"] == -32601
