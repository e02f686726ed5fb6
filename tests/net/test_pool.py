"""Sharing of connections: reuse, bounds, stale ones, rebinding, no leak."""

import asyncio
import gc
from ipaddress import ip_network

import pytest

from callgate import clock
from callgate.net.errors import (
    ConnectFailed,
    EgressError,
    EgressRefused,
    EgressTimeout,
    PeerClosed,
    PoolFull,
    ResolveFailed,
)
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool, PoolBounds
from callgate.net.request import build_head
from callgate.net.resolve import Resolver
from callgate.net.target import parse_target
from tests.net.support import (
    LOOPBACK,
    OK,
    QUICK,
    Peer,
    Recorder,
    ShiftedClock,
    answers,
    open_descriptors,
    read_request,
    until,
)


def send(pool: Pool, url: str, policy: TargetPolicy = LOOPBACK, limits: Limits = QUICK) -> Recorder:
    target = parse_target(url)
    recorder = Recorder()
    recorder.ticket = pool.send(target, policy, build_head("GET", target, (), 0), b"", recorder, limits)
    return recorder


async def test_an_idle_connection_is_written_to_in_the_same_tick(pool: Pool, peer: Peer) -> None:
    await send(pool, peer.url()).wait()
    assert pool.counts().idle == 1
    recorder = send(pool, peer.url())
    assert pool.counts().idle == 0
    assert recorder.ticket.carrier is not None
    assert (await recorder.wait()).body == b"ok"
    assert peer.connections == 1


async def test_a_handler_may_send_from_on_end_on_the_same_connection(pool: Pool, peer: Peer) -> None:
    chain = []

    def again() -> None:
        if len(chain) < 50:
            recorder = send(pool, peer.url())
            recorder.on_end = again
            chain.append(recorder)

    first = send(pool, peer.url())
    first.on_end = again
    await until(lambda: len(chain) == 50 and chain[-1].ticket.done)
    assert peer.connections == 1


async def test_parallel_requests_take_a_connection_each_up_to_the_bound_and_the_rest_wait(peer: Peer) -> None:
    pool = Pool(bounds=PoolBounds(per_origin=4, idle_per_origin=4))
    gate = asyncio.Event()

    async def gated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(OK)

    peer.script = gated
    recorders = [send(pool, peer.url()) for _ in range(20)]
    await until(lambda: peer.connections == 4)
    assert pool.counts().open == 4
    assert pool.counts().waiting == 16
    gate.set()
    for recorder in recorders:
        assert (await recorder.wait()).body == b"ok"
    assert peer.connections == 4
    assert pool.counts().waiting == 0
    await pool.aclose()


async def test_more_waiting_than_the_bound_is_refused_at_once(peer: Peer) -> None:
    pool = Pool(bounds=PoolBounds(per_origin=1, waiting=1))
    peer.script = never
    first, second, third = (send(pool, peer.url()) for _ in range(3))
    assert third.error is None  # never inside send
    assert isinstance((await third.wait()).error, PoolFull)
    assert not third.error.request_sent
    await pool.aclose()
    assert isinstance((await second.wait()).error, EgressError)
    assert not second.error.request_sent
    await first.wait()


async def test_waiting_is_bounded_in_time(peer: Peer) -> None:
    pool = Pool(bounds=PoolBounds(per_origin=1))
    peer.script = never
    first = send(pool, peer.url())
    second = await send(pool, peer.url(), limits=Limits(connect=0.3)).wait()
    assert isinstance(second.error, EgressTimeout)
    assert second.error.phase == "connect"
    assert not second.error.request_sent
    first.ticket.abort()
    await pool.aclose()


async def test_an_aborted_waiter_gives_its_place_up(peer: Peer) -> None:
    pool = Pool(bounds=PoolBounds(per_origin=1))
    gate = asyncio.Event()

    async def gated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(OK)

    peer.script = gated
    first, second, third = (send(pool, peer.url()) for _ in range(3))
    second.ticket.abort()
    gate.set()
    assert (await first.wait()).body == b"ok"
    assert (await third.wait()).body == b"ok"
    assert second.calls == []
    await pool.aclose()


async def test_a_full_pool_closes_an_idle_connection_of_another_origin() -> None:
    peers = [Peer() for _ in range(3)]
    for peer in peers:
        await peer.start()
    pool = Pool(bounds=PoolBounds(total=2))
    for peer in peers:
        assert (await send(pool, peer.url()).wait()).body == b"ok"
        assert pool.counts().open <= 2
    recorders = [send(pool, peer.url()) for peer in peers * 10]
    for recorder in recorders:
        assert (await recorder.wait()).body == b"ok"
    await pool.aclose()
    for peer in peers:
        await peer.stop()


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


# --- connections that went stale --------------------------------------------------------------------------------


