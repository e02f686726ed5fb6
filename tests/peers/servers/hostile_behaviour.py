"""How the hostile upstream answers a call: one coroutine a bad manner. See hostile_data.BEHAVIOURS for the list."""

import asyncio
import gzip
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import hostile_data as data
from raw_http import Connection, Gone, Request

JSON = ("Content-Type", "application/json")
EVENTS = ("Content-Type", "text/event-stream")
BIG = 5_000_000
INSTRUCTIONS = "caf\\u00e9 \\u2028 instructions"
ABOUT = (
    b'"capabilities":{"tools":{"listChanged":true,"x-tools":1.0},"prompts":{"listChanged":true},"resources":'
    b'{"subscribe":true,"listChanged":true},"logging":{},"completions":{},"x-unknown":{"a":null}},'
    b'"serverInfo":{"name":"hostile","version":"1","title":"H","x-info":9007199254740993},'
    b'"instructions":"' + INSTRUCTIONS.encode() + b'","x-about":null'
)


class Shared(Protocol):
    """What a call needs of the server that it runs in."""

    released: asyncio.Event
    answers: dict[str, asyncio.Future[bytes]]


def envelope(id_: bytes, value: bytes, member: bytes = b"result") -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (id_, member, value)


def typed(result: bytes) -> bytes:
    """Add what the modern era wants of every result."""
    start = b'{"resultType":"complete"' + (b"" if result.startswith(b"{}") else b",")
    return start + result[1:]


def cached(result: bytes) -> bytes:
    start = b'{"resultType":"complete","ttlMs":60000,"cacheScope":"public"' + (b"" if result == b"{}" else b",")
    return start + result[1:]


def listing(member: str, items: list[bytes], cursor: int | None = None) -> bytes:
    more = b"" if cursor is None else b',"nextCursor":"%d"' % cursor
    return b'{"%b":[%b]%b,"x-list":{"n":1.0,"null":null}}' % (member.encode(), b",".join(items), more)


@dataclass(frozen=True)
class Call:
    """One request to be answered; `id` is the raw JSON of its id."""

    request: Request
    message: dict[str, Any]
    id: bytes
    connection: Connection
    modern: bool
    server: Shared

    def finish(self, result: bytes) -> bytes:
        """The result as its era wants it."""
        return typed(result) if self.modern else result

    async def reply(self, result: bytes, *, cacheable: bool = False) -> None:
        if self.modern:
            result = cached(result) if cacheable else typed(result)
        await self.connection.answer(200, envelope(self.id, result), JSON)

    async def fail(self, error: bytes) -> None:
        await self.connection.answer(200, envelope(self.id, error, b"error"), JSON)

    async def event(self, message: bytes) -> None:
        await self.connection.chunk(b"event: message\ndata: " + message + b"\n\n")


async def call_tool(call: Call) -> None:
    params = call.message.get("params") or {}
    name = str(params.get("name"))
    if name in ACTS:
        return await ACTS[name](call)
    if name in data.FIXED:
        return await call.reply(data.FIXED[name])
    said = json.dumps({"content": [{"type": "text", "text": f"called {name}"}]}, ensure_ascii=False)
    return await call.reply(said.encode())


async def answer_other(call: Call, method: str) -> None:
    """Every method that is neither a list nor a call."""
    fixed = {
        "ping": b"{}",
        "logging/setLevel": b"{}",
        "resources/subscribe": b"{}",
        "resources/unsubscribe": b"{}",
        "completion/complete": b'{"completion":{"values":["a\\u00e9"],"total":1,"x":1.0},"x-complete":null}',
        "prompts/get": b'{"description":null,"messages":[{"role":"user","content":{"type":"text","text":"p",'
        b'"x":9007199254740993},"x-message":null}],"_meta":' + data.META + b',"x-get":1.0}',
        "resources/read": b'{"contents":[{"uri":"odd://x","mimeType":"text/plain","text":"t","_meta":'
        + data.META
        + b',"x-contents":1.0},{"uri":"odd://y","blob":"AAE=","x":null}],"x-read":1.0}',
    }
    if method not in fixed:
        error = b'{"code":-32601,"message":"Method not found","data":{"x":1.0}}'
        return await call.connection.answer(404 if call.modern else 200, envelope(call.id, error, b"error"), JSON)
    return await call.reply(fixed[method], cacheable=method == "resources/read")


# --- manners ---------------------------------------------------------------------------------------------------


async def _rpc_error(call: Call) -> None:
    await call.fail(data.RPC_ERROR)


async def _echo_request(call: Call) -> None:
    try:
        body = call.request.body.decode()
    except UnicodeDecodeError:
        body = ""
    seen = {"headers": call.request.headers, "body": body, "path": call.request.path}
    text = json.dumps(seen)
    await call.reply(json.dumps({"content": [{"type": "text", "text": text}], "structuredContent": seen}).encode())


def _progress_token(call: Call) -> bytes:
    return json.dumps(((call.message.get("params") or {}).get("_meta") or {}).get("progressToken")).encode()


