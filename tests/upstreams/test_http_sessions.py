"""Streamable HTTP towards upstreams: sessions that are forgotten, resumed streams, questions, the end."""

import asyncio
import json
from typing import Any

import pytest

from callgate.upstreams.exchange import Answered, Ask, Failed, Notice, Peer, Sent
from callgate.upstreams.ports import Credential
from tests.upstreams.scripted import (
    ASKING,
    Answering,
    Asked,
    Handler,
    Legacy,
    Scripted,
    at,
    events,
    last,
    modern,
    peer,
    pooled,
    reply,
    value,
)

CALL = Sent("tools/call", b'{"name":"t","arguments":{"n":9007199254740993}}', name="t")


async def run(handle: Handler, sent: Sent = CALL, who: Peer | None = None, **more: Any) -> list[Any]:
    """One call of a scripted server: its events."""
    async with Scripted(handle).running() as server, pooled(**more) as upstreams:
        return await events(await upstreams.start(at(server.url), who or peer(), sent))


# -- sessions that are forgotten ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", [404, 400])
async def test_a_forgotten_session_is_opened_anew_and_the_refused_call_sent_once_more(unknown: int) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"session": asked.headers["mcp-session-id"]})

    legacy = Legacy(call, unknown=unknown)
    async with Scripted(legacy).running() as server, pooled() as upstreams:
        await value(await upstreams.start(at(server.url), peer(), CALL))
        legacy.sessions.clear()
        both = await asyncio.gather(*(upstreams.start(at(server.url), peer(), CALL) for _ in range(2)))
        assert [await value(one) for one in both] == [{"session": "s2"}] * 2
        assert len(server.seen("initialize")) == 2


async def test_a_session_that_is_always_unknown_ends_in_a_failure_not_in_a_loop() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(b"", 404)

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(at(server.url), peer(), CALL))
        assert len(server.seen("tools/call")) == 2
    assert isinstance(end, Failed)
    assert not end.may_have_run


async def test_an_ordinary_error_with_status_400_is_no_lost_session() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32602,"message":"x"}}' % asked.id, 400)

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(at(server.url), peer(), CALL))
        assert len(server.seen("tools/call")) == 1
    assert isinstance(end, Answered)
    assert end.kind == "error"


async def test_a_call_whose_stream_died_is_not_repeated() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        answering.abort()

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(at(server.url), peer(), CALL))
        assert len(server.seen("tools/call")) == 1
    assert isinstance(end, Failed)
    assert end.may_have_run


async def test_an_upstream_that_turns_from_modern_to_legacy_is_probed_again() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    async with Scripted(modern(call)).running() as server, pooled() as upstreams:
        assert (await upstreams.start(at(server.url), peer(), CALL)).era == "modern"
        server.handle = Legacy(call)
        end = await last(await upstreams.start(at(server.url), peer(), CALL))
        assert isinstance(end, Failed)
        assert not end.may_have_run
        exchange = await upstreams.start(at(server.url), peer(), CALL)
        assert exchange.era == "legacy"
        assert await value(exchange) == {}


# -- streams that are taken up again -----------------------------------------------------------------------------------


async def test_a_stream_that_the_server_closes_after_an_event_id_is_taken_up_again() -> None:
    waiting: list[Asked] = []

    async def call(asked: Asked, answering: Answering) -> None:
        waiting.append(asked)
        await answering.stream()
        await answering.chunk(b"id: e1\nretry: 50\ndata:\n\n")
        await answering.end()

    async def hear(asked: Asked, answering: Answering) -> None:
        assert asked.headers["last-event-id"] == "e1"
        await answering.stream()
        await answering.event(reply(waiting[0], {"late": True}), "e2")
        await answering.end()

    async with Scripted(Legacy(call, hear=hear)).running() as server, pooled() as upstreams:
        assert await value(await upstreams.start(at(server.url), peer(), CALL)) == {"late": True}
        assert len(server.seen("tools/call")) == 1
        assert server.seen("GET")[0].headers["mcp-session-id"] == "s1"


