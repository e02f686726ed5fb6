"""Calls through the running endpoint: what reaches the client, what reaches the upstream, and what is on record."""

import asyncio
import json
from typing import Any

import pytest

from callgate.mcp import door, recording
from tests.mcp.lab import Lab
from tests.support.waiting import until
from tests.upstreams.scripted import Answering, Asked, reply

ASKING: dict[str, Any] = {"elicitation": {}, "roots": {}, "sampling": {}}
QUESTION = {"jsonrpc": "2.0", "method": "elicitation/create", "params": {"message": "sure?"}}


def asking(*ids: Any) -> Any:
    """A handshake-era upstream that asks these questions at once, and answers with what it was told."""
    told: dict[Any, Any] = {}
    done = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        if "result" in asked.rpc or "error" in asked.rpc:
            told[asked.rpc["id"]] = asked.rpc.get("result") or asked.rpc.get("error")
            await answering.whole(b"", 202)
            if len(told) == len(ids):
                done.set()
            return
        await answering.stream()
        for id_ in ids:
            await answering.event({**QUESTION, "id": id_})
        await done.wait()
        text = json.dumps([told[id_] for id_ in ids])
        await answering.event(reply(asked, {"content": [{"type": "text", "text": text}]}))
        await answering.end()

    return call


pytestmark = pytest.mark.usefixtures("clients")


async def test_a_plain_call_is_answered_as_one_json_object(lab: Lab) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"content": [], "odd": 9007199254740993, "_meta": {"a": None}})

    async with lab.upstream(call) as upstream:
        answer = await lab.client().modern("tools/call", {"name": upstream.tool, "arguments": {}}, id_="x")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        raw = await answer.body()
        assert b'"id":"x"' in raw
        assert b'"odd":9007199254740993' in raw
        assert json.loads(raw)["result"]["resultType"] == "complete"
        assert await lab.outcomes(upstream) == [("result", "")]


async def test_questions_put_at_once_reach_a_handshake_client_and_each_gets_its_own_answer(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(asking(7, "7")) as upstream:
        client = lab.client()
        await client.initialize(ASKING)
        call = await client.ask("tools/call", {"name": upstream.tool})
        messages = call.messages()
        first, second = await anext(messages), await anext(messages)
        assert first["method"] == second["method"] == "elicitation/create"
        for question, action in ((second, "decline"), (first, "accept")):
            told = await client.legacy({"id": question["id"], "result": {"action": action}})
            assert told.status == 202
        last = [message async for message in messages][-1]
        assert json.loads(last["result"]["content"][0]["text"]) == [{"action": "accept"}, {"action": "decline"}]


async def test_a_repeated_or_forged_answer_changes_nothing(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(asking(7, 8)) as upstream:
        client = lab.client()
        await client.initialize(ASKING)
        call = await client.ask("tools/call", {"name": upstream.tool})
        messages = call.messages()
        first, second = await anext(messages), await anext(messages)
        for _ in range(3):
            await client.legacy({"id": first["id"], "result": {"action": "accept"}})
        forged = await client.legacy({"id": "forged", "result": {"action": "accept"}})
        assert (forged.status, (await forged.last())["error"]["code"]) == (400, -32602)
        _, other = lab.run.person("bob@acme.test", "member")
        stranger = lab.client()
        stranger.token = other
        stolen = await stranger.legacy({"id": second["id"], "result": {"action": "accept"}})
        assert stolen.status == 400
        await client.legacy({"id": second["id"], "result": {"action": "decline"}})
        last = [message async for message in messages][-1]
        assert json.loads(last["result"]["content"][0]["text"]) == [{"action": "accept"}, {"action": "decline"}]


async def test_questions_put_at_once_reach_a_modern_client_one_after_the_other(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(asking(7, 8)) as upstream:
        client = lab.client(capabilities=ASKING)
        params: dict[str, Any] = {"name": upstream.tool, "arguments": {"a": 1}}
        for number, action in enumerate(("accept", "decline")):
            result = (await (await client.modern("tools/call", params, id_=number)).last())["result"]
            assert result["resultType"] == "input_required"
            (key,) = result["inputRequests"]
            params = {**params, "requestState": result["requestState"], "inputResponses": {key: {"action": action}}}
        result = (await (await client.modern("tools/call", params, id_=9)).last())["result"]
        assert json.loads(result["content"][0]["text"]) == [{"action": "accept"}, {"action": "decline"}]
        outcomes = [outcome for outcome, _ in await lab.outcomes(upstream)]
        assert outcomes == ["input_required", "input_required", "result"]


async def test_a_modern_retry_without_the_answer_is_asked_again(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(asking(7)) as upstream:
        client = lab.client(capabilities=ASKING)
        params: dict[str, Any] = {"name": upstream.tool}
        first = (await (await client.modern("tools/call", params)).last())["result"]
        again = {**params, "requestState": first["requestState"]}
        assert (await (await client.modern("tools/call", again, id_=2)).last())["result"] == first
        full = {**again, "inputResponses": {key: {"action": "accept"} for key in first["inputRequests"]}}
        assert "content" in (await (await client.modern("tools/call", full, id_=3)).last())["result"]


async def test_a_client_that_declared_nothing_is_not_asked(lab: Lab) -> None:
    async with asyncio.timeout(30), lab.upstream(asking(7)) as upstream:
        result = (await (await lab.client().modern("tools/call", {"name": upstream.tool})).last())["result"]
        assert json.loads(result["content"][0]["text"])[0]["code"] == -32601


async def test_a_modern_client_that_closes_its_stream_cancels_the_call(lab: Lab) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}})
        await answering.until_gone()
        gone.set()

    gone = asyncio.Event()
    async with asyncio.timeout(30), lab.upstream(call, modern=True) as upstream:
        params = {"name": upstream.tool, "_meta": {"io.modelcontextprotocol/logLevel": "debug"}}
        answer = await lab.client().modern("tools/call", params)
        await anext(answer.messages())
        answer.close()
        await gone.wait()

        async def recorded() -> bool:
            return await lab.outcomes(upstream) == [("cancelled", "cancelled")]

        await until(recorded)


async def test_a_handshake_client_cancels_by_a_notification_and_not_by_going_away(lab: Lab) -> None:
    release = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") == "tools/call":
            await answering.stream()
            await answering.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}})
            if asked.rpc["params"]["arguments"]["wait"]:
                await release.wait()
            await answering.event(reply(asked, {"content": []}))
            await answering.end()

    async with asyncio.timeout(30), lab.upstream(call) as upstream:
        client = lab.client()
        await client.initialize()
        for wait in (True, False):
            params = {"name": upstream.tool, "arguments": {"wait": wait}}
            answer = await client.ask("tools/call", params, id_=5)
            await anext(answer.messages())
            if wait:
                other = await lab.client(session=None).legacy(
                    {"method": "notifications/cancelled", "params": {"requestId": 5}}
                )
                assert other.status == 202  # another client of the same person: nothing of its own has this id
                cancel = {"method": "notifications/cancelled", "params": {"requestId": 5, "reason": "x"}}
                assert (await client.legacy(cancel)).status == 202
                await upstream.server.until("notifications/cancelled")
            else:
                answer.close()

        async def recorded() -> bool:
            return [outcome for outcome, _ in await lab.outcomes(upstream)] == ["cancelled", "result"]

        await until(recorded)
        assert len(upstream.server.seen("notifications/cancelled")) == 1


