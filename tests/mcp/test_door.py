"""The listener: what strangers send costs no more than its length, and unread answers do not pile up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from callgate.mcp import door as door_module
from callgate.mcp.door import Door, Head, Taker, read_head
from tests.support.waiting import until

REQUEST = b"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def listening(take: Taker) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection to a door in front of `take`."""
    config = uvicorn.Config(_app, log_config=None, access_log=False, lifespan="off", ws="none")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Door(config=config, server_state=state, app_state={}, take=take), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /mcp HTTP/1.1\r\nX:" + b" " * 60_000 + b"\x01\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nX: a" + b" " * 60_000 + b"b\r\nContent-Length: 0\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\n" + b"a" * 60_000 + b"\x01\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\n" + b"a:\r\n" * 15_000 + b"b\x01\r\n\r\n",
        b"POST " + b"/" * 60_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_no_head_costs_more_than_its_length(head: bytes) -> None:
    for _ in range(50):  # with any backtracking this takes minutes: the test ends, or the suite's time-out tells
        read_head(head)


def test_values_lose_the_blanks_around_them_alone() -> None:
    head = read_head(b"POST /mcp HTTP/1.1\r\nA: \t x  y \t\r\nB:\r\nContent-Length: 2\r\n\r\n{}")
    assert head is not None
    assert head.headers == {"a": "x  y", "b": "", "content-length": "2"}


async def test_a_client_that_does_not_read_gets_no_further_answers_made_for_it() -> None:
    size = 32 * 1024 * 1024  # more than the buffers between here and there hold
    taken: asyncio.Queue[Door] = asyncio.Queue()

    def take(door: Door, head: Head, body: bytes) -> bool:
        door.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        taken.put_nowait(door)
        return True

    async with asyncio.timeout(30), listening(take) as (reader, writer):
        writer.write(REQUEST)
        door = await taken.get()
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(size // 4)
        assert taken.empty()
        assert door.flow.write_paused
        await reader.readexactly(size - size // 4)
        await taken.get()


async def test_a_client_that_stops_reading_is_cut_off_and_one_that_reads_slowly_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door_module, "_STALL_SECONDS", 0.05)
    taken: asyncio.Queue[Door] = asyncio.Queue()

    def take(door: Door, head: Head, body: bytes) -> bool:
        taken.put_nowait(door)
        return True

    async def cut() -> bool:
        return door.transport.is_closing()

    async with asyncio.timeout(30), listening(take) as (_, writer):
        writer.write(REQUEST)
        door = await taken.get()
        door._still_reads(door.transport.get_write_buffer_size() + door_module._STALL_BYTES)
        assert not await cut()
        door._stop_watching()
        door.transport.write(bytes(32 * 1024 * 1024))
        await until(cut)


async def test_what_is_not_taken_goes_to_the_ordinary_edge_on_the_same_connection() -> None:
    def take(door: Door, head: Head, body: bytes) -> bool:
        if head.path != "/mcp":
            return False
        door.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    async with asyncio.timeout(30), listening(take) as (reader, writer):
        statuses = []
        for request in (REQUEST, REQUEST.replace(b"/mcp", b"/odd"), REQUEST):
            writer.write(request)
            statuses.append(int((await reader.readuntil(b"\r\n\r\n")).split()[1]))
        assert statuses == [200, 404, 200]


async def test_a_client_that_goes_away_during_a_fast_call_is_noticed() -> None:
    gone = asyncio.Event()
    taken: asyncio.Queue[Door] = asyncio.Queue()

    def take(door: Door, head: Head, body: bytes) -> bool:
        door.on_lost = gone.set
        taken.put_nowait(door)
        return True

    async with asyncio.timeout(30), listening(take) as (_, writer):
        writer.write(REQUEST)
        door = await taken.get()
        writer.close()
        await gone.wait()
        door.answer(b"for nobody")