async def test_a_connection_that_the_server_closed_while_idle_is_not_used(pool: Pool, peer: Peer) -> None:
    peer.script = answers(OK, close=True)
    for _ in range(5):
        assert (await send(pool, peer.url()).wait()).body == b"ok"
        await until(lambda: pool.counts().open == 0)
    assert peer.connections == 5


async def test_a_connection_that_died_unnoticed_is_found_out_before_it_is_used(pool, peer, monkeypatch) -> None:
    """The loop has not read the end of the connection yet; a look at the socket shows it, and nothing is lost."""
    monkeypatch.setattr(clock, "monotonic", shifted := ShiftedClock())
    dying = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await dying.wait()

    peer.script = once
    await send(pool, peer.url()).wait()
    (connection,) = pool._connections
    connection._transport.pause_reading()  # as if the loop were busy
    dying.set()
    await until(connection._readable)
    shifted.ahead += 2
    peer.script = answers(OK)
    assert (await send(pool, peer.url()).wait()).body == b"ok"
    assert peer.connections == 2


async def test_a_connection_that_dies_under_a_written_request_is_reported_and_not_repeated(pool, peer) -> None:
    requests = []

    async def die_on_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(OK)
        requests.append(await read_request(reader))
        writer.transport.abort()

    peer.script = die_on_second
    await send(pool, peer.url()).wait()
    recorder = await send(pool, peer.url()).wait()
    assert isinstance(recorder.error, PeerClosed)
    assert recorder.error.before_response
    assert recorder.error.request_sent
    assert len(requests) == 2
    assert peer.connections == 1


async def test_idle_connections_are_closed_after_their_time(pool, peer, monkeypatch) -> None:
    monkeypatch.setattr(clock, "monotonic", shifted := ShiftedClock())
    await send(pool, peer.url()).wait()
    shifted.ahead += 29
    pool._sweep()
    assert pool.counts().idle == 1
    shifted.ahead += 2
    await until(lambda: pool.counts().open == 0)
    await until(lambda: pool.counts().origins == 0)


