"""A client of the endpoint in which every byte of a request is the test's. One connection for each request."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
TASK_METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri", **dict.fromkeys(TASK_METHODS, "taskId")}


_open: list[asyncio.StreamWriter] = []


async def close_all() -> None:
    """End every connection of this test."""
    while _open:
        writer = _open.pop()
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class Answer:
    """One HTTP answer, read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._reader = reader
        self._writer = writer

    async def _chunks(self) -> AsyncIterator[bytes]:
        if "content-length" in self.headers:
            yield await self._reader.readexactly(int(self.headers["content-length"]))
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self._chunks()])

    async def messages(self) -> AsyncIterator[Any]:
        """The messages of an event stream, or the one of a JSON body."""
        if "text/event-stream" not in self.headers.get("content-type", ""):
            yield json.loads(await self.body())
            return
        rest = b""
        async for chunk in self._chunks():
            rest += chunk
            while b"\n\n" in rest:
                event, _, rest = rest.partition(b"\n\n")
                for line in event.split(b"\n"):
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])

    async def last(self) -> Any:
        """The message that ends the answer."""
        return [message async for message in self.messages()][-1]

    def close(self) -> None:
        self._writer.transport.abort()


@dataclass
class Client:
    """Who asks: `session` is a handshake-era client's, `capabilities` what a modern one declares."""

    url: str
    token: str
    path: str = "/mcp"
    session: str | None = None
    capabilities: Any = None

    async def send(self, body: bytes, how: str = "POST", **headers: str | None) -> Answer:
        """Any request; a header that is None is left out, `_` in a name is `-`."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        given: dict[str, str | None] = {
            "Host": f"{host}:{port}",
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 26)
        _open.append(writer)
        writer.write("\r\n".join([f"{how} {self.path} HTTP/1.1", *lines]).encode() + b"\r\n\r\n" + body)
        return Answer(reader, writer, await reader.readuntil(b"\r\n\r\n"))

    async def modern(self, method: str, params: Any = None, id_: Any = 1, **headers: str | None) -> Answer:
        """A request of 2026-07-28."""
        envelope = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": self.capabilities or {}}
        params = {**(params or {}), "_meta": {**(params or {}).get("_meta", {}), **envelope}}
        body = json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()
        given: dict[str, str | None] = {"MCP_Protocol_Version": MODERN, "Mcp_Method": method}
        if method in NAMED:
            given["Mcp_Name"] = params.get(NAMED[method])
        return await self.send(body, "POST", **{**given, **headers})

    async def legacy(self, message: dict[str, Any], **headers: str | None) -> Answer:
        """A message of a handshake-era client."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        return await self.send(body, "POST", **{"Mcp_Session_Id": self.session, **headers})

    async def ask(self, method: str, params: Any = None, id_: Any = 1) -> Answer:
        return await self.legacy({"id": id_, "method": method, "params": params or {}})

    async def initialize(self, capabilities: Any = None, version: str = "2025-11-25") -> Any:
        """Shake hands and keep the session."""
        params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": {"name": "t"}}
        answer = await self.ask("initialize", params)
        self.session = answer.headers["mcp-session-id"]
        return (await answer.last())["result"]

    async def listen(self, **headers: str | None) -> Answer:
        """The handshake era's GET stream."""
        return await self.send(b"", "GET", **{"Mcp_Session_Id": self.session, **headers})
