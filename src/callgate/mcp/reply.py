"""The HTTP answer to one JSON-RPC request, in ASGI: one JSON object, or a stream once something must be said early.

Once a stream has begun, an error is a protocol message, never a second HTTP response. What completes the answer is
written by `finish` alone (promise 3). Fail closed: after the client is gone every write is a no-op.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from callgate.call.model import InputRequest
from callgate.errors import Refused
from callgate.mcp import answers
from callgate.wire import eras, jsonrpc, sse

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = list[tuple[bytes, bytes]]

JSON_HEADERS: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


async def send_json(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    """One whole JSON answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*JSON_HEADERS, length, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})


async def send_empty(send: Send, status: int, headers: Headers | None = None) -> None:
    """An answer without a body."""
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *(headers or [])]}
    )
    await send({"type": "http.response.body", "body": b""})


class Reply:
    """Undecided at first; a stream from the first early message on."""

    def __init__(self, send: Send, id_: bytes, method: str, era: str, may_stream: bool = True) -> None:
        self._send = send
        self._id = id_
        self._method = method
        self._era = era
        self._may_stream = may_stream
        self._stream = False  # an event stream is open
        self._value = False  # the head of a large result is out
        self._extra: Headers = []
        self.metadata = ""  # URL of the protected-resource metadata, for who has to ask for more scope
        self.gone = False
        self.done = False

    async def _out(self, message: MutableMapping[str, Any]) -> None:
        if self.gone:
            return
        try:
            await self._send(message)
        except OSError:
            self.gone = True

    async def _body(self, data: bytes, more: bool = True) -> None:
        await self._out({"type": "http.response.body", "body": data, "more_body": more})

    async def open_stream(self) -> bool:
        """Begin an event stream, if the client takes one; says whether one is open."""
        if not self._stream and self._may_stream and not self._value and not self.done:
            self._stream = True
            await self._out({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        return self._stream

    async def message(self, raw: bytes) -> bool:
        """A whole JSON-RPC message before the answer (a notification or a question)."""
        if self._value or self.done or not await self.open_stream():
            return False
        await self._body(sse.encode(raw))
        return not self.gone

    async def keep_alive(self) -> None:
        """A comment, so that neither proxies nor clients take the silence for death."""
        if not self._value and not self.done and await self.open_stream():
            await self._body(sse.COMMENT)

    async def ask(self, id_: str, question: InputRequest) -> bool:
        """A question of the upstream, under an id that finds its way back from any replica."""
        return await self.message(jsonrpc.request(jsonrpc.encoded(id_), question.method, question.params))

    async def write(self, data: bytes) -> None:
        """The next bytes of a large result value."""
        if not self._value:
            self._value = True
            head = b'{"jsonrpc":"2.0","id":%b,"result":' % self._id
            if self._stream:
                head = b"event: message\ndata: " + head
            else:
                await self._out({"type": "http.response.start", "status": 200, "headers": JSON_HEADERS})
            await self._body(head)
            data = self._shaped(data, first=True)
        else:
            data = self._shaped(data, first=False)
        await self._body(data)

    def _shaped(self, data: bytes, *, first: bool) -> bytes:
        """Bytes of a large value in the client's era and framing. Only the head can be changed: members that older
        revisions do not know stay in."""
        if first and self._era == eras.MODERN and b'"resultType"' not in data[:4096]:
            data = data.lstrip()
            rest = data[1:].lstrip()
            data = b'{"resultType":"complete"' + (b"" if rest.startswith(b"}") else b",") + rest
        return sse.one_line(data) if self._stream else data

    async def finish_with(self, kind: str, raw: bytes, extra: Headers) -> None:
        """A whole answer with further response headers; only before anything was sent."""
        self._extra = extra
        await self.finish(kind, raw)

    async def close(self) -> None:
        """End a stream that has no answer (a GET stream)."""
        if self._stream and not self.done:
            await self._end(b"")

    async def finish(self, kind: str, raw: bytes) -> None:
        """The rest of the answer: a whole value, or the tail after `write`s."""
        if self._value:
            tail = self._shaped(raw, first=False) + b"}"
            await self._end(tail + b"\n\n" if self._stream else tail)
        elif kind == "result":
            value = eras.result_for(self._era, raw, self._cache_fields(raw))
            await self._whole(200, jsonrpc.result(self._id, value))
        else:
            value = answers.relayed_error(raw, self._era)
            status = answers.relayed_status(answers.code_of(value), self._era)
            await self._whole(status, jsonrpc.error(self._id, value))

    def _cache_fields(self, raw: bytes) -> dict[str, bytes]:
        """What a person reads is theirs alone: a gateway's `resources/read` is never `public`
        (2026-07-28, /server/utilities/caching)."""
        if self._era != eras.MODERN or self._method != "resources/read" or eras.result_kind(raw) != "complete":
            return {}
        return {"ttlMs": b"0", "cacheScope": b'"private"'}

    async def refuse(self, refused: Refused) -> None:
        """A refusal: the right status while nothing was sent, a protocol message afterwards."""
        if self._value:
            await self.abort()
            return
        if refused.code == "insufficient_scope":
            self._extra = [(b"www-authenticate", answers.challenge(self.metadata, refused))]
        await self._whole(*answers.refusal(self._id, self._method, refused, self._era))

    async def _whole(self, status: int, body: bytes) -> None:
        if self.done:
            return
        if self._stream:
            await self._end(sse.encode(body))
            return
        self.done = True
        if not self.gone:
            try:
                await send_json(self._send, status, body, self._extra)
            except OSError:
                self.gone = True

    async def _end(self, data: bytes) -> None:
        self.done = True
        await self._body(data, more=False)

    async def abort(self) -> None:
        """Break off an answer that cannot be completed: the client must see a broken stream, not a short answer."""
        self.done = self.gone = True
        raise BrokenOff


class BrokenOff(ConnectionError):
    """Raised out of the ASGI application so that the server closes the connection in the middle of the answer."""