async def test_a_server_that_promises_less_is_believed(pool, peer, monkeypatch) -> None:
    monkeypatch.setattr(clock, "monotonic", shifted := ShiftedClock())
    peer.script = answers(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 2\r\n\r\nok")
    await send(pool, peer.url()).wait()
    shifted.ahead += 4.5
    assert (await send(pool, peer.url()).wait()).body == b"ok"
    assert peer.connections == 2


# --- names, rebinding and policies -------------------------------------------------------------------------------


class Names:
    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str) -> list[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


ONLY_FIRST = TargetPolicy(allowed_networks=(ip_network("127.0.0.1/32"),))


async def test_the_connection_goes_to_the_checked_address_and_no_second_question_is_asked(peer: Peer) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    pool = Pool(Resolver(names))
    url = peer.url(host="rebind.example")
    for _ in range(3):
        assert (await send(pool, url, ONLY_FIRST).wait()).body == b"ok"
    assert names.asked == 1
    await pool.aclose()


async def test_a_name_that_rebinds_to_a_forbidden_address_is_cut_off(peer: Peer) -> None:
    """The open connection leads to a checked address, so the call that finds out may use it; no later one."""
    pool = Pool(Resolver(Names(["127.0.0.1"], ["127.0.0.2"]), ttl=0))
    url = peer.url(host="rebind.example")
    assert (await send(pool, url, ONLY_FIRST).wait()).body == b"ok"
    assert (await send(pool, url, ONLY_FIRST).wait()).body == b"ok"
    await until(lambda: pool.counts().open == 0)
    recorder = await send(pool, url, ONLY_FIRST).wait()
    assert isinstance(recorder.error, EgressRefused)
    assert not recorder.error.request_sent
    assert peer.connections == 1
    await pool.aclose()


async def test_a_name_that_moves_takes_new_connections_to_the_new_address(peer: Peer) -> None:
    other = Peer(script=answers(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"), host="127.0.0.2", port=peer.port)
    await other.start()
    pool = Pool(Resolver(Names(["127.0.0.1"], ["127.0.0.2"]), ttl=0))
    url = peer.url(host="moving.example")
    bodies = []
    while not bodies or bodies[-1] != b"new":
        assert len(bodies) < 5
        bodies.append((await send(pool, url).wait()).body)
        await until(lambda: not pool._tasks)
    await pool.aclose()
    await other.stop()


async def test_a_name_server_that_fails_for_a_while_does_not_cost_open_connections(peer: Peer) -> None:
    pool = Pool(Resolver(Names(["127.0.0.1"], OSError("no name server")), ttl=0))
    url = peer.url(host="a.example")
    for _ in range(5):
        assert (await send(pool, url).wait()).body == b"ok"
        await until(lambda: not pool._tasks)
    assert peer.connections == 1
    await pool.aclose()


async def test_connections_are_never_shared_between_policies(pool: Pool, peer: Peer) -> None:
    assert (await send(pool, peer.url(), LOOPBACK).wait()).body == b"ok"
    recorder = await send(pool, peer.url(), TargetPolicy()).wait()
    assert isinstance(recorder.error, EgressRefused)
    assert "loopback" in recorder.error.reason


async def test_an_address_that_does_not_answer_leaves_room_for_the_next_one(peer: Peer) -> None:
    pool = Pool(Resolver(Names(["127.0.0.3", "127.0.0.1"])))
    assert (await send(pool, peer.url(host="two.example")).wait()).body == b"ok"
    await pool.aclose()


async def test_nobody_listening_is_a_clear_error_and_nothing_was_sent(pool: Pool, peer: Peer) -> None:
    await peer.stop()
    recorder = await send(pool, peer.url()).wait()
    assert isinstance(recorder.error, ConnectFailed)
    assert "refused" in str(recorder.error).lower()
    assert not recorder.error.request_sent
    await peer.start()


async def test_an_unknown_name_is_a_clear_error(peer: Peer) -> None:
    pool = Pool(Resolver(Names(OSError(-2, "Name or service not known"))))
    recorder = await send(pool, peer.url(host="no.example")).wait()
    assert isinstance(recorder.error, ResolveFailed)
    assert str(recorder.error) == "The host name no.example has no address: Name or service not known."
    await pool.aclose()


async def test_a_resolver_that_hangs_is_bounded_by_the_connect_limit(peer: Peer) -> None:
    async def hang(host: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    pool = Pool(Resolver(hang))
    recorder = await send(pool, peer.url(host="slow.example"), limits=Limits(connect=0.2)).wait()
    assert isinstance(recorder.error, EgressTimeout)
    assert recorder.error.phase == "connect"
    await pool.aclose()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


# --- endurance --------------------------------------------------------------------------------------------------


async def test_thousands_of_requests_good_and_bad_leak_nothing(peer: Peer) -> None:
    kinds = [OK, b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", OK + b"extra"]
    count = 0

    async def mixed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while True:
            await read_request(reader)
            count += 1
            raw = kinds[count // 7 % len(kinds)]
            writer.write(raw)
            if raw != OK:
                return

    peer.script = mixed
    pool = Pool(bounds=PoolBounds(per_origin=16))
    before = open_descriptors()
    outcomes = {"end": 0, "error": 0, "aborted": 0}
    for batch in range(60):
        recorders = [send(pool, peer.url()) for _ in range(50)]
        for recorder in recorders[:: 5 + batch % 3]:
            recorder.ticket.abort()
            outcomes["aborted"] += 1
        for recorder in recorders:
            if not recorder.ticket.done or recorder.calls:
                await recorder.wait()
                outcomes[recorder.calls[-1]] += 1
    assert sum(outcomes.values()) == 3000
    assert min(outcomes.values()) > 100
    assert pool.counts().waiting == 0
    await pool.aclose()
    assert pool.counts().open == 0
    await until(lambda: open_descriptors() <= before)


async def test_aborting_at_any_moment_of_connecting_leaks_no_socket(peer: Peer) -> None:
    pool = Pool()
    before = open_descriptors()
    for ticks in range(30):
        recorders = [send(pool, peer.url(host="localhost")) for _ in range(5)]
        for _ in range(ticks):
            await asyncio.sleep(0)
        for recorder in recorders:
            recorder.ticket.abort()
    await pool.aclose()
    gc.collect()
    await until(lambda: open_descriptors() <= before)


async def test_a_closed_pool_refuses_and_fails_what_runs(peer: Peer) -> None:
    pool = Pool()
    peer.script = never
    running = send(pool, peer.url())
    await until(lambda: peer.connections == 1)
    await pool.aclose()
    await pool.aclose()
    assert (await running.wait()).error.request_sent
    late = await send(pool, peer.url()).wait()
    assert "shutting down" in str(late.error)
    assert not late.error.request_sent


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "TRACE", "get", "GET /x"])
def test_a_method_that_is_not_known_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        build_head(method, parse_target("http://a.example/"), (), 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X\r\nY", "1"),
        ("X Y", "1"),
        ("", "1"),
        ("X", "a\r\nY: 1"),
        ("X", "a\nb"),
        ("X", "a\x00"),
        ("X", "a\x7f"),
        ("X", "\u2028"),
        ("Host", "x"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "x"),
    ],
)
def test_a_header_that_could_smuggle_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        build_head("GET", parse_target("http://a.example/"), [(name, value)], 0)


def test_a_head_is_complete() -> None:
    target = parse_target("https://a.example:8443/mcp?x=1")
    assert build_head("POST", target, [("Accept", "application/json")], 2) == (
        b"POST /mcp?x=1 HTTP/1.1\r\nHost: a.example:8443\r\nAccept-Encoding: identity\r\n"
        b"Accept: application/json\r\nContent-Length: 2\r\n\r\n"
    )
