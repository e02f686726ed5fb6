"""Conversations over one channel: children whose manners the test chooses, through the pool."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.upstreams import opening, pool
from callgate.upstreams.conversation import enveloped
from callgate.upstreams.duplex import DuplexConversation
from callgate.upstreams.exchange import Answered, Ask, Event, Exchange, Failed, Notice, Sent
from callgate.wire import eras
from tests.upstreams.scripted import ASKING, Programs, events, last, peer, pooled, program, value

TALK = str(Path(__file__).with_name("talk.py"))


def talk(*options: str) -> Programs:
    return Programs(sys.executable, TALK, *options)


def call(name: str, **arguments: Any) -> Sent:
    return Sent("tools/call", json.dumps({"name": name, "arguments": arguments}).encode(), name=name)


async def first(exchange: Exchange) -> Event:
    async with asyncio.timeout(20):
        return await anext(aiter(exchange))


async def test_each_person_and_session_has_a_process_of_its_own() -> None:
    programs = talk()
    async with pooled(programs) as upstreams:
        for who in (peer("ana", "1"), peer("ana", "2"), peer("ben", "1"), peer("ana", "1")):
            await value(await upstreams.start(program(), who, call("x")))
        assert len(programs.started) == 3


async def test_calls_of_one_peer_run_side_by_side_and_answers_find_their_call() -> None:
    async with pooled(talk()) as upstreams:
        held = await upstreams.start(program(), peer(), call("hold"))
        assert (await value(await upstreams.start(program(), peer(), call("other"))))["name"] == "other"
        await value(await upstreams.start(program(), peer(), call("release")))
        assert await value(held) == {"released": True}


async def test_a_question_goes_to_its_call_and_from_then_on_calls_go_one_by_one() -> None:
    programs = talk()
    async with pooled(programs) as upstreams:
        who = peer(capabilities=ASKING)
        asking = await upstreams.start(program(), who, call("ask", message="?"))
        asked = await first(asking)
        assert isinstance(asked, Ask)
        assert asked.method == "elicitation/create"
        queued = await upstreams.start(program(), who, call("queued"))
        await asking.answer(asked.id, b'{"result":{"action":"accept"}}')
        assert (await value(asking))["answer"] == {"action": "accept"}
        seen = (await value(queued))["seen"]
        assert seen[-2:] == ["answer", "tools/call"]


async def test_a_question_with_two_possible_calls_waits_for_the_other_to_end() -> None:
    async with pooled(talk()) as upstreams:
        who = peer(capabilities=ASKING)
        held = await upstreams.start(program(), who, call("hold"))
        asking = await upstreams.start(program(), who, call("ask"))
        waiting = asyncio.ensure_future(first(asking))
        await held.cancel()
        asked = await waiting
        assert isinstance(asked, Ask)
        await asking.answer(asked.id, b'{"error":{"code":-1,"message":"no"}}')
        assert (await value(asking))["error"] == {"code": -1, "message": "no"}


async def test_two_calls_that_both_ask_at_once_are_refused_rather_than_mixed_up() -> None:
    async with pooled(talk()) as upstreams:
        who = peer(capabilities=ASKING)
        both = [await upstreams.start(program(), who, call("ask")) for _ in range(2)]
        for one in both:
            assert (await value(one))["error"]["code"] == -32601


async def test_roots_are_the_same_for_every_call_and_so_never_ambiguous() -> None:
    async with pooled(talk()) as upstreams:
        who = peer(capabilities=ASKING)
        await upstreams.start(program(), who, call("hold"))
        exchange = await upstreams.start(program(), who, call("roots"))
        assert isinstance(await first(exchange), Ask)


async def test_a_cancelled_call_that_waits_in_the_queue_is_never_sent() -> None:
    async with pooled(talk()) as upstreams:
        who = peer(capabilities=ASKING)
        asking = await upstreams.start(program(), who, call("ask"))
        asked = await first(asking)
        assert isinstance(asked, Ask)
        queued = await upstreams.start(program(), who, call("queued"))
        await queued.cancel()
        await asking.answer(asked.id, b'{"result":{}}')
        await value(asking)
        seen = (await value(await upstreams.start(program(), who, call("after"))))["seen"]
        assert seen.count("tools/call") == 2
        assert "notifications/cancelled" not in seen


async def test_cancelling_tells_the_server() -> None:
    async with pooled(talk()) as upstreams:
        exchange = await upstreams.start(program(), peer(), call("silent"))
        await exchange.cancel()
        assert (await value(await upstreams.start(program(), peer(), call("x"))))["seen"][-2:] == [
            "notifications/cancelled",
            "tools/call",
        ]


async def test_noise_between_messages_harms_nothing() -> None:
    async with pooled(talk()) as upstreams:
        found = await events(await upstreams.start(program(), peer(), call("noise")))
        assert [type(event) for event in found] == [Notice, Answered]


@pytest.mark.parametrize("where", ["head", "tail", "deep"])
async def test_an_answer_that_cannot_be_read_ends_its_call_and_no_other(where: str) -> None:
    async with pooled(talk()) as upstreams:
        held = await upstreams.start(program(), peer(), call("hold"))
        end = await last(await upstreams.start(program(), peer(), call("unreadable", where=where)))
        assert isinstance(end, Failed)
        assert (end.code, end.may_have_run) == ("upstream_invalid", True)
        await value(await upstreams.start(program(), peer(), call("release")))
        assert await value(held) == {"released": True}


async def test_a_large_answer_arrives_whole() -> None:
    async with pooled(talk()) as upstreams:
        assert len((await value(await upstreams.start(program(), peer(), call("big"))))["text"]) == 5_000_000


async def test_a_process_that_ends_fails_its_calls_and_the_next_call_starts_another() -> None:
    programs = talk()
    async with pooled(programs) as upstreams:
        held = await upstreams.start(program(), peer(), call("hold"))
        end = await last(await upstreams.start(program(), peer(), call("exit")))
        assert isinstance(end, Failed)
        assert (end.code, end.may_have_run) == ("upstream_broke_off", True)
        assert isinstance(await last(held), Failed)
        assert (await value(await upstreams.start(program(), peer(), call("x"))))["name"] == "x"
        assert len(programs.started) == 2


async def test_silence_ends_a_call_and_withdraws_it() -> None:
    async with pooled(talk()) as upstreams:
        upstream = program(timeout_s=0.3)
        end = await last(await upstreams.start(upstream, peer(), call("silent")))
        assert isinstance(end, Failed)
        assert (end.code, end.may_have_run) == ("upstream_timeout", True)
        seen = (await value(await upstreams.start(upstream, peer(), call("x"))))["seen"]
        assert "notifications/cancelled" in seen


async def test_waiting_for_a_person_is_no_silence_but_waiting_behind_one_ends() -> None:
    async with pooled(talk()) as upstreams:
        upstream, who = program(timeout_s=0.3), peer(capabilities=ASKING)
        asking = await upstreams.start(upstream, who, call("ask"))
        asked = await first(asking)
        assert isinstance(asked, Ask)
        end = await last(await upstreams.start(upstream, who, call("queued")))
        assert isinstance(end, Failed)
        assert (end.code, end.may_have_run) == ("upstream_timeout", False)
        await asking.answer(asked.id, b'{"result":{}}')
        assert isinstance(await last(asking), Answered)


async def test_a_server_that_ends_at_the_probe_is_started_again_for_the_handshake() -> None:
    programs = talk("--die-on-probe")
    async with pooled(programs) as upstreams:
        exchange = await upstreams.start(program(), peer(), call("x"))
        assert exchange.era == eras.LEGACY
        assert (await value(exchange))["seen"][0] == "initialize"
        await value(await upstreams.start(program(), peer("ben"), call("x")))
        assert len(programs.started) == 3


async def test_a_server_that_says_nothing_to_the_probe_gets_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PROBE_SECONDS", 0.3)
    async with pooled(talk("--silent-probe")) as upstreams:
        assert (await upstreams.start(program(), peer(), call("x"))).era == eras.LEGACY


async def test_a_server_that_says_nothing_at_all_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(opening, "HANDSHAKE_SECONDS", 0.2)
    programs = talk("--silent-probe", "--deaf")
    async with pooled(programs) as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(program(), peer(), call("x"))
        assert caught.value.code == "upstream_timeout"
        assert programs.started[0].process.returncode is not None


async def test_the_processes_of_one_upstream_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_CHILDREN", 2)
    programs = talk()
    async with pooled(programs) as upstreams:
        await value(await upstreams.start(program(), peer("a"), call("x")))
        held = await upstreams.start(program(), peer("b"), call("hold"))
        await value(await upstreams.start(program(), peer("c"), call("x")))  # a's was idle and has gone
        assert programs.started[0].process.returncode is not None
        busy = await upstreams.start(program(), peer("c"), call("hold"))
        with pytest.raises(Refused, match="in use"):
            await upstreams.start(program(), peer("d"), call("x"))
        await held.aclose()
        await busy.aclose()


async def test_what_is_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(pool, "SWEEP_SECONDS", 0.05)
    programs = talk()
    async with pooled(programs) as upstreams:
        await value(await upstreams.start(program(), peer("a"), call("x")))
        held = await upstreams.start(program(), peer("b"), call("hold"))
        async with asyncio.timeout(20):
            await programs.started[0].process.wait()
        assert programs.started[1].process.returncode is None
        await held.aclose()


async def test_forgetting_an_upstream_ends_its_processes() -> None:
    programs = talk()
    async with pooled(programs) as upstreams:
        held = await upstreams.start(program(), peer(), call("hold"))
        await upstreams.forget("up1")
        assert isinstance(await last(held), Failed)
        assert programs.started[0].process.returncode is not None
        await value(await upstreams.start(program(revision=2), peer(), call("x")))


class Silent:
    """A channel that takes everything and says what it is given."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, message: bytes) -> None:
        self.sent.put_nowait(json.loads(message))

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self.said.get()) is not None:
            yield message

    async def close(self) -> None:
        self.said.put_nowait(None)

    def carry(self, credential: object) -> None:
        """Nothing here looks at it."""

    def reason(self) -> str:
        return "It has ended."


