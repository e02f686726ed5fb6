"""A hostile but valid MCP upstream over HTTP, without any SDK: exact bytes, bad manners, a record of what it got.

    python hostile_http.py [--era both|legacy|modern] [--port N] [--log FILE] [--many N] [--page N] [--fault NAME …]

Serves `/mcp` on 127.0.0.1 and prints `ready http://127.0.0.1:PORT/mcp`. What each tool does is in hostile_data.py.
Every request is written to the log (one JSON object a line: number, time, method, path, headers, body, rpc, id,
name) before it is answered; a peer that hangs up during an answer is one more line (`{"event": "gone", …}`).
`GET /__log` gives the same lines. `POST /__control` changes the manners, see Control.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile_behaviour as behaviour
import hostile_data as data
from raw_http import Connection, Gone, Request

MODERN = "2026-07-28"
HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
JSON = ("Content-Type", "application/json")


@dataclass
class Control:
    """What `POST /__control` sets; members that are not sent stay as they are.

    `lost`: 404 or 400, forgets every session and answers so to their ids; 0 ends that. `listing`: how tools/list
    is answered: ok, endless (a cursor for ever), repeat (the same page again), error, broken (the second page fails),
    hang, not_json. `many`: numbered tools. `faults`: definitions of hostile_data.FAULTY_TOOLS. `hide`: names left
    out. `describe`: name → a new description (drift). `release`: lets every `wait` go. `announce`: sends
    notifications/<value>/list_changed on every open stream.
    """

    lost: int = 0
    listing: str = "ok"
    many: int = 0
    faults: list[str] = field(default_factory=list)
    hide: list[str] = field(default_factory=list)
    describe: dict[str, str] = field(default_factory=dict)


class Log:
    """Lines in memory and, if a path is given, in a file, each one flushed before it returns."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("ab", buffering=0) if path is not None else None
        self.lines: list[bytes] = []

    def add(self, **entry: Any) -> None:
        line = json.dumps({"time": time.time(), **entry}).encode() + b"\n"
        self.lines.append(line)
        if self._file is not None:
            self._file.write(line)