@pytest.mark.parametrize("connection", ["keep-alive", "keep-alive, x-ordinary"])
async def test_a_log_level_counts_on_both_edges(lab: Lab, connection: str) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        for level in ("debug", "error"):
            message = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": 1}}
            await answering.event(message)
        await answering.event(reply(asked, {"content": []}))
        await answering.end()

    async with asyncio.timeout(30), lab.upstream(call) as upstream:
        client = lab.client()
        await client.initialize()
        wrong = await (await client.ask("logging/setLevel", {"level": "shout"})).last()
        assert wrong["error"]["code"] == -32602
        for expected, level in ((["debug", "error"], "error"), (["error"], "debug"), (["debug", "error"], "debug")):
            body = {"id": 1, "method": "tools/call", "params": {"name": upstream.tool}}
            answer = await client.legacy(body, Connection=connection)
            *notices, last = [message async for message in answer.messages()]
            assert [notice["params"]["level"] for notice in notices] == expected
            assert last["result"] == {"content": []}
            await client.ask("logging/setLevel", {"level": level})


async def test_an_error_that_is_no_object_is_an_invalid_answer(lab: Lab) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(b'{"jsonrpc":"2.0","id":%b,"error":"no"}' % asked.id)

    async with lab.upstream(call) as upstream:
        result = (await (await lab.client().modern("tools/call", {"name": upstream.tool})).last())["result"]
        assert result["isError"] is True
        assert result["_meta"]["callgate/decision"]["code"] == "upstream_invalid"
        assert await lab.outcomes(upstream) == [("upstream_failed", "upstream_invalid")]


async def test_an_upstream_that_stops_in_the_middle_of_a_large_result_breaks_the_answer_off(lab: Lab) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream(kind="application/json")
        await answering.chunk(b'{"jsonrpc":"2.0","id":%b,"result":{"content":["' % asked.id + b"x" * 1_000_000)
        answering.abort()

    async with asyncio.timeout(30), lab.upstream(call) as upstream:
        answer = await lab.client().modern("tools/call", {"name": upstream.tool})
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await answer.body()
        (outcome,) = await lab.outcomes(upstream)
        assert outcome == ("upstream_failed", "upstream_broke_off")


