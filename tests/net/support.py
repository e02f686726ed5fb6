"""A scripted HTTP server for the tests of `callgate.net`, and a handler that records what it is told."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

from callgate import clock
from callgate.net.errors import EgressError
from callgate.net.exchange import Headers, Limits
from callgate.net.policy import TargetPolicy

LOOPBACK = TargetPolicy(allowed_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
QUICK = Limits(connect=5, first_byte=5, idle=5, total=10)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request with its body; raises `IncompleteReadError` at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


def answers(*raw: bytes, close: bool = False) -> Script:
    """Answer the n-th request of a connection with the n-th text (the last one for all later ones)."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        while True:
            await read_request(reader)
            writer.write(raw[min(count, len(raw) - 1)])
            await writer.drain()
            count += 1
            if close:
                return

    return script


@dataclass
class Peer:
    """`script` serves each connection; the connection is closed when it returns."""

    script: Script = field(default_factory=lambda: answers(OK))
    port: int = 0
    connections: int = 0
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.script(reader, writer)
        finally:
            writer.transport.abort() if self.tls else writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()

    def url(self, path: str = "/", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


class Recorder:
    """A ResponseHandler that keeps everything and says when it is over."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.status = 0
        self.headers: Headers = []
        self._parts: list[bytes] = []
        self.error: EgressError | None = None
        self.over = asyncio.Event()
        self.first_chunk = asyncio.Event()

    def on_head(self, status: int, headers: Headers) -> None:
        self.calls.append("head")
        self.status, self.headers = status, headers

    def on_chunk(self, data: bytes) -> None:
        self.calls.append("chunk")
        self._parts.append(data)
        self.first_chunk.set()

    def on_end(self) -> None:
        self.calls.append("end")
        self.over.set()

    def on_error(self, error: EgressError) -> None:
        self.calls.append("error")
        self.error = error
        self.over.set()

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    async def wait(self) -> "Recorder":
        await asyncio.wait_for(self.over.wait(), 15)
        return self


class ShiftedClock:
    """The real monotonic clock, put forward at will; to be set in place of `clock.monotonic`."""

    def __init__(self) -> None:
        self.real = clock.monotonic
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.real() + self.ahead


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so (bounded)."""
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
            await asyncio.sleep(0.005)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count, not paths
