"""Streamable HTTP towards upstreams, against servers whose every byte the test decides."""

import asyncio
import base64
import json
import tracemalloc
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.upstreams.exchange import Answered, Ended, Failed, Notice, Peer, Piece, Sent
from tests.upstreams.scripted import (
    ASKING,
    EVENTS,
    JSON,
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


# -- what is sent ----------------------------------------------------------------------------------------------------


async def test_a_modern_request_carries_the_envelope_and_the_routing_headers() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"content": [], "resultType": "complete"})

    sent = Sent(
        "tools/call",
        b'{"name":"caf\xc3\xa9","arguments":{"n":9007199254740993},"_meta":{"x":null}}',
        name="café",
        progress=True,
        log_level="info",
        mirrored=(("mcp-param-region", "eu"),),
    )
    async with Scripted(modern(call)).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(session=None, capabilities=ASKING), sent)
        assert exchange.era == "modern"
        await value(exchange)
        asked = await server.until("tools/call")
    meta = asked.rpc["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == json.loads(ASKING)
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "callgate"
    assert meta["io.modelcontextprotocol/logLevel"] == "info"
    assert meta["x"] is None
    assert meta["progressToken"] == asked.rpc["id"]
    assert b'"n":9007199254740993' in asked.body
    assert asked.headers["mcp-protocol-version"] == "2026-07-28"
    assert asked.headers["mcp-method"] == "tools/call"
    assert asked.headers["mcp-name"] == f"=?base64?{base64.b64encode('café'.encode()).decode()}?="
    assert asked.headers["mcp-param-region"] == "eu"
    assert "mcp-session-id" not in asked.headers


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_a_handshake_era_conversation_initializes_once_and_names_its_session(version: str) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"content": []})

    async with Scripted(Legacy(call, version=version)).running() as server, pooled() as upstreams:
        for _ in range(3):
            exchange = await upstreams.start(at(server.url), peer(capabilities=b'{"roots":{}}'), CALL)
            assert exchange.era == "legacy"
            await value(exchange)
        hello = server.seen("initialize")
        called = server.seen("tools/call")
        assert len(server.seen("notifications/initialized")) == 1
    assert len(hello) == 1
    assert hello[0].rpc["params"]["capabilities"] == {"roots": {}}
    assert hello[0].rpc["params"]["clientInfo"]["name"] == "callgate"
    assert [one.headers["mcp-session-id"] for one in called] == ["s1"] * 3
    given = called[0].headers.get("mcp-protocol-version")
    assert given == (version if version >= "2025-06-18" else None)
    assert "mcp-method" not in called[0].headers
    assert called[0].rpc["params"] == json.loads(CALL.params)


async def test_conversations_of_the_handshake_era_are_not_shared_between_sessions_people_or_capabilities() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"session": asked.headers["mcp-session-id"]})

    peers = [
        peer("ana", "1"),
        peer("ana", "2"),
        peer("ben", "1"),
        peer("ana", "1", b'{"roots":{}}'),
        peer("ana", None),
        peer("ana", "1", credential=("Authorization", "Bearer one")),
        peer("ana", "1", credential=("Authorization", "Bearer two")),
    ]
    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        used = [(await value(await upstreams.start(at(server.url), who, CALL)))["session"] for who in peers]
        again = (await value(await upstreams.start(at(server.url), peers[0], CALL)))["session"]
    assert len(set(used)) == len(peers)
    assert again == used[0]


async def test_many_who_wait_open_one_conversation() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        exchanges = await asyncio.gather(*(upstreams.start(at(server.url), peer(), CALL) for _ in range(20)))
        assert [await value(one) for one in exchanges] == [{}] * 20
        assert len(server.seen("initialize")) == 1
        assert len(server.seen("server/discover")) == 1


async def test_the_credential_goes_to_the_upstream_and_stands_in_no_repr() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    who = peer(credential=("Authorization", "Bearer sesame"))
    async with Scripted(modern(call)).running() as server, pooled() as upstreams:
        await value(await upstreams.start(at(server.url), who, CALL))
        assert server.seen("tools/call")[0].headers["authorization"] == "Bearer sesame"
        assert "sesame" not in repr(who) + repr(vars(upstreams))


async def test_a_credential_that_http_cannot_carry_is_a_failure_before_anything_is_sent() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    with pytest.raises(Refused) as caught:
        await run(modern(call), who=peer(credential=("Authorization", "Bearer a\nb")))
    assert caught.value.code == "upstream_unavailable"


async def test_a_session_is_deleted_when_the_upstream_is_forgotten() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    async with Scripted(Legacy(call)).running() as server, pooled() as upstreams:
        await value(await upstreams.start(at(server.url), peer(), CALL))
        await upstreams.forget("up1")
        assert server.seen("DELETE")[0].headers["mcp-session-id"] == "s1"


