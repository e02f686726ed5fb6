"""What handshake-era servers say on the GET stream of a session, and whose it is."""

import asyncio
from typing import Any

from callgate.upstreams import hearing
from callgate.upstreams.exchange import Answered, Ask, Event, Exchange, Notice, Sent
from tests.upstreams.scripted import ASKING, Answering, Asked, Legacy, Scripted, at, peer, pooled, reply, value

CALL = Sent("tools/call", b'{"name":"t"}', name="t")


class Talker:
    """A server that speaks on its GET streams; calls end when they are released."""

    def __init__(self) -> None:
        self.streams: dict[str, Answering] = {}
        self.opened = asyncio.Event()
        self.replies: dict[Any, Any] = {}
        self.replied = asyncio.Condition()
        self.release: dict[Any, asyncio.Event] = {}
        self.legacy = Legacy(self.call, hear=self.hear)

    async def handle(self, asked: Asked, answering: Answering) -> None:
        if asked.method == "POST" and "method" not in asked.rpc:
            async with self.replied:
                self.replies[asked.rpc["id"]] = asked.rpc.get("result", asked.rpc.get("error"))
                self.replied.notify_all()
        await self.legacy(asked, answering)

    async def hear(self, asked: Asked, answering: Answering) -> None:
        await answering.stream()
        self.streams[asked.headers["mcp-session-id"]] = answering
        self.opened.set()
        await answering.until_gone()

    async def call(self, asked: Asked, answering: Answering) -> None:
        if asked.rpc["method"] == "tools/call":
            await self.released(asked.rpc["params"]["name"])
        await answering.result(asked, {})

    def released(self, name: str) -> Any:
        return self.release.setdefault(name, asyncio.Event()).wait()

    def let(self, name: str) -> None:
        self.release.setdefault(name, asyncio.Event()).set()

    async def say(self, message: dict[str, Any], session: str = "s1") -> None:
        await self.streams[session].event({"jsonrpc": "2.0", **message})

    async def until_replied(self, id_: Any) -> Any:
        async with asyncio.timeout(10), self.replied:
            await self.replied.wait_for(lambda: id_ in self.replies)
        return self.replies[id_]


def named(name: str) -> Sent:
    return Sent("tools/call", b'{"name":"%b"}' % name.encode(), name=name, progress=True)


async def first(exchange: Exchange) -> Event:
    async with asyncio.timeout(10):
        return await anext(aiter(exchange))


async def test_a_question_on_the_get_stream_goes_to_the_one_call_in_flight() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a"))
        await server.until("tools/call")
        await talker.say({"id": 5, "method": "roots/list"})
        asked = await first(exchange)
        assert asked == Ask(b"5", "roots/list", b"{}")
        await exchange.answer(b"5", b'{"result":{"roots":[{"uri":"file:///x"}]}}')
        assert await talker.until_replied(5) == {"roots": [{"uri": "file:///x"}]}
        talker.let("a")
        assert await value(exchange) == {}


async def test_a_question_with_several_calls_in_flight_waits_until_one_is_left() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        one = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a"))
        two = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("b"))
        await server.until("tools/call", 2)
        await talker.say({"id": 5, "method": "elicitation/create", "params": {"message": "?"}})
        talker.let("a")
        assert await value(one) == {}
        assert await first(two) == Ask(b"5", "elicitation/create", b'{"message": "?"}')
        talker.let("b")


async def test_questions_that_may_block_every_call_in_flight_are_refused() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        for name in "ab":
            await upstreams.start(at(server.url), peer(capabilities=ASKING), named(name))
        await server.until("tools/call", 2)
        for number in (5, 6):
            await talker.say({"id": number, "method": "sampling/createMessage", "params": {}})
        assert (await talker.until_replied(5))["code"] == -32601
        assert (await talker.until_replied(6))["code"] == -32601


