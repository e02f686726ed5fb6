"""A call goes on where its client's retry lands, although another replica holds the upstream's exchange."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callgate.call.model import InputRequest, Waiting
from callgate.credentials.replica_key import ReplicaKey
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.mcp.inflight import InFlight, cancel_key
from callgate.store.engine import Database
from callgate.upstreams.exchange import Answered, Ask, Failed
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

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        self.replies.append((ask_id, reply))
        again = Ask(b'"second"', "roots/list", b"{}")
        self.emit(again if len(self.replies) == 1 else Answered("result", b'{"content":[]}'))

    async def cancel(self) -> None:
        self.cancelled.set()

    async def aclose(self) -> None:
        self.over = True


@asynccontextmanager
async def replica(db: Database, name: str) -> AsyncIterator[InFlight]:
    key = ReplicaKey.generate(b"shared")
    async with fleet(db, name, key=key):
        mail = Mail(db, name, key)
        inflight = InFlight(name, mail, PlainSealer())
        await mail.start()
        try:
            yield inflight
        finally:
            await mail.stop()
            await inflight.close()


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