async def test_the_log_level_is_told_to_a_handshake_era_server_once() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {})

    server = Scripted(Legacy(call, capabilities={"logging": {}}))
    async with server.running(), pooled() as upstreams:
        for level in ("debug", "debug", None, "error"):
            await value(await upstreams.start(at(server.url), peer(), Sent("tools/call", b"{}", log_level=level)))
        levels = [one.rpc["params"]["level"] for one in server.seen("logging/setLevel")]
    assert levels == ["debug", "error"]


# -- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["json", "one line", "two lines", "crlf", "cr", "bom", "comments", "bytes"])
async def test_an_answer_arrives_unchanged_in_every_layout(layout: str) -> None:
    raw = b'{"content": [], "x":9007199254740993,\t"a":1.0,"_meta":{"n":null},"s":"\\u00e9 \xc3\xa9"}'

    async def call(asked: Asked, answering: Answering) -> None:
        message = reply(asked, raw)
        if layout == "json":
            await answering.whole(message, 200, "application/json; charset=utf-8")
            return
        await answering.stream(kind="Text/Event-Stream; charset=utf-8")
        first, second = message.split(b"\t")
        body = {
            "one line": b"event: message\ndata: " + message + b"\n\n",
            "two lines": b"data: " + first + b"\ndata:" + second + b"\n\n",
            "crlf": b"id: 1\r\ndata: " + message + b"\r\n\r\n",
            "cr": b"data: " + message + b"\r\r",
            "bom": b"\xef\xbb\xbfdata: " + message + b"\n\n",
            "comments": b": hi\n\n: ho\nretry: 10\n\nid: 4\ndata:\n\nevent: x\ndata: {}\n\ndata: " + message + b"\n\n",
            "bytes": b"data: " + message + b"\n\n",
        }[layout]
        step = 1 if layout == "bytes" else len(body)
        for start in range(0, len(body), step):
            await answering.chunk(body[start : start + step])
        await answering.end()

    end = (await run(modern(call)))[-1]
    assert isinstance(end, Answered)
    assert end.raw == (raw.replace(b"\t", b"\n") if layout == "two lines" else raw)


BIG = 5_000_000


@pytest.mark.parametrize("layout", ["json", "id last", "one line", "two lines", "cr"])
async def test_five_megabytes_stream_in_bounded_memory(layout: str) -> None:
    text = b"x" * (BIG // 2)
    parts = [b'{"content":[{"type":"text","text":"', text, b'"},', b'{"type":"text","text":"', text, b'"}]}']
    if layout == "two lines":
        parts.insert(3, b"\nid: 77\n: comment\ndata: ")
    if layout == "id last":
        start, end = b'{"jsonrpc":"2.0","result":', b',"x":1,"id":%b}'
    else:
        start, end = b'{"jsonrpc":"2.0","id":%b,"result":', b"}"

    async def call(asked: Asked, answering: Answering) -> None:
        events_ = layout not in ("json", "id last")
        await answering.stream(kind=EVENTS if events_ else JSON)
        first = start % asked.id if b"%" in start else start
        last_ = end % asked.id if b"%" in end else end
        for part in ([b"data: "] if events_ else []) + [first, *parts, last_]:
            for at_ in range(0, len(part), 65536):
                await answering.chunk(part[at_ : at_ + 65536])
        await answering.chunk({"cr": b"\r\r"}.get(layout, b"\n\n"))
        await answering.end()

    size = 0
    async with Scripted(modern(call)).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(), CALL)
        tracemalloc.start()
        try:
            async for event in exchange:
                if isinstance(event, Piece):
                    size += len(event.data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert isinstance(event, Ended)
    expected = sum(map(len, parts)) - (len(b"id: 77\n: comment\ndata:") if layout == "two lines" else 0)
    assert size == expected
    assert peak < 3 * 1024 * 1024


async def test_a_reader_that_waits_holds_the_server_back() -> None:
    sent = 0

    async def call(asked: Asked, answering: Answering) -> None:
        nonlocal sent
        await answering.stream(kind=JSON)
        await answering.chunk(b'{"jsonrpc":"2.0","id":%b,"result":{"x":"' % asked.id)
        for _ in range(800):
            await answering.chunk(b"y" * 65536)
            sent += 65536
        await answering.chunk(b'"}}')
        await answering.end()

    async with Scripted(modern(call)).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(), CALL)
        pieces = aiter(exchange)
        first = await anext(pieces)
        assert isinstance(first, Piece)
        before = -1
        while sent != before:  # until the server cannot write any more
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 50_000_000
        size = len(first.data) + sum([len(event.data) async for event in pieces if isinstance(event, Piece)])
        assert size == 800 * 65536 + len('{"x":""}')


async def test_progress_and_logs_are_notices_and_foreign_progress_is_dropped() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        token = asked.rpc["params"]["_meta"]["progressToken"]
        await answering.stream()
        for mark in (token, "other", 999):
            params = {"progressToken": mark, "progress": 1, "x": None}
            await answering.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await answering.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}})
        await answering.event(reply(asked, {}))
        await answering.end()

    found = await run(modern(call), Sent("tools/call", b"{}", progress=True))
    assert [event.method for event in found if isinstance(event, Notice)] == [
        "notifications/progress",
        "notifications/message",
    ]
    assert b'"x": null' in found[0].raw
    assert isinstance(found[-1], Answered)


