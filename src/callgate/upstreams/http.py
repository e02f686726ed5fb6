"""Streamable HTTP towards one upstream, in both eras: heads, bodies, and the exchange over one answer.

Built callback-first on `net.pool`: a call needs no task. Source: 2025-11-25 and 2026-07-28 streamable HTTP.
Fail closed: nothing of the client's request travels but `params`; a call that may have run is never repeated; an answer
of another kind than expected is `upstream_invalid`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from callgate.errors import Refused
from callgate.net.errors import AnswerTooLarge, BadAnswer, EgressError, EgressTimeout, PeerClosed
from callgate.net.exchange import Headers, Limits, Ticket
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool
from callgate.net.request import build_head
from callgate.net.target import Target
from callgate.upstreams.answer import EventStream, JsonBody, MessageReader
from callgate.upstreams.exchange import Answered, Ask, Ended, Event, Failed, Notice, Piece, Sink
from callgate.upstreams.inbox import Inbox
from callgate.wire import eras, headers, jsonrpc

CLIENT_INFO = b'{"name":"callgate","version":"1"}'
_MAX_ERROR_BODY = 64 * 1024
_RESUME_SECONDS = 1.0
_MAX_HEADS = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upstream is, and how it may be reached. `credential`: header name and value."""

    target: Target
    policy: TargetPolicy
    limits: Limits
    credential: tuple[str, str] | None

    def __repr__(self) -> str:
        return f"Place({self.target.origin})"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it is sent. `params` is the raw object without gateway members."""

    method: str
    params: bytes
    name: str | None = None
    progress: bool = False
    log_level: str | None = None
    mirrored: tuple[tuple[str, str], ...] = ()


def failure(error: EgressError) -> Failed:
    """What an outbound failure means for a call."""
    code = "upstream_unavailable"
    if isinstance(error, EgressTimeout) and error.request_sent:
        code = "upstream_timeout"
    elif isinstance(error, PeerClosed):
        code = "upstream_broke_off"
    elif isinstance(error, AnswerTooLarge):
        code = "upstream_too_large"
    elif isinstance(error, BadAnswer):
        code = "upstream_invalid"
    return Failed(code, str(error), error.request_sent)


def enveloped(params: bytes, extra: dict[str, bytes]) -> bytes:
    """`params` with members added to its `_meta`; nothing else changes."""
    if not extra:
        return params
    if b'"_meta"' not in params:
        addition = b'"_meta":' + jsonrpc.joined(extra)
        inner = params.strip()[1:-1]
        return b"{" + inner + (b"," if inner.strip() else b"") + addition + b"}"
    fields = jsonrpc.members(params)
    meta: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(fields.get("_meta", b"")))
    meta.update(extra)
    return jsonrpc.joined({**fields, "_meta": jsonrpc.joined(meta)})


class HttpConversation:
    """One upstream for one peer. A handshake-era one has a session; a modern one is only facts."""

    def __init__(self, pool: Pool, place: Place, era: str, version: str, capabilities: bytes) -> None:
        self.pool = pool
        self.place = place
        self.era = era
        self.version = version
        self.session: str | None = None
        self.server: bytes = b"{}"  # raw result of initialize or server/discover
        self.capabilities = capabilities
        self.lost = False
        self.reopen: Callable[[], asyncio.Future[HttpConversation]] | None = None
        self._next = 0
        self._heads: dict[tuple[str, str | None], bytes] = {}
        self._envelope = b""

    def start(self, sent: Sent, sink: Sink | None = None) -> "HttpExchange":
        """Send one request now."""
        self._next += 1
        exchange = HttpExchange(self, b"%d" % self._next, sent, sink)
        exchange.send()
        return exchange

    def post_head(self, method: str, name: str | None, size: int, more: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head of a POST. Heads repeat from call to call, so all but the length is kept."""
        key = (method, name)
        kept = self._heads.get(key) if not more else None
        if kept is None:
            whole = build_head("POST", self.place.target, [*self._fields(method, name), *more], 0)
            kept, _, _ = whole.rpartition(b"Content-Length: 0\r\n")
            if more or (self.era == eras.LEGACY and not self.version):
                return kept + b"Content-Length: %d\r\n\r\n" % size
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[key] = kept
        return kept + b"Content-Length: %d\r\n\r\n" % size

    def _fields(self, method: str, name: str | None) -> list[tuple[str, str]]:
        fields = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
        if self.era == eras.MODERN:
            fields += [("MCP-Protocol-Version", self.version), ("Mcp-Method", method)]
            if name is not None and method in eras.NAME_MEMBERS:
                fields.append(("Mcp-Name", headers.encode_value(name)))
        return [*fields, *self._legacy_fields()]

    def get_head(self, last_id: str | None) -> bytes:
        """The head of the handshake era's GET stream."""
        fields = [("Accept", "text/event-stream"), *self._legacy_fields()]
        if last_id is not None:
            fields.append(("Last-Event-ID", last_id))
        return build_head("GET", self.place.target, fields, 0)

    def _legacy_fields(self) -> list[tuple[str, str]]:
        fields = [self.place.credential] if self.place.credential is not None else []
        if self.era == eras.LEGACY:
            if self.session is not None:
                fields.append(("Mcp-Session-Id", self.session))
            if self.version >= "2025-06-18":
                fields.append(("MCP-Protocol-Version", self.version))
        return fields

    def meta(self, sent: Sent, own_id: bytes) -> dict[str, bytes]:
        """What the gateway adds to `_meta`: the envelope of the modern era, and a progress token."""
        extra: dict[str, bytes] = {}
        if sent.progress:
            extra["progressToken"] = own_id
        if self.era == eras.MODERN:
            extra[eras.VERSION_KEY] = jsonrpc.encoded(self.version)
            extra[eras.CAPABILITIES_KEY] = self.capabilities
            extra[eras.CLIENT_INFO_KEY] = CLIENT_INFO
            if sent.log_level is not None:
                extra[eras.LOG_LEVEL_KEY] = jsonrpc.encoded(sent.log_level)
        return extra

    def params(self, sent: Sent, own_id: bytes) -> bytes:
        """The params as they are sent. The usual case has the same addition each time."""
        usual = not sent.progress and sent.log_level is None
        if not usual or b'"_meta"' in sent.params:
            return enveloped(sent.params, self.meta(sent, own_id))
        if self.era == eras.LEGACY:
            return sent.params
        if not self._envelope:
            self._envelope = b'"_meta":' + jsonrpc.joined(self.meta(sent, own_id)) + b"}"
        inner = sent.params[:-1].rstrip()
        return inner + (self._envelope if inner == b"{" else b"," + self._envelope)

    async def tell(self, body: bytes, method: str) -> None:
        """POST a notification or a response; the answer says nothing. Raises `Refused`."""
        teller = Teller()
        head = self.post_head(method, None, len(body))
        self.pool.send(self.place.target, self.place.policy, head, body, teller, self.place.limits)
        await teller.done


