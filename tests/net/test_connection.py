"""What one connection does with answers, honest and hostile. Driven through the pool, which is the public door."""

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callgate import clock
from callgate.net.errors import AnswerTooLarge, BadAnswer, EgressError, EgressTimeout, PeerClosed
from callgate.net.exchange import Limits
from callgate.net.pool import Pool
from callgate.net.request import build_head
from callgate.net.target import parse_target
from tests.net.support import LOOPBACK, OK, QUICK, Peer, Recorder, ShiftedClock, answers, read_request, until


def send(pool: Pool, peer: Peer, body: bytes = b"{}", limits: Limits = QUICK) -> Recorder:
    target = parse_target(peer.url("/mcp"))
    recorder = Recorder()
    recorder.ticket = pool.send(target, LOOPBACK, build_head("POST", target, (), len(body)), body, recorder, limits)
    assert recorder.calls == []  # nothing is called inside send
    return recorder


async def exchange(pool: Pool, peer: Peer, raw: bytes, *, close: bool = True, limits: Limits = QUICK) -> Recorder:
    peer.script = answers(raw, close=close)
    return await send(pool, peer, limits=limits).wait()


GOOD = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", b"hello"),
    (
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
    ),
    (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=x\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 500\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "body"), GOOD)
async def test_a_complete_answer_is_delivered_and_its_connection_used_again(pool, peer, raw, body) -> None:
    peer.script = answers(raw)
    for _ in range(3):
        recorder = await send(pool, peer).wait()
        assert recorder.body == body
        assert recorder.calls[0] == "head"
        assert recorder.calls[-1] == "end"
    assert peer.connections == 1
    assert recorder.ticket.done


@pytest.mark.parametrize(("raw", "body"), GOOD)
async def test_it_does_not_matter_how_the_bytes_are_cut(pool, peer, raw, body) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in raw:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await read_request(reader)

    peer.script = drip
    assert (await send(pool, peer).wait()).body == body


CLOSING = [
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhelloEXTRA",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloGARBAGE",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
]


@pytest.mark.parametrize("raw", CLOSING)
async def test_a_connection_that_is_not_clean_afterwards_is_not_used_again(pool, peer, raw) -> None:
    for _ in range(2):
        recorder = await exchange(pool, peer, raw)
        assert recorder.error is None
        assert recorder.body == b"hello"
        await until(lambda: pool.counts().open == 0)
    assert peer.connections == 2


MALFORMED = [
    b"garbage\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"220 smtp.example ESMTP\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX\x00Y: 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n X: 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\nContent-Length: 2\r\n\r\nok",
]


@pytest.mark.parametrize("raw", MALFORMED)
async def test_a_malformed_answer_is_an_error_and_ends_its_connection(pool, peer, raw) -> None:
    recorder = await exchange(pool, peer, raw)
    assert isinstance(recorder.error, (BadAnswer, AnswerTooLarge)), recorder.error
    assert recorder.error.request_sent
    assert recorder.calls.count("error") == 1
    assert "end" not in recorder.calls
    await until(lambda: pool.counts().open == 0)


async def test_a_compressed_answer_says_what_is_wrong(pool, peer) -> None:
    recorder = await exchange(pool, peer, b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok")
    assert "Accept-Encoding: identity" in str(recorder.error)


CUT = [
    b"",
    b"HTTP/1.1 200 OK\r\nConte",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
]


@pytest.mark.parametrize("raw", CUT)
async def test_a_connection_that_closes_in_the_middle_is_told_apart_from_one_that_never_answered(
    pool, peer, raw
) -> None:
    recorder = await exchange(pool, peer, raw)
    assert isinstance(recorder.error, PeerClosed)
    assert recorder.error.before_response is (raw == b"")
    assert recorder.error.request_sent


async def test_an_answer_that_comes_before_its_question_poisons_the_connection(pool, peer) -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()
        if peer.connections == 1:
            await until(lambda: pool.counts().idle == 1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            await writer.drain()
        await reader.read()

    peer.script = eager
    assert (await send(pool, peer).wait()).body == b"ok"
    await until(lambda: pool.counts().open == 0)
    assert (await send(pool, peer).wait()).body == b"ok"
    assert peer.connections == 2


async def test_an_early_answer_to_a_half_written_request_is_delivered_but_not_reused(pool, peer) -> None:
    async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await until(lambda: pool.counts().open == 0)

    peer.script = refuse_early
    recorder = await send(pool, peer, body=b"x" * 50_000_000).wait()
    assert recorder.status == 413, recorder.error
    await until(lambda: pool.counts().open == 0)


# --- caps ------------------------------------------------------------------------------------------------------


async def test_endless_headers_are_cut_at_the_cap(pool, peer) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Header: value\r\n" * 100)
            sent += 1700
            await writer.drain()

    peer.script = endless
    recorder = await send(pool, peer, limits=Limits(head_bytes=10_000)).wait()
    assert isinstance(recorder.error, AnswerTooLarge)
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 1000),
        (b"HTTP/1.1 200 ", b"a" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-Trailer: 1\r\n" * 50),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
    ],
)
async def test_endless_framing_of_any_kind_is_cut(pool, peer, start, more) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()

    peer.script = endless
    recorder = await send(pool, peer, limits=Limits(head_bytes=20_000)).wait()
    assert isinstance(recorder.error, AnswerTooLarge)