@pytest.mark.parametrize("status", [404, 405, 500])
async def test_a_stream_that_cannot_be_taken_up_fails_and_the_call_is_not_repeated(status: int) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.chunk(b"id: e1\nretry: 10\ndata:\n\n")
        await answering.end()

    async def hear(asked: Asked, answering: Answering) -> None:
        await answering.whole(b"", status)

    async with Scripted(Legacy(call, hear=hear)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(at(server.url), peer(), CALL))
        assert len(server.seen("tools/call")) == 1
    assert isinstance(end, Failed)
    assert (end.code, end.may_have_run) == ("upstream_broke_off", True)


async def test_a_server_that_only_ever_closes_is_given_up() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.chunk(b"id: e1\nretry: 50\ndata:\n\n")
        await answering.end()

    async with Scripted(Legacy(call, hear=call)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(at(server.url, timeout_s=1.0), peer(), CALL))
        assert len(server.seen("tools/call")) == 1
    assert isinstance(end, Failed)
    assert end.code == "upstream_timeout"


# -- questions ---------------------------------------------------------------------------------------------------------


async def test_questions_in_the_answer_stream_are_asked_and_answered_and_pings_are_not_passed_on() -> None:
    answered = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        await answering.event(b'{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{"n":1.0}}')
        await answered.wait()
        await answering.event(reply(asked, {"ok": True}))
        await answering.end()

    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("id") == 77 and "result" in asked.rpc:
            answered.set()
        await legacy(asked, answering)

    legacy = Legacy(call)
    async with Scripted(handle).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(capabilities=ASKING), CALL)
        found: list[Any] = []
        async for event in exchange:
            found.append(event)
            if isinstance(event, Ask):
                await exchange.answer(event.id, b'{"result":{"role":"assistant","x":9007199254740993}}')
        replies = [one for one in server.asked if one.rpc.get("result") is not None]
    assert found[0] == Ask(b"77", "sampling/createMessage", b'{"n":1.0}')
    assert isinstance(found[-1], Answered)
    assert {json.dumps(one.rpc["id"]) for one in replies} == {'"p"', "77"}
    assert all(one.headers["mcp-session-id"] == "s1" for one in replies)
    assert any(b'"x":9007199254740993' in one.body for one in replies)


async def test_silence_while_a_question_is_open_is_no_failure() -> None:
    answered = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}})
        await answered.wait()
        await answering.event(reply(asked, {}))
        await answering.end()

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url, timeout_s=0.5), peer(capabilities=ASKING), CALL)
        async for event in exchange:
            if isinstance(event, Ask):
                await asyncio.sleep(1.5)
                await exchange.answer(event.id, b'{"result":{}}')
                answered.set()
        assert isinstance(event, Answered)


async def test_an_answer_that_cannot_be_delivered_fails_the_call() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}})
        legacy.sessions.clear()
        await asyncio.Event().wait()

    legacy = Legacy(call)
    async with Scripted(legacy).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(capabilities=ASKING), CALL)
        async for event in exchange:
            if isinstance(event, Ask):
                await exchange.answer(event.id, b'{"result":{}}')
        assert isinstance(event, Failed)
        assert event.may_have_run


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_cancelling_tells_a_handshake_era_server_and_closes_the_stream_of_a_modern_one() -> None:
    gone = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        await answering.until_gone()
        gone.set()

    for handle in (Legacy(call), modern(call)):
        gone.clear()
        async with Scripted(handle).running() as server, pooled() as upstreams:
            exchange = await upstreams.start(at(server.url), peer(), CALL)
            assert isinstance(await anext(aiter(exchange)), Notice)
            await exchange.cancel()
            async with asyncio.timeout(10):
                await gone.wait()
            told = server.seen("notifications/cancelled")
            if exchange.era == "legacy":
                assert told[0].rpc["params"]["requestId"] == server.seen("tools/call")[0].rpc["id"]
            else:
                assert not told


async def test_a_shared_credential_is_used_for_discovery() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"tools": [{"name": "a", "x": 1.0}], "resultType": "complete"})

    async def opened(upstream: object) -> Credential:
        return Credential(header=("X-Key", "k"))

    async with Scripted(modern(call)).running() as server, pooled(credentials=opened) as upstreams:
        found = await upstreams.discovery(at(server.url))
        assert found.era == "modern"
        assert [item.raw for item in found.items] == [b'{"name": "a", "x": 1.0}']
        assert {one.headers.get("x-key") for one in server.asked} == {"k"}