async def test_questions_outside_of_any_call_are_answered_by_the_gateway() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        talker.let("a")
        await value(await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a")))
        await talker.say({"id": 1, "method": "ping"})
        await talker.say({"id": 2, "method": "roots/list"})
        await talker.say({"id": 3, "method": "elicitation/create", "params": {}})
        assert await talker.until_replied(1) == {}
        assert await talker.until_replied(2) == {"roots": []}
        assert (await talker.until_replied(3))["code"] == -32601


async def test_progress_on_the_get_stream_finds_its_call_by_the_token() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        one = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a"))
        two = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("b"))
        asked = await server.until("tools/call", 2)
        token = asked.rpc["params"]["_meta"]["progressToken"]
        other = one if asked.rpc["params"]["name"] == "b" else two
        right = two if other is one else one
        await talker.say({"method": "notifications/progress", "params": {"progressToken": "x", "progress": 1}})
        await talker.say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
        found = await first(right)
        assert isinstance(found, Notice)
        assert found.method == "notifications/progress"
        for name in "ab":
            talker.let(name)
        assert isinstance(await first(other), Answered)


async def test_a_get_stream_that_breaks_comes_back_after_the_last_event() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a"))
        await talker.streams["s1"].chunk(b"id: e9\nretry: 10\ndata: {}\n\n")
        talker.opened.clear()
        await talker.streams["s1"].hang_up()
        async with asyncio.timeout(10):
            await talker.opened.wait()
        assert server.seen("GET")[1].headers["last-event-id"] == "e9"
        await talker.say({"id": 5, "method": "roots/list"})
        assert isinstance(await first(exchange), Ask)


async def test_a_get_stream_that_finds_the_session_gone_ends_the_conversation() -> None:
    talker = Talker()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        talker.let("a")
        await value(await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a")))
        talker.legacy.sessions.clear()
        await talker.streams["s1"].hang_up()
        await server.until("GET", 2)
        await value(await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a")))
        assert len(server.seen("initialize")) == 2


async def test_a_server_without_a_get_stream_is_asked_for_it_once() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        for _ in range(3):
            await value(await upstreams.start(at(server.url), peer(capabilities=ASKING), CALL))
        assert len(server.seen("GET")) == 1


async def test_who_can_be_asked_nothing_needs_no_get_stream() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        await value(await upstreams.start(at(server.url), peer(), CALL))
        assert not server.seen("GET")


async def test_a_change_that_a_clients_conversation_hears_is_passed_on() -> None:
    talker, heard = Talker(), asyncio.Queue[str]()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        upstreams.on_change = lambda upstream, method: heard.put_nowait(f"{upstream.id} {method}")
        exchange = await upstreams.start(at(server.url), peer(capabilities=ASKING), named("a"))
        await talker.say({"method": "notifications/tools/list_changed"})
        async with asyncio.timeout(10):
            assert await heard.get() == "up1 notifications/tools/list_changed"
        await exchange.aclose()


async def test_resource_updates_reach_each_follower_and_the_last_one_unsubscribes(monkeypatch: Any) -> None:
    monkeypatch.setattr(hearing, "FIRST_WAIT", 0.05)
    talker = Talker()
    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with Scripted(talker.handle).running() as server, pooled() as upstreams:
        stops = [
            await upstreams.subscribe(at(server.url), peer(capabilities=ASKING), uri, got.put_nowait)
            for uri in ("a://1", "a://1", "a://2")
        ]
        await server.until("resources/subscribe", 2)
        async with asyncio.timeout(10):
            await talker.opened.wait()
        for uri in ("a://1", "a://2", "a://3"):
            await talker.say({"method": "notifications/resources/updated", "params": {"uri": uri, "x": 1}})
        async with asyncio.timeout(10):
            assert sorted([await got.get() for _ in range(3)]) == [
                b'{"uri": "a://1", "x": 1}',
                b'{"uri": "a://1", "x": 1}',
                b'{"uri": "a://2", "x": 1}',
            ]
        assert len(server.seen("resources/subscribe")) == 2
        await stops[0]()
        assert not server.seen("resources/unsubscribe")
        await stops[1]()
        await stops[2]()
        gone = [one.rpc["params"]["uri"] for one in server.seen("resources/unsubscribe")]
        assert gone == ["a://1", "a://2"]


async def test_discovery_of_a_server_that_asks_meanwhile_is_not_held_up() -> None:
    answered = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": {}})
        await answered.wait()
        await answering.event(reply(asked, {"tools": []}))
        await answering.end()

    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("id") == 9:
            answered.set()
        await legacy(asked, answering)

    legacy = Legacy(call)
    async with Scripted(handle).running() as server, pooled() as upstreams, asyncio.timeout(20):
        assert (await upstreams.discovery(at(server.url))).items == ()