async def test_a_large_head_in_one_piece_is_cut_too(pool, peer) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"Content-Length: 2\r\n\r\nok"
    recorder = await exchange(pool, peer, raw, limits=Limits(head_bytes=10_000))
    assert isinstance(recorder.error, AnswerTooLarge)


async def test_an_announced_body_over_the_cap_is_refused_before_it_is_read(pool, peer) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"
    recorder = await exchange(pool, peer, raw, limits=Limits(response_bytes=1000))
    assert isinstance(recorder.error, AnswerTooLarge)
    assert recorder.calls == ["error"]


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n"])
async def test_a_body_of_unknown_length_is_cut_at_the_cap(pool, peer, head) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + head)
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    peer.script = endless
    recorder = await send(pool, peer, limits=Limits(response_bytes=100_000)).wait()
    assert isinstance(recorder.error, AnswerTooLarge)
    assert len(recorder.body) <= 100_000


async def test_a_body_of_single_byte_chunks_is_not_mistaken_for_an_attack(pool, peer) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n"
    recorder = await exchange(pool, peer, raw, limits=Limits(head_bytes=10_000))
    assert recorder.body == b"x" * 30_000


# --- time ------------------------------------------------------------------------------------------------------


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    ("raw", "limits", "phase"),
    [
        (b"", Limits(first_byte=0.3), "first_byte"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", Limits(first_byte=0.3), "first_byte"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", Limits(idle=0.3), "idle"),
        (b"", Limits(total=0.3), "total"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", Limits(total=0.3), "total"),
    ],
)
async def test_a_server_that_stops_is_given_up_by_the_limit_that_it_broke(pool, peer, raw, limits, phase) -> None:
    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await hang(reader, writer)

    peer.script = stop
    recorder = await send(pool, peer, limits=limits).wait()
    assert isinstance(recorder.error, EgressTimeout)
    assert recorder.error.phase == phase
    assert recorder.error.request_sent
    await until(lambda: pool.counts().open == 0)


@pytest.mark.parametrize(("head", "phase"), [(b"", "first_byte"), (b"HTTP/1.1 200 OK\r\n\r\n", "total")])
async def test_a_slow_drip_does_not_outlive_the_limits(pool, peer, head, phase) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head or b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    peer.script = drip
    recorder = await send(pool, peer, limits=Limits(first_byte=0.4, idle=0.4, total=0.8)).wait()
    assert isinstance(recorder.error, EgressTimeout)
    assert recorder.error.phase == phase


async def test_a_stream_without_total_limit_lives_as_long_as_it_speaks(pool, peer, monkeypatch) -> None:
    monkeypatch.setattr(clock, "monotonic", shifted := ShiftedClock())
    go_on = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(100):
            writer.write(b"data: %d\n\n" % number)
            await writer.drain()
            await asyncio.wait_for(go_on.wait(), 10)
            go_on.clear()

    peer.script = stream
    recorder = send(pool, peer, limits=Limits(first_byte=60, idle=60, total=None))
    for number in range(100):
        await until(lambda seen=number + 1: recorder.body.count(b"data:") == seen)
        shifted.ahead += 50
        pool._sweep()
        go_on.set()
    assert (await recorder.wait()).error is None


