"""A call goes on where its client's retry lands, although another replica holds the upstream's exchange."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from callgate.call.model import InputRequest, Waiting
from callgate.credentials.replica_key import ReplicaKey
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.mcp import inflight, remote
from callgate.mcp.inflight import InFlight, cancel_key
from callgate.store.engine import Database
from callgate.upstreams.exchange import Answered, Ask, Exchange, Failed, Notice, Piece, Sent
from callgate.upstreams.inbox import Inbox
from callgate.wire import eras
from tests.call.world import ANA, PlainSealer
from tests.support.replicas import fleet


class Upstream(Inbox):
    """An exchange that asks again after the first answer, and ends after the second."""

    def __init__(self) -> None:
        super().__init__(eras.LEGACY, b"1")
        self.replies: list[tuple[bytes, bytes]] = []
        self.cancelled = asyncio.Event()
        self.closed = asyncio.Event()

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        self.replies.append((ask_id, reply))
        again = Ask(b'"second"', "roots/list", b"{}")
        self.emit(again if len(self.replies) == 1 else Answered("result", b'{"content":[]}'))

    async def cancel(self) -> None:
        self.cancelled.set()

    async def aclose(self) -> None:
        self.over = True
        self.closed.set()


@asynccontextmanager
async def replica(db: Database, name: str) -> AsyncIterator[InFlight]:
    key = ReplicaKey.generate(b"shared")
    async with fleet(db, name, key=key):
        mail = Mail(db, name, key)
        found = InFlight(name, mail, PlainSealer())
        await mail.start()
        try:
            yield found
        finally:
            await mail.stop()
            await found.close()


@pytest.fixture
async def pg(pg_url: str) -> AsyncIterator[Database]:
    found = await Database.open(pg_url)
    yield found
    await found.close()


def waiting(replica: str, **more: Any) -> Waiting:
    values: dict[str, Any] = {
        "tenant": ANA.tenant,
        "person": ANA.person,
        "exchange": "cal_1",
        "ask_id": '"first"',
        **more,
    }
    return Waiting(digest="", expires=0.0, upstream="ups_1", replica=replica, **values)


async def test_answers_travel_to_the_holder_and_events_come_back(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        upstream = Upstream()
        holder.suspend("cal_1", ANA, upstream)
        exchange = await other.remote.resume(waiting("rep_a"), b'{"result":{}}')
        seen = []
        async for event in exchange:
            seen.append(event)
            if isinstance(event, Ask):
                await exchange.answer(event.id, b'{"result":{"roots":[]}}')
        assert seen == [Ask(b'"second"', "roots/list", b"{}"), Answered("result", b'{"content":[]}')]
        assert upstream.replies == [(b'"first"', b'{"result":{}}'), (b'"second"', b'{"result":{"roots":[]}}')]


@pytest.mark.parametrize("wrong", [{"person": "per_bob"}, {"exchange": "cal_2"}])
async def test_what_is_not_suspended_for_this_person_fails(pg: Database, wrong: dict[str, str]) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        upstream = Upstream()
        holder.suspend("cal_1", ANA, upstream)
        exchange = await other.remote.resume(waiting("rep_a", **wrong), b"{}")
        assert [type(event) async for event in exchange] == [Failed]
        assert upstream.replies == []


async def test_a_cancel_reaches_the_upstream_through_its_holder(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        upstream = Upstream()
        holder.suspend("cal_1", ANA, upstream)
        exchange = await other.remote.resume(waiting("rep_a"), b"{}")
        async for _ in exchange:
            break
        await exchange.cancel()
        await upstream.cancelled.wait()


async def test_a_holder_that_is_gone_is_said_at_once(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_b") as other:
        with pytest.raises(Refused) as caught:
            await other.remote.resume(waiting("rep_gone"), b"{}")
        assert caught.value.code == "upstream_broke_off"


BEGIN = remote.Begin("ups_1", "s1", b"{}", Sent("tasks/get", b'{"taskId":"own"}', name="own"))


async def test_a_request_begins_in_the_conversation_of_its_holder(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        upstream, begun = Upstream(), []

        async def begin(tenant: str, person: str, wanted: remote.Begin) -> Exchange:
            begun.append((tenant, person, wanted))
            upstream.emit(Ask(b"1", "roots/list", b"{}"))
            return upstream

        holder.beginner = begin
        exchange = await other.remote.begin("rep_a", ANA.key, BEGIN)
        assert exchange is not None
        seen = []
        async for event in exchange:
            seen.append(type(event))
            if isinstance(event, Ask):
                await exchange.answer(event.id, b'{"result":{}}')
        assert begun == [(*ANA.key, BEGIN)]
        assert seen == [Ask, Ask, Answered]


async def test_a_request_that_cannot_begin_fails_with_the_holders_reason(pg: Database) -> None:
    async def begin(tenant: str, person: str, wanted: remote.Begin) -> Exchange:
        raise Refused("upstream_timeout", "Too slow.")

    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        for beginner, failed in ((None, "upstream_unavailable"), (begin, "upstream_timeout")):
            holder.beginner = beginner
            exchange = await other.remote.begin("rep_a", ANA.key, BEGIN)
            assert exchange is not None
            (event,) = [event async for event in exchange]
            assert isinstance(event, Failed)
            assert event.code == failed
        assert await other.remote.begin("rep_gone", ANA.key, BEGIN) is None


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_an_exchange_that_is_given_up_is_given_up_where_it_is_held(pg: Database, how: str) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        upstream = Upstream()
        holder.suspend("cal_1", ANA, upstream)
        exchange = await other.remote.resume(waiting("rep_a"), b"{}")
        await anext(aiter(exchange))
        await (exchange.cancel() if how == "cancel" else exchange.aclose())
        await upstream.closed.wait()
        assert upstream.cancelled.is_set() is (how == "cancel")
        assert holder.remote._lent == {}


async def test_a_holder_that_dies_in_the_middle_ends_the_call(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WATCH_SECONDS", 0.05)
    async with asyncio.timeout(30), replica(pg, "rep_b") as other:
        async with replica(pg, "rep_a") as holder:
            holder.suspend("cal_1", ANA, Upstream())
            exchange = await other.remote.resume(waiting("rep_a"), b"{}")
            events = aiter(exchange)
            assert isinstance(await anext(events), Ask)
        assert await anext(events) == Failed("upstream_broke_off", remote.GONE)
        await exchange.answer(b"1", b"{}")  # for nobody


async def test_an_answer_for_a_replica_that_has_gone_fails_the_exchange(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_b") as other:
        async with replica(pg, "rep_a") as holder:
            holder.suspend("cal_1", ANA, Upstream())
            exchange = await other.remote.resume(waiting("rep_a"), b"{}")
            events = aiter(exchange)
            assert isinstance(await anext(events), Ask)
        await exchange.answer(b'"second"', b"{}")
        assert isinstance(await anext(events), Failed)


async def test_what_nobody_reads_is_bounded(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_WAITING", 1000)
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        upstream = Upstream()
        holder.suspend("cal_1", ANA, upstream)
        exchange = await other.remote.resume(waiting("rep_a"), b"{}")
        for _ in range(5):
            upstream.emit(Piece(b"x" * 600))
        await upstream.closed.wait()
        events = [event async for event in exchange]
        assert [event.code for event in events if isinstance(event, Failed)] == ["upstream_too_large"]
        assert sum(isinstance(event, Piece) for event in events) == 2


async def test_when_the_asking_replica_is_gone_the_upstream_is_told_to_stop(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder:
        upstream = Upstream()
        holder.suspend("cal_1", ANA, upstream)
        async with replica(pg, "rep_b") as other:
            exchange = await other.remote.resume(waiting("rep_a"), b"{}")
            await anext(aiter(exchange))
        upstream.emit(Notice("notifications/progress", b"{}"))
        await upstream.cancelled.wait()


async def test_a_person_keeps_so_many_exchanges_waiting_and_no_more(
    pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(inflight, "MAX_SUSPENDED", 2)
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder:
        first, second, third, other = (Upstream() for _ in range(4))
        holder.suspend("1", ANA, first)
        holder.suspend("2", msgspec.structs.replace(ANA, person="per_bob"), other)
        holder.suspend("3", ANA, second)
        holder.suspend("4", ANA, third)
        await first.cancelled.wait()
        assert holder.take("3", ANA.key) is second
        assert holder.take("4", ANA.key) is third
        with pytest.raises(Refused):
            holder.take("1", ANA.key)


async def test_an_exchange_that_nobody_comes_back_for_is_cancelled(
    pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(inflight, "LIFETIME", 0.01)
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder:
        upstream = Upstream()
        holder.suspend("1", ANA, upstream)
        await upstream.cancelled.wait()
        with pytest.raises(Refused):
            holder.take("1", ANA.key)


async def test_a_later_call_with_the_same_id_stays_cancellable(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder:
        key = cancel_key(ANA, None, b"1")
        told: list[str] = []
        first, second = (lambda: told.append("first")), (lambda: told.append("second"))
        holder.register(key, first)
        holder.register(key, second)
        holder.unregister(key, first)
        await holder.cancel(key)
        assert told == ["second"]
        assert cancel_key(msgspec.structs.replace(ANA, token="tok_2"), None, b"1") != key


async def test_an_answer_and_a_cancel_find_their_call_on_the_replica_that_holds_it(pg: Database) -> None:
    async with asyncio.timeout(30), replica(pg, "rep_a") as holder, replica(pg, "rep_b") as other:
        answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        cancelled = asyncio.Event()
        question = InputRequest("q1", "roots/list", b"{}")
        holder.expect("cal_1", lambda key, reply: answers.put_nowait((key, reply)))
        holder.register(cancel_key(ANA, "s", b"7"), cancelled.set)
        await other.answer(ANA, holder.question_id(ANA, "cal_1", question), b'{"result":{}}')
        assert await answers.get() == ("q1", b'{"result":{}}')
        await other.cancel(cancel_key(ANA, "s", b"7"))
        await cancelled.wait()
        with pytest.raises(Refused):
            await other.answer(ANA, "forged", b"{}")