@pytest.mark.parametrize("connection", ["keep-alive", "keep-alive, x-ordinary"])
async def test_a_client_that_stops_reading_gives_the_upstream_free(
    lab: Lab, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        if asked.rpc["params"].get("arguments"):
            await answering.result(asked, {"content": []})
            return
        await answering.stream(kind="application/json")
        await answering.chunk(b'{"jsonrpc":"2.0","id":%b,"result":{"content":["' % asked.id)
        try:
            while True:  # never ends; whoever writes waits for the gateway, and that for its client
                await answering.chunk(b"x" * 100_000)
        except ConnectionError:
            gone.set()

    async with asyncio.timeout(30), lab.upstream(call, modern=True) as upstream:
        warm = await lab.client().modern("tools/call", {"name": upstream.tool, "arguments": {"short": True}})
        assert "content" in (await warm.last())["result"]
        monkeypatch.setattr(door, "_STALL_SECONDS", 0.2)
        answer = await lab.client().modern("tools/call", {"name": upstream.tool}, Connection=connection)
        assert answer.status == 200
        answer._reader._transport.pause_reading()  # type: ignore[attr-defined]  # the client reads no more
        await gone.wait()

        async def recorded() -> bool:
            return await lab.outcomes(upstream) == [("result", ""), ("cancelled", "cancelled")]

        await until(recorded)


@pytest.mark.parametrize("connection", ["keep-alive", "keep-alive, x-ordinary"])
async def test_an_intent_that_is_durable_too_late_is_the_record_of_a_refused_call(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    asked_for = []

    async def call(asked: Asked, answering: Answering) -> None:
        asked_for.append(asked.rpc["params"]["name"])
        await answering.result(asked, {"content": []})

    async with asyncio.timeout(30), lab.upstream(call) as upstream:
        await lab.client().modern("tools/call", {"name": upstream.tool})
        monkeypatch.setattr(recording, "RECORD_SECONDS", 0.0)
        late = await lab.client().modern("tools/call", {"name": upstream.tool}, Connection=connection)
        assert (await late.last())["result"]["_meta"]["callgate/decision"]["code"] == "not_recorded"

        async def recorded() -> bool:
            return await lab.outcomes(upstream) == [("result", ""), ("refused", "not_recorded")]

        await until(recorded)
        assert len(asked_for) == 1, "the upstream is not asked for the late one"


async def test_calls_above_the_limit_of_a_person_are_refused_at_once(lab: Lab) -> None:
    release = asyncio.Event()

    async def call(asked: Asked, answering: Answering) -> None:
        await release.wait()
        await answering.result(asked, {"content": []})

    limit = lab.run.settings.max_calls_per_person
    async with asyncio.timeout(60), lab.upstream(call, modern=True) as upstream:
        waiting = [
            asyncio.create_task(lab.client().modern("tools/call", {"name": upstream.tool}, id_=number))
            for number in range(limit)
        ]
        await upstream.server.until("tools/call", limit)
        over = (await (await lab.client().modern("tools/call", {"name": upstream.tool})).last())["result"]
        assert over["_meta"]["callgate/decision"]["code"] == "too_many_calls"
        release.set()
        assert {(await task).status for task in waiting} == {200}
        again = await lab.client().modern("tools/call", {"name": upstream.tool})
        assert "content" in (await again.last())["result"]


@pytest.mark.parametrize("connection", ["keep-alive", "keep-alive, x-ordinary"])
@pytest.mark.parametrize("state_first", [True, False])
async def test_the_state_of_a_large_question_is_sealed_and_comes_back_to_the_upstream(
    lab: Lab, connection: str, state_first: bool
) -> None:
    large = {"method": "elicitation/create", "params": {"mode": "form", "message": "m" * 600_000}}

    async def call(asked: Asked, answering: Answering) -> None:
        if "requestState" in asked.rpc["params"]:
            await answering.result(asked, {"content": [], "seen": asked.rpc["params"]["requestState"]})
            return
        state = {"requestState": "their-own-state"}
        result = {"resultType": "input_required", "inputRequests": {"a": large}}
        await answering.result(asked, {**state, **result} if state_first else {**result, **state})

    async with asyncio.timeout(30), lab.upstream(call, modern=True) as upstream:
        client = lab.client(capabilities=ASKING)
        params: dict[str, Any] = {"name": upstream.tool}
        raw = await (await client.modern("tools/call", params, Connection=connection)).body()
        assert b"their-own-state" not in raw
        result = json.loads(raw)["result"]
        assert result["inputRequests"]["a"] == large
        again = {**params, "requestState": result["requestState"], "inputResponses": {"a": {"action": "accept"}}}
        last = (await (await client.modern("tools/call", again, id_=2)).last())["result"]
        assert last["seen"] == "their-own-state"
        assert [outcome for outcome, _ in await lab.outcomes(upstream)] == ["input_required", "result"]