async def test_silence_does_not_count_while_the_reader_has_paused(pool, peer, monkeypatch) -> None:
    monkeypatch.setattr(clock, "monotonic", shifted := ShiftedClock())

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await hang(reader, writer)

    peer.script = stop
    recorder = send(pool, peer, limits=Limits(idle=60, total=None))
    await until(lambda: recorder.calls == ["head"])
    recorder.ticket.pause()
    shifted.ahead += 1000
    pool._sweep()
    assert recorder.error is None
    recorder.ticket.resume()
    pool._sweep()
    assert recorder.error is None
    shifted.ahead += 61
    assert isinstance((await recorder.wait()).error, EgressTimeout)


# --- back-pressure, abort and broken handlers -------------------------------------------------------------------


async def test_a_paused_ticket_stops_the_server_and_resume_goes_on(pool, peer) -> None:
    sent = 0
    total = 20_000_000

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()
        await reader.read()

    peer.script = flood
    recorder = send(pool, peer)
    await asyncio.wait_for(recorder.first_chunk.wait(), 5)
    recorder.ticket.pause()
    await until_still(lambda: sent)
    received = len(recorder.body)
    assert sent < total
    await asyncio.sleep(0.05)
    assert len(recorder.body) == received
    recorder.ticket.resume()
    assert len((await recorder.wait()).body) == total


async def test_a_ticket_may_be_paused_before_its_connection_is_open(pool, peer) -> None:
    answered = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            writer.write(OK)
            await writer.drain()
            answered.set()

    peer.script = script
    recorder = send(pool, peer)
    recorder.ticket.pause()
    await asyncio.wait_for(answered.wait(), 5)
    assert recorder.calls == []
    recorder.ticket.resume()
    assert (await recorder.wait()).body == b"ok"
    recorder.ticket.pause()  # after the end it concerns nobody
    recorder.ticket.resume()
    assert (await send(pool, peer).wait()).body == b"ok"
    assert peer.connections == 1


async def until_still(value) -> None:
    """Wait until a number stops changing."""
    async with asyncio.timeout(10):
        before = -1
        while before != value():
            before = value()
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("when", ["at once", "in on_head", "in on_chunk", "later"])
async def test_after_an_abort_nothing_is_called_and_the_connection_is_closed(pool, peer, when) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await read_request(reader)
            writer.write(raw)
            await reader.read()
        closed.set()

    peer.script = script
    recorder = send(pool, peer)
    if when == "in on_head":
        recorder.on_head = lambda status, headers: recorder.ticket.abort()
    if when == "in on_chunk":
        recorder.on_chunk = lambda data: recorder.ticket.abort()
    if when == "later":
        await asyncio.wait_for(recorder.first_chunk.wait(), 5)
    if when in {"at once", "later"}:
        recorder.ticket.abort()
    await until(lambda: recorder.ticket.done and pool.counts().open == 0)
    if when != "at once":
        await asyncio.wait_for(closed.wait(), 5)
    recorder.ticket.abort()
    assert not {"end", "error"} & set(recorder.calls)


async def test_a_handler_that_raises_hurts_only_its_own_exchange(pool, peer) -> None:
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    broken = send(pool, peer)

    def boom(data: bytes) -> None:
        raise RuntimeError("bug in a handler")

    broken.on_chunk = boom
    assert type((await broken.wait()).error) is EgressError
    assert (await send(pool, peer).wait()).body == b"ok"
    assert isinstance(reported[0]["exception"], RuntimeError)


# --- fuzz ------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404 \r\n",
        b"HTTP/1.1 100 \r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"x: y\r\n",
        b"\r\n",
        b"\n",
        b"\x00",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=20), max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_end_in_exactly_one_outcome_and_leave_nothing_open(pieces) -> None:
    """Property: whatever the server writes, in whatever pieces, the handler hears one end and the pool is empty."""

    async def scenario() -> None:
        peer, pool = Peer(), Pool()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)

        peer.script = script
        await peer.start()
        recorder = await send(pool, peer).wait()
        ends = recorder.calls.count("end") + recorder.calls.count("error")
        assert ends == 1
        assert recorder.calls[-1] in {"end", "error"}
        assert recorder.calls.count("head") <= 1
        await until(lambda: pool.counts().open == 0)
        await pool.aclose()
        await peer.stop()

    asyncio.run(scenario())