async def _notify(call: Call) -> None:
    token = _progress_token(call)
    await call.connection.head(200, EVENTS)
    if token != b"null":
        for progress in (b"0.10", b"1", b"9007199254740993"):
            note = b'{"progressToken":%b,"progress":%b,"total":1e400,"message":"m \\u00e9","x-progress":null}'
            await call.event(_note(b"notifications/progress", note % (token, progress)))
    logged = b'{"level":"info","logger":"l","data":{"n":9007199254740993,"null":null},"x-log":1.0}'
    await call.event(_note(b"notifications/message", logged))
    await call.event(_note(b"notifications/x-unknown", b'{"n":1.0}'))
    await call.event(envelope(call.id, call.finish(data.ODD_RESULT)))
    await call.connection.end()


def _note(method: bytes, params: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","method":"%b","params":%b,"x-note":1.0}' % (method, params)


async def _asks(call: Call) -> None:
    """Ask for the kind that `arguments.kind` names, and give back the raw answer."""
    params = call.message.get("params") or {}
    kind = (params.get("arguments") or {}).get("kind", data.ASKS[0])
    wanted = {
        "elicitation/create": b'{"message":"m","requestedSchema":{"type":"object","properties":{"n":{"type":"number",'
        b'"default":1.0}}},"x-ask":9007199254740993}',
        "sampling/createMessage": b'{"messages":[{"role":"user","content":{"type":"text","text":"?","x":null}}],'
        b'"maxTokens":9007199254740993,"x-ask":null}',
        "roots/list": b'{"_meta":{"x":null}}',
    }[kind]
    if call.modern:
        return await _ask_modern(call, params, kind, wanted)
    key = f"ask-{uuid.uuid4()}"
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    call.server.answers[key] = answer
    await call.connection.head(200, EVENTS)
    await call.event(b'{"jsonrpc":"2.0","id":"%b","method":"%b","params":%b}' % (key.encode(), kind.encode(), wanted))
    if await call.connection.until_gone(answer):
        raise Gone
    await call.event(envelope(call.id, _text(answer.result())))
    return await call.connection.end()


async def _ask_modern(call: Call, params: dict[str, Any], kind: str, wanted: bytes) -> None:
    if "inputResponses" in params:
        got = {"responses": params["inputResponses"], "state": params.get("requestState")}
        return await call.reply(_text(json.dumps(got).encode()))
    ask = b'{"method":"%b","params":%b,"x-request":1.0}' % (kind.encode(), wanted)
    result = b'{"resultType":"input_required","inputRequests":{"k \\u00e9":%b},"requestState":"state %b","x":null}'
    return await call.connection.answer(200, envelope(call.id, result % (ask, b"\\u00e9")), JSON)


def _text(value: bytes) -> bytes:
    return b'{"content":[{"type":"text","text":%b}]}' % json.dumps(value.decode(errors="replace")).encode()


async def _wait(call: Call) -> None:
    if await call.connection.until_gone(call.server.released.wait()):
        raise Gone
    await call.reply(b'{"content":[{"type":"text","text":"released"}]}')


async def _big_id_first(call: Call) -> None:
    await call.reply(data.big_result(BIG))


async def _big_result_first(call: Call) -> None:
    result = call.finish(data.big_result(BIG))
    await call.connection.answer(200, b'{"result":%b,"jsonrpc":"2.0","x-late":null,"id":%b}' % (result, call.id), JSON)


async def _big_pretty(call: Call) -> None:
    await call.connection.answer(200, _pretty(call), JSON)


def _pretty(call: Call) -> bytes:
    result = call.finish(data.big_result(BIG, pretty=True))
    return b'{\n  "jsonrpc" : "2.0",\n  "id" : %b,\n  "result" : %b\n}\n' % (call.id, result)


async def _big_sse(call: Call) -> None:
    await call.connection.head(200, EVENTS)
    await call.event(envelope(call.id, call.finish(data.big_result(BIG))))
    await call.connection.end()


async def _big_after_progress(call: Call) -> None:
    await call.connection.head(200, EVENTS)
    await call.event(_note(b"notifications/progress", b'{"progressToken":%b,"progress":1}' % _progress_token(call)))
    await call.event(envelope(call.id, call.finish(data.big_result(BIG))))
    await call.connection.end()


async def _big_sse_lines(call: Call) -> None:
    await call.connection.head(200, EVENTS)
    lines = b"".join(b"data: " + line + b"\n" for line in _pretty(call).split(b"\n"))
    await call.connection.chunk(lines + b"\n")
    await call.connection.end()


async def _sse_crlf(call: Call) -> None:
    await call.connection.head(200, ("content-type", "TEXT/event-stream;charset=UTF-8"))
    start = b"\xef\xbb\xbf: comment\r\nretry: 10\r\nid: 1\r\ndata:\r\n\r\nevent: ping\r\ndata: not json\r\n\r\n"
    await call.connection.chunk(start)
    body = b"id: 2\r\nevent: message\r\ndata:" + envelope(call.id, call.finish(data.ODD_RESULT)) + b"\r\n\r\n"
    for position in range(0, len(body), 7):
        await call.connection.chunk(body[position : position + 7])
    await call.connection.end()


async def _chunked_odd(call: Call) -> None:
    await call.connection.head(200, ("CONTENT-TYPE", "application/json; charset=utf-8"), ("Trailer", "X-Late"))
    for byte in envelope(call.id, call.finish(data.ODD_RESULT)):
        await call.connection.write(b'1;ext="a;b"\r\n%c\r\n' % byte)
    await call.connection.write(b"0\r\nX-Late: yes\r\n\r\n")


async def _drip(call: Call) -> None:
    """A byte each 5 ms, the answer's small frame included."""
    body = envelope(call.id, call.finish(b'{"content":[{"type":"text","text":"slow"}]}'))
    await call.connection.head(200, JSON, length=len(body))
    for byte in body:
        await call.connection.write(bytes((byte,)))
        await asyncio.sleep(0.005)


async def _part(call: Call, size: int, kept: int) -> bytes:
    """Write an answer but for its last bytes; those that were kept."""
    body = envelope(call.id, call.finish(data.big_result(size)))
    await call.connection.head(200, JSON, length=len(body))
    await call.connection.write(body[:-kept])
    return body[-kept:]


async def _half(call: Call) -> None:
    await _part(call, 100_000, 50_000)


async def _wait_in_result(call: Call) -> None:
    wanted = (call.message.get("params") or {}).get("arguments") or {}
    size = int(wanted.get("size", BIG))
    kept = await _part(call, size, int(wanted.get("kept", size // 2)))
    if await call.connection.until_gone(call.server.released.wait()):
        raise Gone
    await call.connection.write(kept)


async def _hang_in_result(call: Call) -> None:
    await _half(call)
    await call.connection.gone.wait()
    raise Gone


async def _die_in_result(call: Call) -> None:
    await _half(call)
    call.connection.abort()


async def _die_before_result(call: Call) -> None:
    call.connection.abort()


async def _never(call: Call) -> None:
    await call.connection.gone.wait()
    raise Gone


OTHER = b'{"content":[{"type":"text","text":"meant for somebody else"}]}'


async def _wrong_id(call: Call) -> None:
    await call.connection.answer(200, envelope(b'"not-yours"', call.finish(OTHER)), JSON)


async def _foreign_first(call: Call) -> None:
    await call.connection.head(200, EVENTS)
    await call.event(envelope(b"424242", call.finish(OTHER)))
    await call.event(envelope(call.id, call.finish(b'{"content":[{"type":"text","text":"yours"}]}')))
    await call.connection.end()


async def _deep(call: Call) -> None:
    await call.reply(data.deep_result(100_000))


async def _oversized(call: Call) -> None:
    await call.connection.head(200, JSON)
    await call.connection.chunk(b'{"jsonrpc":"2.0","id":%b,"result":{"content":[{"type":"text","text":"' % call.id)
    for _ in range(200):
        await call.connection.chunk(b"x" * 1_000_000)
    await call.connection.chunk(b'"}]}}')
    await call.connection.end()


async def _not_json(call: Call) -> None:
    await call.connection.answer(200, b"<html>hello</html>", ("Content-Type", "text/html"))


async def _status_500(call: Call) -> None:
    await call.connection.answer(500, b"Traceback: secret-in-error-page", ("Content-Type", "text/plain"))


async def _status_401(call: Call) -> None:
    challenge = 'Bearer resource_metadata="http://169.254.169.254/x"'
    await call.connection.answer(401, b"", ("WWW-Authenticate", challenge))


async def _redirect(call: Call) -> None:
    await call.connection.answer(307, b"", ("Location", "http://169.254.169.254/latest/meta-data/"))


async def _gzip_bomb(call: Call) -> None:
    body = gzip.compress(envelope(call.id, call.finish(data.big_result(50_000_000))), 9)
    await call.connection.answer(200, body, JSON, ("Content-Encoding", "gzip"))


ACTS: dict[str, Callable[[Call], Awaitable[None]]] = {
    "rpc_error": _rpc_error,
    "echo_request": _echo_request,
    "notify": _notify,
    "asks": _asks,
    "wait": _wait,
    "big_id_first": _big_id_first,
    "big_result_first": _big_result_first,
    "big_pretty": _big_pretty,
    "big_sse": _big_sse,
    "big_sse_lines": _big_sse_lines,
    "big_after_progress": _big_after_progress,
    "sse_crlf": _sse_crlf,
    "chunked_odd": _chunked_odd,
    "drip": _drip,
    "wait_in_result": _wait_in_result,
    "hang_in_result": _hang_in_result,
    "die_in_result": _die_in_result,
    "die_before_result": _die_before_result,
    "never": _never,
    "wrong_id": _wrong_id,
    "foreign_first": _foreign_first,
    "deep": _deep,
    "oversized": _oversized,
    "not_json": _not_json,
    "status_500": _status_500,
    "status_401": _status_401,
    "redirect": _redirect,
    "gzip_bomb": _gzip_bomb,
}