BAD = {
    "wrong id": (200, JSON, b'{"jsonrpc":"2.0","id":"1","result":{}}', "upstream_invalid", True),
    "no json": (200, JSON, b"{oops", "upstream_invalid", True),
    "empty": (200, JSON, b"", "upstream_invalid", True),
    "batch": (200, JSON, b'[{"jsonrpc":"2.0","id":1,"result":{}}]', "upstream_invalid", True),
    "no answer": (200, JSON, b'{"jsonrpc":"2.0","method":"notifications/message"}', "upstream_invalid", True),
    "stream without answer": (200, EVENTS, b": nothing\n\n", "upstream_broke_off", True),
    "garbage in the stream": (200, EVENTS, b"data: oops\n\n", "upstream_invalid", True),
    "page": (200, "text/html", b"<h1>secret</h1>", "upstream_invalid", True),
    "error page": (502, "text/html", b"<h1>secret</h1>", "upstream_unavailable", True),
    "too many": (429, "text/plain", b"secret", "upstream_unavailable", False),
    "accepted": (202, JSON, b"", "upstream_invalid", True),
    "nothing": (204, JSON, b"", "upstream_invalid", True),
    "redirect": (307, JSON, b"", "upstream_invalid", False),
    "unauthorized": (401, JSON, b'{"error":"secret"}', "credential_refused", False),
    "forbidden": (403, JSON, b"secret", "upstream_unavailable", False),
    "teapot": (418, JSON, b"secret", "upstream_invalid", False),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_is_a_failure_with_a_code_and_no_payload(name: str) -> None:
    status, kind, body, code, may_have_run = BAD[name]

    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(body, status, kind, "Location: http://169.254.169.254/")

    end = (await run(modern(call)))[-1]
    assert isinstance(end, Failed), end
    assert (end.code, end.may_have_run) == (code, may_have_run)
    assert end.detail
    assert "secret" not in end.detail
    assert "169.254" not in end.detail


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_is_said_so(status: int) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(b"", status)

    end = (await run(modern(call), who=peer(credential=("Authorization", "Bearer x"))))[-1]
    assert isinstance(end, Failed)
    assert "refused our credential" in end.detail


@pytest.mark.parametrize("status", [200, 400, 404, 500])
async def test_an_error_that_answers_the_request_is_the_answer(status: int) -> None:
    error = b'{"code":-32602,"message":"no","data":{"x":1.0}}'

    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (asked.id, error), status)

    end = (await run(modern(call)))[-1]
    assert end == Answered("error", error)


async def test_a_compressed_answer_is_refused() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.whole(b"x", 200, JSON, "Content-Encoding: gzip")

    end = (await run(modern(call)))[-1]
    assert isinstance(end, Failed)
    assert end.code == "upstream_invalid"


@pytest.mark.parametrize("kind", [JSON, EVENTS])
async def test_an_answer_over_the_cap_is_refused(kind: str) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream(kind=kind)
        await answering.chunk(b"data: {" if kind == EVENTS else b"{")
        for _ in range(100):
            await answering.chunk(b" " * 65536)

    end = (await run(modern(call), cap=1024 * 1024))[-1]
    assert isinstance(end, Failed)
    assert end.code == "upstream_too_large"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", [JSON, EVENTS])
async def test_a_server_that_dies_in_its_answer_may_have_run_the_call(kind: str, large: bool) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream(kind=kind)
        start = b'{"jsonrpc":"2.0","id":%b,"result":{"x":"' % asked.id
        await answering.chunk((b"id: 5\ndata: " if kind == EVENTS else b"") + start + b"y" * (600_000 * large))
        answering.abort()

    found = await run(modern(call))
    assert isinstance(found[-1], Failed)
    assert (found[-1].code, found[-1].may_have_run) == ("upstream_broke_off", True)
    assert any(isinstance(event, Piece) for event in found) == large


async def test_a_server_that_is_not_there_has_not_run_anything() -> None:
    async with Scripted(modern(_never)).running() as server:
        url = server.url
    async with pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(at(url), peer(), CALL)
    assert caught.value.code == "upstream_unavailable"


async def _never(asked: Asked, answering: Answering) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("drip", [False, True])
async def test_silence_ends_a_call_and_signs_of_life_do_not(drip: bool) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        for _ in range(8):
            await asyncio.sleep(0.25 if drip else 60)
            await answering.chunk(b": still here\n\n")
        await answering.event(reply(asked, {}))
        await answering.end()

    async with Scripted(modern(call)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(at(server.url, timeout_s=1.0), peer(), CALL))
    if drip:
        assert isinstance(end, Answered)
    else:
        assert isinstance(end, Failed)
        assert (end.code, end.may_have_run) == ("upstream_timeout", True)
