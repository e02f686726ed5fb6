"""The header proxy adds its headers, keeps the rest as it came, streams, and lets go when a side lets go."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tests.peers.header_proxy import Proxy

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
LIMIT = 10


@asynccontextmanager
async def backend(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]


@asynccontextmanager
async def proxied(
    *backends: tuple[str, int], headers: tuple[str, ...] = (), keep_host: bool = True
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = await Proxy(backends, headers, keep_host=keep_host).serve(listener)
    async with server:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        try:
            yield reader, writer
        finally:
            writer.close()


def recorder(seen: list[bytes]) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    return handle


async def test_a_request_keeps_its_host_and_headers_and_gains_the_added_one() -> None:
    seen: list[bytes] = []
    async with (
        backend(recorder(seen)) as place,
        proxied(place, headers=("Authorization: Bearer t",)) as (reader, writer),
    ):
        writer.write(b"GET /mcp HTTP/1.1\r\nHost: evil.example.com\r\nX-Odd: a  b\r\nAuthorization: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), LIMIT)
    assert answer.endswith(b"\r\n\r\nok")
    lines = seen[0].split(b"\r\n")
    assert lines[:3] == [b"GET /mcp HTTP/1.1", b"Host: evil.example.com", b"X-Odd: a  b"]
    assert b"Authorization: Bearer t" in lines
    assert b"Authorization: x" not in lines


async def test_the_host_can_be_the_backends() -> None:
    seen: list[bytes] = []
    async with backend(recorder(seen)) as place, proxied(place, keep_host=False) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        await asyncio.wait_for(reader.read(), LIMIT)
    assert f"Host: 127.0.0.1:{place[1]}".encode() in seen[0].split(b"\r\n")


async def test_an_event_is_passed_on_before_the_next_one_exists() -> None:
    more = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await more.wait()
        writer.write(b"data: 2\n\n")
        writer.close()

    async with backend(handle) as place, proxied(place) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), LIMIT)
        more.set()
        assert await asyncio.wait_for(reader.read(), LIMIT) == b"data: 2\n\n"


async def test_the_backend_sees_at_once_that_the_client_has_gone() -> None:
    started, gone = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        started.set()
        await reader.read()
        gone.set()
        writer.close()

    async with backend(handle) as place, proxied(place) as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await asyncio.wait_for(started.wait(), LIMIT)
        writer.close()
        await asyncio.wait_for(gone.wait(), LIMIT)


async def test_a_backend_that_is_away_is_answered_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with proxied(("127.0.0.1", port)) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), LIMIT)).startswith(b"HTTP/1.1 502 ")


async def test_requests_take_turns_over_the_backends() -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    async with backend(recorder(first)) as one, backend(recorder(second)) as two:
        server = await Proxy([one, two]).serve(listener)
        async with server:
            for _ in range(4):
                reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await asyncio.wait_for(reader.read(), LIMIT)
                writer.close()
    assert (len(first), len(second)) == (2, 2)