async def test_a_shared_modern_channel_never_gives_one_persons_log_to_another() -> None:
    """Log messages name no request there, so with two calls in flight nobody gets them."""
    channel = Silent()
    conversation = DuplexConversation(channel, b"{}", 60)
    conversation.era = eras.MODERN
    one, two = conversation.start(call("a")), conversation.start(call("b"))
    log = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"whose"}}'
    channel.said.put_nowait(log)
    channel.said.put_nowait(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    channel.said.put_nowait(log)
    channel.said.put_nowait(b'{"jsonrpc":"2.0","id":2,"result":{}}')
    assert [type(event) for event in await events(one)] == [Answered]
    assert [type(event) for event in await events(two)] == [Notice, Answered]
    await conversation.close()


async def test_notices_are_dropped_rather_than_held_for_a_reader_that_does_not_read() -> None:
    channel = Silent()
    conversation = DuplexConversation(channel, b"{}", 60)
    exchange = conversation.start(call("a"))
    log = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%b"}}' % (b"x" * 100_000)
    for _ in range(100):
        channel.said.put_nowait(log)
    channel.said.put_nowait(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    channel.said.put_nowait(None)
    await conversation.until_lost()
    found = await events(exchange)
    assert isinstance(found[-1], Answered)
    assert len(found) < 15
    await conversation.close()


async def test_a_conversation_that_has_ended_says_why_to_the_next_call() -> None:
    channel = Silent()
    conversation = DuplexConversation(channel, b"{}", 60)
    channel.said.put_nowait(None)
    await conversation.until_lost()
    end = await last(conversation.start(call("a")))
    assert end == Failed("upstream_unavailable", "It has ended.", False)
    await conversation.close()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (b"{}", b'{"_meta":{"k":1}}'),
        (b' { "a" : 1.0 } ', b'{ "a" : 1.0 ,"_meta":{"k":1}}'),
        (b'{"_meta":{"x":null},"a":9007199254740993}', b'{"_meta":{"x":null,"k":1},"a":9007199254740993}'),
        (b'{"a":{"_meta":{"x":1}}}', b'{"a":{"_meta":{"x":1}},"_meta":{"k":1}}'),
        (b'{"\\u005fmeta":{"x":1}}', b'{"_meta":{"x":1,"k":1}}'),
    ],
)
def test_what_the_gateway_adds_changes_nothing_else(params: bytes, expected: bytes) -> None:
    assert enveloped(params, {"k": b"1"}) == expected


def test_a_meta_that_is_no_object_is_refused() -> None:
    with pytest.raises(Refused):
        enveloped(b'{"_meta":7}', {"k": b"1"})
