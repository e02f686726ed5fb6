"""A running gateway with upstreams that a test scripts: real sockets on both sides."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.mcp.wire_client import Client
from tests.support.running import Running
from tests.upstreams.scripted import Answering, Asked, Handler, Legacy, Scripted

_numbers: Iterator[int] = itertools.count(1)
MEMBERS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


class Upstream:
    """What one upstream offers; `call` answers everything but lists and handshakes."""

    def __init__(self, call: Handler, *, modern: bool, lists: dict[str, list[Any]], **capabilities: Any) -> None:
        self.name = f"up{next(_numbers)}"
        self.call = call
        self.lists = {"tools": [{"name": "tool", "inputSchema": {"type": "object"}}], **lists}
        offered: dict[str, Any] = {name: {} for name in ("tools", "prompts", "resources") if self.lists.get(name)}
        self.capabilities: dict[str, Any] = {**offered, "logging": {}, **capabilities}
        self.legacy = Legacy(self._answer, capabilities=self.capabilities)
        self.server = Scripted(self._modern if modern else self._handshake)

    @property
    def tool(self) -> str:
        return f"{self.name}__tool"

    async def _modern(self, asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") == "server/discover":
            about = {"supportedVersions": ["2026-07-28"], "capabilities": self.capabilities, "resultType": "complete"}
            await answering.result(asked, about)
        else:
            await self._answer(asked, answering)

    async def _handshake(self, asked: Asked, answering: Answering) -> None:
        is_reply = asked.method == "POST" and "method" not in asked.rpc
        await (self.call(asked, answering) if is_reply else self.legacy(asked, answering))

    async def _answer(self, asked: Asked, answering: Answering) -> None:
        member = MEMBERS.get(asked.rpc.get("method", ""))
        if member is not None:
            await answering.result(asked, {member: self.lists.get(member, [])})
        elif asked.rpc.get("method") == "logging/setLevel":
            await answering.result(asked, {})
        else:
            await self.call(asked, answering)


class Lab:
    """The gateway, and one person with a token."""

    def __init__(self, run: Running) -> None:
        self.run = run
        self.token = run.person("ana@acme.test", "member")[1]

    def client(self, upstream: Upstream | None = None, **fields: Any) -> Client:
        """A client of the joined endpoint, or of one upstream's."""
        path = f"/mcp/u/{upstream.name}" if upstream is not None else "/mcp"
        return Client(self.run.url, self.token, path, **fields)

    async def operator(self, how: str, path: str, body: Any = None) -> Any:
        """Ask the control API beside this loop, which serves the upstreams."""
        asked = getattr(self.run.operator, how)
        return await (asyncio.to_thread(asked, path, body) if body is not None else asyncio.to_thread(asked, path))

    @asynccontextmanager
    async def upstream(
        self, call: Handler, *, modern: bool = False, lists: dict[str, list[Any]] | None = None, **capabilities: Any
    ) -> AsyncIterator[Upstream]:
        """An upstream whose tools are approved, for as long as the block lasts."""
        found = Upstream(call, modern=modern, lists=lists or {}, **capabilities)
        async with found.server.running():
            spec = {"name": found.name, "url": found.server.url, "allow_private": True}
            await self.operator("post", "/upstreams", spec)
            await self.operator("post", f"/upstreams/{found.name}/refresh")
            for tool in (await self.operator("get", "/tools"))["items"]:
                if tool["status"] == "pending_review":
                    await self.operator("post", f"/tools/{tool['name']}/approve", {"full": tool["full"]})
            try:
                yield found
            finally:
                await self.operator("delete", f"/upstreams/{found.name}")

    async def outcomes(self, upstream: Upstream) -> list[tuple[str, str]]:
        """(outcome, code) of every recorded call of an upstream, the oldest first."""
        page = await self.operator("get", f"/audit/events?limit=500&type=call&upstream={upstream.name}")
        return [(event["outcome"], event["code"] or "") for event in page["items"]]
