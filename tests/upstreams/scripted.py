"""A raw HTTP/1.1 server inside a test: every byte of an answer is the test's, every request is kept."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from callgate.model.upstream import Upstream
from callgate.net.pool import Pool
from callgate.upstreams.duplex import Channel
from callgate.upstreams.exchange import Answered, Ended, Event, Exchange, Peer, Piece
from callgate.upstreams.pool import Upstreams
from callgate.upstreams.ports import Credential, Spawner

JSON = "application/json"
EVENTS = "text/event-stream"
ASKING = b'{"sampling":{},"elicitation":{"form":{}},"roots":{}}'
MODERN_INFO = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def rpc(self) -> dict[str, Any]:
        return dict(json.loads(self.body)) if self.body else {}

    @property
    def id(self) -> bytes:
        return json.dumps(self.rpc.get("id")).encode()


class Answering:
    """The connection of one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def until_gone(self) -> None:
        """Wait for the other side to hang up."""
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read(1) == b""

    async def whole(self, body: bytes, status: int = 200, kind: str = JSON, *more: str) -> None:
        """A whole answer with its length."""
        lines = [f"HTTP/1.1 {status} x", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def stream(self, *more: str, kind: str = EVENTS) -> None:
        """The head of a body in chunks."""
        lines = ["HTTP/1.1 200 x", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *more]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def event(self, message: object, id_: str = "") -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.chunk((f"id: {id_}\n".encode() if id_ else b"") + b"data: " + data + b"\n\n")

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def hang_up(self) -> None:
        """End the body, then the connection."""
        await self.end()
        self.writer.close()

    async def result(self, asked: Asked, value: object, *more: str) -> None:
        await self.whole(reply(asked, value), 200, JSON, *more)

    def abort(self) -> None:
        self.writer.transport.abort()


def reply(asked: Asked, value: object) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (asked.id, raw)


Handler = Callable[[Asked, Answering], Awaitable[None]]


class Scripted:
    """The server. `handle` may be changed while it runs."""

    def __init__(self, handle: Handler) -> None:
        self.handle = handle
        self.asked: list[Asked] = []
        self.changed = asyncio.Condition()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Scripted"]:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/mcp"
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked = await _read(reader)
                async with self.changed:
                    self.asked.append(asked)
                    self.changed.notify_all()
                await self.handle(asked, Answering(reader, writer))

    def seen(self, method: str) -> list[Asked]:
        """The requests of an HTTP or JSON-RPC method, in order."""
        return [one for one in self.asked if method in (one.method, one.rpc.get("method"))]

    async def until(self, method: str, count: int = 1) -> Asked:
        """The n-th request of a method, as soon as it is there."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self.seen(method)) >= count)
        return self.seen(method)[count - 1]


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


# -- servers -------------------------------------------------------------------------------------------------------


def modern(call: Handler) -> Handler:
    """A modern server whose calls the test answers."""

    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") == "server/discover":
            await answering.result(asked, MODERN_INFO)
        else:
            await call(asked, answering)

    return handle


@dataclass
class Legacy:
    """A handshake-era server with sessions whose calls the test answers."""

    call: Handler
    version: str = "2025-11-25"
    capabilities: dict[str, Any] = field(default_factory=lambda: {"tools": {}})
    hear: Handler | None = None
    sessions: list[str] = field(default_factory=list)
    unknown: int = 404
    stateless: bool = False
    instructions: str = ""
    count: int = 0

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        method = asked.rpc.get("method")
        known = self.stateless or asked.headers.get("mcp-session-id") in self.sessions
        if method == "initialize":
            self.count += 1
            self.sessions.append(f"s{self.count}")
            info = {"protocolVersion": self.version, "capabilities": self.capabilities, "serverInfo": {"name": "x"}}
            named = [] if self.stateless else [f"Mcp-Session-Id: s{self.count}"]
            await answering.result(asked, {**info, "instructions": self.instructions}, *named)
        elif not known or method == "server/discover":
            await answering.whole(b'{"error":"no session"}', 400 if method == "server/discover" else self.unknown)
        elif asked.method == "GET":
            await (self.hear(asked, answering) if self.hear else answering.whole(b"", 405))
        elif asked.method == "DELETE":
            self.sessions.remove(asked.headers["mcp-session-id"])
            await answering.whole(b"", 200)
        elif "id" not in asked.rpc or not method:
            await answering.whole(b"", 202)
        else:
            await self.call(asked, answering)


# -- clients -------------------------------------------------------------------------------------------------------


class NoChildren:
    """stdio is not used."""

    async def spawn(self, upstream: Upstream, variables: dict[str, str]) -> Channel:
        raise AssertionError("no children here")

    def stderr(self, upstream_id: str) -> str:
        return ""


class ProcessChannel:
    """A real child over pipes, without a sandbox: the transport's tests are not about that."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def send(self, message: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(message + b"\n")
        await self.process.stdin.drain()

    async def messages(self) -> AsyncIterator[bytes]:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            yield line

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def carry(self, credential: object) -> None:
        """Nothing here looks at it."""

    def reason(self) -> str:
        return "The server's process has ended."


class Programs:
    """Starts a command; counts the starts."""

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self.command = command
        self.env = env
        self.started: list[ProcessChannel] = []

    async def spawn(self, upstream: Upstream, variables: dict[str, str]) -> Channel:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            limit=64 * 1024 * 1024,
            env=self.env,
        )
        channel = ProcessChannel(process)
        self.started.append(channel)
        return channel

    def stderr(self, upstream_id: str) -> str:
        return ""


async def _no_credential(upstream: Upstream) -> Credential:
    return Credential()


@asynccontextmanager
async def pooled(
    children: Spawner | None = None,
    cap: int = 64 * 1024 * 1024,
    credentials: Callable[[Upstream], Awaitable[Credential]] = _no_credential,
) -> AsyncIterator[Upstreams]:
    """The pool under test, on a real outbound client."""
    pool = Pool()
    upstreams = Upstreams(pool, (), cap, credentials, children or NoChildren())
    try:
        yield upstreams
    finally:
        async with asyncio.timeout(20):
            await upstreams.close()
            await pool.aclose()


def at(url: str, **more: Any) -> Upstream:
    """An upstream by its URL."""
    kind = str(more.pop("kind", "http"))
    return Upstream(id="up1", tenant="default", name="u", kind=kind, url=url, allow_private=True, **more)


def program(**more: Any) -> Upstream:
    """A stdio upstream (the command is the spawner's)."""
    return Upstream(id="up1", tenant="default", name="u", kind="stdio", **more)


def peer(person: str = "ana", session: str | None = "s", capabilities: bytes = b"{}", **more: Any) -> Peer:
    return Peer("default", person, session, capabilities, **more)


async def events(exchange: Exchange, seconds: float = 30) -> list[Event]:
    """All events up to the last."""
    async with asyncio.timeout(seconds):
        return [event async for event in exchange]


async def last(exchange: Exchange, seconds: float = 30) -> Event:
    return (await events(exchange, seconds))[-1]


async def value(exchange: Exchange, seconds: float = 30) -> Any:
    """The result as Python values; a failure fails the test."""
    found = await events(exchange, seconds)
    end = found[-1]
    if isinstance(end, Ended):
        return json.loads(b"".join(event.data for event in found if isinstance(event, Piece)))
    assert isinstance(end, Answered), end
    return json.loads(end.raw)