class Teller:
    """Takes the empty answer to a notification."""

    def __init__(self) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._status = 0

    def on_head(self, status: int, headers: Headers) -> None:
        del headers
        self._status = status

    def on_chunk(self, data: bytes) -> None:
        """Not wanted."""

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(self._status)

    def on_error(self, error: EgressError) -> None:
        if not self.done.done():
            failed = failure(error)
            self.done.set_exception(Refused(failed.code, failed.detail))


class HttpExchange(Inbox):
    """One request over streamable HTTP."""

    def __init__(self, conversation: HttpConversation, own_id: bytes, sent: Sent, sink: Sink | None) -> None:
        super().__init__(conversation.era, sink)
        self.own_id = own_id
        self.status = 0
        self.session: str | None = None  # what the answer's head named
        self._conversation = conversation
        self._sent = sent
        self._body: JsonBody | EventStream | None = None
        self._error = b""
        self._ticket: Ticket | None = None
        self._again = False
        self._tasks: set[asyncio.Task[None]] | None = None

    def send(self) -> None:
        """Write the request."""
        conversation, sent = self._conversation, self._sent
        body = jsonrpc.request(self.own_id, sent.method, conversation.params(sent, self.own_id))
        head = conversation.post_head(sent.method, sent.name, len(body), sent.mirrored)
        place = conversation.place
        self._ticket = conversation.pool.send(place.target, place.policy, head, body, self, place.limits)

    # -- the answer ------------------------------------------------------------------------------------------------

    def on_head(self, status: int, headers: Headers) -> None:
        """Decide how the body is read."""
        self.status = status
        kind = b""
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                kind = value.partition(b";")[0].strip().lower()
            elif lower == b"mcp-session-id":
                self.session = value.decode("latin-1")
        if status == 200 and kind == b"application/json":
            self._body = JsonBody(self._reader())
        elif status == 200 and kind == b"text/event-stream":
            cap = self._conversation.place.limits.response_bytes
            self._body = EventStream(self._reader(), cap)
        elif status == 200:
            self._fail(
                Refused("upstream_invalid", "The server answered with something that is neither JSON nor events.")
            )

    def _reader(self) -> MessageReader:
        return MessageReader(self.own_id, self.emit, self._other)

    def on_chunk(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._body is None:
            if len(self._error) < _MAX_ERROR_BODY:
                self._error += data
            return
        try:
            self._body.feed(data)
        except Refused as refused:
            self._fail(refused)

    def on_end(self) -> None:
        """The body is complete."""
        self._ticket = None
        try:
            if isinstance(self._body, JsonBody):
                self._body.end()
            elif isinstance(self._body, EventStream):
                self._stream_ended(self._body)
            elif not self.over:
                self._refused()
        except Refused as refused:
            self._fail(refused)

    def on_error(self, error: EgressError) -> None:
        """No (whole) answer."""
        self._ticket = None
        stream = self._body
        if isinstance(stream, EventStream) and stream.last_id is not None and not self.over:
            self._spawn(self._go_on(stream))
            return
        self.emit(failure(error))

    def _fail(self, refused: Refused) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.abort()
        self.emit(Failed(refused.code, refused.detail, True))

    def _stream_ended(self, stream: EventStream) -> None:
        if self.over:
            return
        if stream.last_id is not None:
            self._spawn(self._go_on(stream))
        else:
            self.emit(Failed("upstream_broke_off", "The server ended its stream without an answer.", True))

    async def _go_on(self, stream: EventStream) -> None:
        """Resume a stream that the server closed early (2025-11-25, "Resumability and Redelivery")."""
        await asyncio.sleep((stream.retry_ms or int(_RESUME_SECONDS * 1000)) / 1000)
        if self.over:
            return
        conversation = self._conversation
        place = conversation.place
        head = conversation.get_head(stream.last_id)
        self._ticket = conversation.pool.send(place.target, place.policy, head, b"", self, place.limits)

    # -- answers that are no result ----------------------------------------------------------------------------------

    def _refused(self) -> None:
        """An HTTP status other than 200."""
        conversation, status = self._conversation, self.status
        if conversation.session is not None and status in (400, 404) and not self._again:
            self._again = True
            conversation.lost = True
            if conversation.reopen is not None:
                self._spawn(self._resend(conversation.reopen()))
                return
        if status in (401, 403):
            self.emit(Failed("upstream_unavailable", "The server refused our credential.", False))
        elif 400 <= status < 500 and self._is_error(self._error):
            self._reader().message(self._error)
        elif 300 <= status < 400:
            self.emit(Failed("upstream_invalid", "The server redirects; enter the address it redirects to.", False))
        elif status >= 500:
            self.emit(Failed("upstream_unavailable", f"The server answered with HTTP status {status}.", True))
        else:
            self.emit(Failed("upstream_invalid", f"The server answered with HTTP status {status}.", True))

    def _is_error(self, body: bytes) -> bool:
        try:
            message = jsonrpc.parse(body, 64)
        except Refused:
            return False
        return bool(message.error) and bytes(message.id) == self.own_id

    async def _resend(self, opening: "asyncio.Future[HttpConversation]") -> None:
        """The server had forgotten the session and said so: the call was not executed, so it is sent again, once."""
        try:
            self._conversation = await opening
        except Refused as refused:
            self.emit(Failed(refused.code, refused.detail, False))
            return
        self._error = b""
        if not self.over:
            self.send()

    # -- other messages ------------------------------------------------------------------------------------------------

    def _other(self, message: jsonrpc.Message, raw: bytes) -> None:
        if message.is_notification:
            self.emit(Notice(message.method or "", raw))
        elif message.method == "ping":
            self._spawn(self.answer(bytes(message.id), b'{"result":{}}'))
        else:
            self.emit(Ask(bytes(message.id), message.method or "", bytes(message.params or b"{}")))

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """POST the answer to a question."""
        fields: dict[str, bytes | msgspec.Raw] = {"jsonrpc": b'"2.0"', "id": ask_id}
        fields.update(jsonrpc.members(reply))
        await self._conversation.tell(jsonrpc.joined(fields), "")

    async def cancel(self) -> None:
        """Stop: by a notification in the handshake era, by closing the stream in the modern one."""
        if self.over:
            return
        self.over = True
        if self.era == eras.LEGACY:
            params = b'{"requestId":%b}' % self.own_id
            try:
                async with asyncio.timeout(5):
                    await self._conversation.tell(
                        jsonrpc.notification("notifications/cancelled", params), "notifications/cancelled"
                    )
            except (Refused, TimeoutError):
                pass  # the upstream is gone; there is nothing left to cancel
        await self.aclose()

    async def aclose(self) -> None:
        """Give up the connection if the answer is not whole."""
        self.over = True
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.abort()
        for task in tuple(self._tasks or ()):
            task.cancel()

    def _pause(self) -> None:
        if self._ticket is not None:
            self._ticket.pause()

    def _resume(self) -> None:
        if self._ticket is not None:
            self._ticket.resume()

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def whole(exchange: Inbox) -> tuple[str, bytes]:
    """Wait for the answer of a small exchange: (`result` or `error`, value). Raises `Refused`."""
    pieces: list[bytes] = []
    async for event in exchange:
        if isinstance(event, Failed):
            raise Refused(event.code, event.detail)
        kind, raw = _part(event)
        if kind == "piece":
            pieces.append(raw)
        elif kind:
            return (kind, raw) if kind != "ended" else ("result", b"".join(pieces))
    raise Refused("upstream_broke_off")


def _part(event: Event) -> tuple[str, bytes]:
    if isinstance(event, Answered):
        return event.kind, event.raw
    if isinstance(event, Piece):
        return "piece", event.data
    return ("ended", b"") if isinstance(event, Ended) else ("", b"")
