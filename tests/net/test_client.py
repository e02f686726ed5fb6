"""The client for `async` code."""

import asyncio
import gc

import pytest

from callgate.net.client import Client
from callgate.net.errors import AnswerTooLarge, EgressError, EgressRefused, PeerClosed
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy
from tests.net.support import LOOPBACK, OK, Peer, answers, open_descriptors, read_request, until


async def test_a_request_gives_status_headers_and_body(client: Client, peer: Peer) -> None:
    seen = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello")

    peer.script = script
    response = await client.request("POST", peer.url("/x"), {"Accept": "text/plain"}, b"body", policy=LOOPBACK)
    assert response.status == 201
    assert response.headers["X-a"] == "1, 2"
    assert "x-b" not in response.headers
    assert dict(response.headers) == {"x-a": "1, 2", "content-length": "5"}
    assert len(response.headers) == 2
    assert response.headers.raw[0] == (b"x-a", b"1")
    assert await response.read(100) == b"hello"
    assert b"Accept-Encoding: identity\r\n" in seen[0]
    assert seen[0].endswith(b"\r\n\r\nbody")


async def test_responses_that_were_read_leave_their_connection_for_the_next(client: Client, peer: Peer) -> None:
    for _ in range(20):
        async with await client.request("GET", peer.url(), policy=LOOPBACK) as response:
            assert await response.read(10) == b"ok"
    assert peer.connections == 1


async def test_a_redirect_is_handed_back_and_not_followed(client: Client, peer: Peer) -> None:
    peer.script = answers(
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n", OK
    )
    async with await client.request("GET", peer.url(), policy=LOOPBACK) as response:
        assert response.status == 302
        assert response.headers["location"] == "http://169.254.169.254/latest"
        assert await response.read(10) == b""


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.0.0.1/",
        "http://user@1.1.1.1/",
        "gopher://1.1.1.1/",
        "http://0/",
    ],
)
async def test_a_forbidden_url_is_refused_before_anything_is_sent(client: Client, url: str) -> None:
    with pytest.raises(EgressRefused) as caught:
        await client.request("GET", url, policy=TargetPolicy())
    assert not caught.value.request_sent


async def test_a_body_over_the_readers_cap_closes_the_connection(client: Client, peer: Peer) -> None:
    peer.script = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50)
    response = await client.request("GET", peer.url(), policy=LOOPBACK)
    with pytest.raises(AnswerTooLarge):
        await response.read(49)


async def test_what_came_before_a_break_is_delivered_and_then_the_error(client: Client, peer: Peer) -> None:
    peer.script = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", close=True)
    response = await client.request("GET", peer.url(), policy=LOOPBACK)
    chunks = response.chunks()
    assert await anext(chunks) == b"half"
    with pytest.raises(PeerClosed):
        await anext(chunks)


async def test_an_error_before_the_head_is_raised_by_the_request(client: Client, peer: Peer) -> None:
    peer.script = answers(b"", close=True)
    with pytest.raises(PeerClosed) as caught:
        await client.request("GET", peer.url(), policy=LOOPBACK)
    assert caught.value.before_response


async def test_a_slow_reader_holds_the_server_back_in_bounded_memory(client: Client, peer: Peer) -> None:
    sent = 0
    total = 20_000_000

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 50_000):
            writer.write(b"x" * 50_000)
            sent += 50_000
            await writer.drain()
        await reader.read()

    peer.script = flood
    response = await client.request("GET", peer.url(), policy=LOOPBACK)
    size = most = 0
    async for chunk in response.chunks():
        size += len(chunk)
        most = max(most, response._held)
        for _ in range(3):
            await asyncio.sleep(0)
    assert size == total
    assert most < 1_500_000


async def test_server_sent_events_come_as_they_are_written(client: Client, peer: Peer) -> None:
    go_on = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            writer.write(b"9\r\ndata: %d\n\n\r\n" % number)
            await writer.drain()
            await go_on.wait()
            go_on.clear()
        writer.write(b"0\r\n\r\n")
        await reader.read()

    peer.script = stream
    limits = Limits(idle=None, total=None)
    async with await client.request("GET", peer.url(), policy=LOOPBACK, limits=limits) as response:
        events = []
        async for chunk in response.chunks():
            events.append(chunk)
            go_on.set()
    assert events == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


@pytest.mark.parametrize("at", ["head", "body"])
async def test_cancelling_closes_the_connection(client: Client, peer: Peer, at: str) -> None:
    closed = asyncio.Event()
    started = asyncio.Event()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if at == "body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
        started.set()
        try:
            await reader.read()
        finally:
            closed.set()

    async def use() -> None:
        async with await client.request("GET", peer.url(), policy=LOOPBACK) as response:
            await response.read(100)

    peer.script = half
    task = asyncio.create_task(use())
    await asyncio.wait_for(started.wait(), 5)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(closed.wait(), 5)
    await until(lambda: client.pool.counts().open == 0)


async def test_a_reader_that_waits_learns_that_the_response_was_closed(client: Client, peer: Peer) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
        await reader.read()

    peer.script = half
    response = await client.request("GET", peer.url(), policy=LOOPBACK)
    reading = asyncio.create_task(response.read(100))
    await asyncio.sleep(0)
    await response.aclose()
    await response.aclose()
    with pytest.raises(EgressError, match="closed by its reader"):
        await reading


async def test_cancelling_at_any_moment_leaks_nothing(client: Client, peer: Peer) -> None:
    before = open_descriptors()

    async def use() -> bytes:
        async with await client.request("GET", peer.url(), policy=LOOPBACK) as response:
            return await response.read(10)

    for ticks in range(40):
        task = asyncio.create_task(use())
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await use() == b"ok"
    await client.pool.aclose()
    gc.collect()
    await until(lambda: open_descriptors() <= before)