class Hostile:
    """The MCP side: both eras, sessions, lists, and a table of behaviours for tools/call."""

    def __init__(self, era: str, log: Log, page: int, control: Control) -> None:
        self.era, self.log, self.page, self.control = era, log, page, control
        self.released = asyncio.Event()
        self.answers: dict[str, asyncio.Future[bytes]] = {}
        self._sessions: set[str] = set()
        self._streams: dict[Connection, bytes | None] = {}
        self._count = 0

    def next_number(self) -> int:
        self._count += 1
        return self._count

    async def handle(self, request: Request, connection: Connection) -> None:
        if request.path.startswith("/__log"):
            return await connection.answer(200, b"".join(self.log.lines), ("Content-Type", "application/jsonl"))
        if request.path == "/__control":
            return await self._set(json.loads(request.body), connection)
        message = self._record(request)
        try:
            await self._mcp(request, message, connection)
        except Gone:
            self.log.add(event="gone", request=request.number, rpc=message.get("method"))
            raise
        return None

    def _record(self, request: Request) -> dict[str, Any]:
        try:
            message = json.loads(request.body) if request.body else {}
        except ValueError:
            message = {}
        message = message if isinstance(message, dict) else {}
        params = message.get("params")
        name = params.get("name") if isinstance(params, dict) else None
        try:
            body = {"body": request.body.decode()}
        except UnicodeDecodeError:
            body = {"body64": base64.b64encode(request.body).decode()}
        self.log.add(
            number=request.number,
            method=request.method,
            path=request.path,
            headers=request.headers,
            rpc=message.get("method"),
            id=message.get("id"),
            name=name,
            **body,
        )
        return message

    async def _set(self, change: dict[str, Any], connection: Connection) -> None:
        if change.pop("release", False):
            self.released.set()
            self.released = asyncio.Event()
        announce = change.pop("announce", None)
        for name, value in change.items():
            setattr(self.control, name, value)
        if change.get("lost"):
            self._sessions.clear()
        if announce:
            await self._announce(announce)
        await connection.answer(200, json.dumps(vars(self.control)).encode(), JSON)

    async def _announce(self, kind: str) -> None:
        for stream, subscription in list(self._streams.items()):
            meta = b"" if subscription is None else b'"io.modelcontextprotocol/subscriptionId":' + subscription
            note = b'{"jsonrpc":"2.0","method":"notifications/%b/list_changed","params":{"_meta":{%b}}}'
            with contextlib.suppress(Gone):
                await stream.chunk(b"data: " + note % (kind.encode(), meta) + b"\n\n")

    # --- eras --------------------------------------------------------------------------------------------------

    async def _mcp(self, request: Request, message: dict[str, Any], connection: Connection) -> None:
        version = request.header("mcp-protocol-version")
        modern = version is not None and version not in HANDSHAKE
        if modern and self.era != "legacy":
            return await self._modern(request, message, connection)
        if modern or self.era == "modern":
            return await self._refuse_era(message, connection)
        if request.method == "GET":
            return await self._stream(request, connection)
        if request.method == "DELETE":
            self._sessions.discard(request.header("mcp-session-id") or "")
            return await connection.answer(200, b"")
        return await self._legacy(request, message, connection)

    async def _refuse_era(self, message: dict[str, Any], connection: Connection) -> None:
        if self.era == "legacy":  # as servers of that time do: no JSON-RPC error that a newer client would know
            return await connection.answer(400, b"Bad Request: no valid session", ("Content-Type", "text/plain"))
        error = {"code": -32022, "message": "Unsupported version", "data": {"supported": [MODERN], "requested": ""}}
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": error}).encode()
        return await connection.answer(400, body, JSON)

    async def _legacy(self, request: Request, message: dict[str, Any], connection: Connection) -> None:
        method, session = message.get("method"), request.header("mcp-session-id") or ""
        if method == "initialize":
            return await self._initialize(message, connection)
        if session not in self._sessions:
            status = self.control.lost or 404
            return await connection.answer(status, b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"?"},"id":null}')
        if "id" not in message:
            return await connection.answer(202, b"")
        if method is None:
            waiting = self.answers.get(str(message["id"]))
            if waiting is not None and not waiting.done():
                waiting.set_result(request.body)
            return await connection.answer(202, b"")
        return await self._request(request, message, connection, modern=False)

    async def _initialize(self, message: dict[str, Any], connection: Connection) -> None:
        session = f"s!{self.next_number():06d}~odd-but-visible-ASCII"
        self._sessions.add(session)
        wanted = (message.get("params") or {}).get("protocolVersion")
        version = wanted if wanted in HANDSHAKE else HANDSHAKE[-1]
        result = b'{"protocolVersion":"%b",%b}' % (version.encode(), behaviour.ABOUT)
        body = behaviour.envelope(_id(message), result)
        await connection.answer(200, body, JSON, ("MCP-SESSION-ID", session), ("Set-Cookie", "a=b"))

    async def _modern(self, request: Request, message: dict[str, Any], connection: Connection) -> None:
        if request.method != "POST":
            return await connection.answer(405, b"")
        if message.get("method") == "subscriptions/listen":
            return await self._listen(message, connection)
        if message.get("method") == "server/discover":
            result = b'{"supportedVersions":["%b"],%b}' % (MODERN.encode(), behaviour.ABOUT)
            return await connection.answer(200, behaviour.envelope(_id(message), behaviour.cached(result)), JSON)
        if message.get("method") in ("initialize", "ping", "logging/setLevel"):
            error = b'{"code":-32601,"message":"Method not found"}'
            return await connection.answer(404, behaviour.envelope(_id(message), error, b"error"), JSON)
        return await self._request(request, message, connection, modern=True)

    # --- streams -----------------------------------------------------------------------------------------------

    async def _stream(self, request: Request, connection: Connection) -> None:
        if (request.header("mcp-session-id") or "") not in self._sessions:
            return await connection.answer(self.control.lost or 404, b"")
        return await self._hold(connection, None, b": hello\n\n")

    async def _listen(self, message: dict[str, Any], connection: Connection) -> None:
        wanted = (message.get("params") or {}).get("notifications") or {}
        note = {"_meta": {"io.modelcontextprotocol/subscriptionId": message.get("id")}, "notifications": wanted}
        first = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": note}
        await self._hold(connection, _id(message), b"data: " + json.dumps(first).encode() + b"\n\n")

    async def _hold(self, connection: Connection, subscription: bytes | None, first: bytes) -> None:
        await connection.head(200, behaviour.EVENTS)
        await connection.chunk(first)
        self._streams[connection] = subscription
        try:
            await connection.gone.wait()
        finally:
            del self._streams[connection]
        raise Gone

    # --- requests ----------------------------------------------------------------------------------------------

    async def _request(
        self, request: Request, message: dict[str, Any], connection: Connection, *, modern: bool
    ) -> None:
        call = behaviour.Call(request, message, _id(message), connection, modern, self)
        method = message.get("method")
        lists: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
            "prompts/list": ("prompts", lambda: data.PROMPTS),
            "resources/list": ("resources", lambda: data.RESOURCES),
            "resources/templates/list": ("resourceTemplates", lambda: data.TEMPLATES),
        }
        if method == "tools/list":
            await self._tools(call)
        elif method in lists:
            member, items = lists[method]
            await call.reply(behaviour.listing(member, items()), cacheable=True)
        elif method == "tools/call":
            await behaviour.call_tool(call)
        else:
            await behaviour.answer_other(call, str(method))

    async def _tools(self, call: behaviour.Call) -> None:
        offered = [self._described(raw) for raw in data.tools(self.control.many, tuple(self.control.faults))]
        shown = [raw for raw in offered if _name(raw) not in self.control.hide]
        start = int((call.message.get("params") or {}).get("cursor") or 0)
        way = self.control.listing
        if way == "error" or (way == "broken" and start > 0):
            return await call.fail(b'{"code":-32603,"message":"The list is broken"}')
        if way == "hang":
            await call.connection.gone.wait()
            raise Gone
        if way == "not_json":
            return await call.connection.answer(200, b"<html>maintenance</html>", ("Content-Type", "text/html"))
        page = self.page or len(shown)
        more = start + page < len(shown)
        cursor = {"endless": start + page, "repeat": 0}.get(way, start + page if more else None)
        slice_ = shown[:page] if way in ("endless", "repeat") else shown[start : start + page]
        return await call.reply(behaviour.listing("tools", slice_, cursor), cacheable=True)

    def _described(self, raw: bytes) -> bytes:
        new = self.control.describe.get(_name(raw) or "")
        return raw if new is None else data.tool(_name(raw) or "", new)


def _id(message: dict[str, Any]) -> bytes:
    return json.dumps(message.get("id")).encode()


def _name(raw: bytes) -> str | None:
    try:
        name = json.loads(raw).get("name")
    except ValueError:
        return None
    return name if isinstance(name, str) else None


async def serve(hostile: Hostile, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(hostile.handle, hostile.next_number), "127.0.0.1", port)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Hostile MCP upstream for tests (loopback only)")
    parser.add_argument("--era", choices=("both", "legacy", "modern"), default="both")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--many", type=int, default=0, help="as many more numbered tools")
    parser.add_argument("--page", type=int, default=0, help="tools a page (default: one page)")
    parser.add_argument("--fault", choices=tuple(data.FAULTY_TOOLS), action="append", default=[])
    options = parser.parse_args()
    control = Control(many=options.many, faults=options.fault)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(Hostile(options.era, Log(options.log), options.page, control), options.port))


if __name__ == "__main__":
    main()
