"""One request over streamable HTTP, built callback-first on `net.pool`: a common call needs no task.

Source: 2025-11-25 and 2026-07-28, streamable HTTP. Fail closed: a call that may have run is never repeated; a call
that the server refused because it had forgotten the session was not executed and is sent again, once; an answer of
another kind than expected is `upstream_invalid`.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable
from typing import Protocol

from callgate import clock
from callgate.errors import Refused
from callgate.net.errors import EgressError, PeerClosed
from callgate.net.exchange import Headers, Ticket
from callgate.net.pool import Pool
from callgate.upstreams.answer import EventStream, JsonBody, MessageReader
from callgate.upstreams.conversation import answer_body, undelivered
from callgate.upstreams.exchange import Answered, Ask, Event, Failed, Notice, Piece, Sent, Sink
from callgate.upstreams.inbox import Inbox
from callgate.upstreams.place import Place, challenge_in, failure, refused_credential
from callgate.upstreams.routing import LISTEN, PROGRESS, UPDATED, Router, member, own_progress
from callgate.wire import eras, jsonrpc

_MAX_ERROR_BODY = 64 * 1024
_RESUME_SECONDS, _LONGEST_PAUSE = 1.0, 30.0
_CANCEL_SECONDS = 5.0
_REDIRECTS = "The server redirects; enter the address it redirects to."
_NEITHER = "The server answered with something that is neither JSON nor events."


class Line(Protocol):
    """What an exchange needs of its conversation (`http.HttpConversation`)."""

    era: str
    lost: bool
    session: str | None
    pool: Pool
    place: Place
    router: Router

    def next_id(self) -> bytes: ...
    def body(self, sent: Sent, own_id: bytes) -> bytes: ...
    def post_head(self, method: str, name: str | None, size: int, more: tuple[tuple[str, str], ...] = ()) -> bytes: ...
    def get_head(self, last_id: str | None) -> bytes: ...
    def forgotten(self) -> None: ...
    def opened_anew(self) -> "Awaitable[Line] | None": ...
    async def tell(self, body: bytes, method: str = "") -> None: ...


class HttpExchange(Inbox):
    """One request and its answer."""

    _can_pause = True

    def __init__(self, line: Line, sent: Sent, sink: Sink | None) -> None:
        super().__init__(line.era, line.next_id(), sink)
        self.status = 0
        self.session: str | None = None  # what the answer's head named
        self._line = line
        self._sent = sent
        self._body: JsonBody | EventStream | None = None
        self._error = b""
        self._challenge = ""
        self._ticket: Ticket | None = None
        self._again = False
        self._begun = False  # pieces are out: what follows cannot start over
        self._resuming = False
        self._alive = 0.0  # when a resumed stream last said something
        self._asked: set[bytes] | None = None
        self._tasks: set[asyncio.Task[None]] | None = None

    def send(self) -> None:
        """Write the request."""
        line, sent = self._line, self._sent
        body = line.body(sent, self.own_id)
        try:
            head = line.post_head(sent.method, sent.name, len(body), sent.mirrored)
        except ValueError as error:  # a credential or a mirrored value that HTTP cannot carry
            self._later(Failed("upstream_unavailable", f"The request cannot be written: {error}.", False))
            return
        line.router.add(sent.method, self)
        self._ticket = line.pool.send(line.place.target, line.place.policy, head, body, self, line.place.limits)

    def _later(self, failed: Failed) -> None:
        asyncio.get_running_loop().call_soon(self.emit, failed)

    def emit(self, event: Event) -> None:
        """Deliver one event."""
        if isinstance(event, Piece):
            self._begun = True
        super().emit(event)

    def _finished(self) -> None:
        self._line.router.over(self.own_id)

    # -- the answer ------------------------------------------------------------------------------------------------

    def on_head(self, status: int, headers: Headers) -> None:
        """Decide how the body is read."""
        self.status = status
        kind = b""
        for name, value in headers:
            if name == b"content-type":
                kind = value.partition(b";")[0].strip().lower()
            elif name == b"mcp-session-id":
                self.session = value.decode("latin-1")
        if status in (401, 403):
            self._challenge = challenge_in(headers)
        if self._resuming:
            if status != 200 or kind != b"text/event-stream" or not isinstance(self._body, EventStream):
                self._fail(Refused("upstream_broke_off", "The server ended its stream and did not take it up again."))
        elif status == 200 and kind == b"application/json":
            self._body = JsonBody(self._reader())
        elif status == 200 and kind == b"text/event-stream":
            self._body = EventStream(self._reader(), self._line.place.limits.response_bytes)
        elif status == 200:
            self._fail(Refused("upstream_invalid", _NEITHER))

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
                body, self._body = self._body, None  # it knows us: a cycle would wait for the garbage collector
                body.finish()
            elif isinstance(self._body, EventStream):
                self._broken(Failed("upstream_broke_off", "The server ended its stream without an answer.", True))
            elif not self.over:
                self._refused()
        except Refused as refused:
            self._fail(refused)

    def on_error(self, error: EgressError) -> None:
        """No (whole) answer."""
        self._ticket = None
        failed = failure(error)
        if isinstance(error, PeerClosed):
            self._broken(failed)
        elif self._resuming:
            self.emit(Failed("upstream_broke_off", failed.detail, True))
        else:
            self.emit(failed)

    def _fail(self, refused: Refused) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.abort()
        self.emit(Failed(refused.code, refused.detail, True))

    # -- a stream that the server closed early (2025-11-25, "Resumability and Redelivery") ---------------------------

    def _broken(self, failed: Failed) -> None:
        if self.over:
            return
        stream = self._body
        resumable = isinstance(stream, EventStream) and stream.last_id is not None and self.era == eras.LEGACY
        if not resumable or self._begun:
            self.emit(failed)
            return
        limit = self._line.place.limits.idle
        if not self._resuming:
            self._alive = clock.monotonic()
        elif limit is not None and clock.monotonic() - self._alive > limit and not self._asked:
            self.emit(Failed("upstream_timeout", "The server took its stream up again but said nothing more.", True))
            return
        self._resuming = True
        self._spawn(self._go_on(stream))

    async def _go_on(self, stream: JsonBody | EventStream | None) -> None:
        if not isinstance(stream, EventStream):
            return
        pause = _RESUME_SECONDS if stream.retry_ms is None else stream.retry_ms / 1000
        await asyncio.sleep(min(max(pause, 0.05), _LONGEST_PAUSE))
        if self.over:
            return
        place = self._line.place
        stream.restarted(place.limits.response_bytes)
        head = self._line.get_head(stream.last_id)
        self._ticket = self._line.pool.send(place.target, place.policy, head, b"", self, place.limits)
        self._rest()

    # -- answers that are no result ----------------------------------------------------------------------------------

    def _refused(self) -> None:
        """An HTTP status other than 200."""
        line, status = self._line, self.status
        error = self._rpc_error()
        if line.session is not None and not self._again and _session_lost(status, error):
            self._again = True
            line.forgotten()
            opening = line.opened_anew()
            if opening is not None:
                self._spawn(self._resend(opening))
                return
        refused = refused_credential(line.place, status, self._challenge)
        if refused is not None:
            self.emit(refused)
        elif error and status >= 400:
            self.emit(Answered("error", error))
        elif 300 <= status < 400:
            self.emit(Failed("upstream_invalid", _REDIRECTS, False))
        elif status >= 500 or status == 429:
            self.emit(Failed("upstream_unavailable", f"The server answered with HTTP status {status}.", status != 429))
        else:
            if status in (400, 404, 405) and self.era == eras.MODERN:
                line.forgotten()
            executed = not 400 <= status < 500
            self.emit(Failed("upstream_invalid", f"The server answered with HTTP status {status}.", executed))

    def _rpc_error(self) -> bytes:
        """The raw JSON-RPC error that answers our request, or nothing."""
        try:
            message = jsonrpc.parse(self._error, 64, lenient=True)
        except Refused:
            return b""
        return bytes(message.error) if bytes(message.id) == self.own_id else b""

    async def _resend(self, opening: Awaitable[Line]) -> None:
        """The server had forgotten the session and said so: the call was not executed, so it is sent again, once."""
        try:
            line = await opening
        except Refused as refused:
            self.emit(Failed(refused.code, refused.detail, False))
            return
        if self.over:
            return
        self._line.router.over(self.own_id)
        self._line, self.own_id = line, line.next_id()
        self._error = b""
        self.send()

    # -- other messages ------------------------------------------------------------------------------------------------

    def _other(self, message: jsonrpc.Message, raw: bytes) -> None:
        self._alive = clock.monotonic()
        method = message.method or ""
        if message.is_request:
            self._question(message, method)
        elif method == PROGRESS:
            if own_progress(bytes(message.params), self.own_id):
                self.emit(Notice(method, raw))
        elif self._sent.method != LISTEN and (method.endswith("/list_changed") or method == UPDATED):
            self._line.router.tell(method, bytes(message.params or b"{}"))
        else:
            self.emit(Notice(method, raw))

    def _question(self, message: jsonrpc.Message, method: str) -> None:
        ask = Ask(bytes(message.id), method, bytes(message.params or b"{}"))
        if method == "ping":
            self._spawn(self.answer(ask.id, b'{"result":{}}'))
            return
        self._asked = self._asked or set()
        self._asked.add(ask.id)
        self._rest()
        self.emit(ask)

    def _rest(self) -> None:
        """While somebody thinks about a question, silence is no failure."""
        ticket = self._ticket
        if ticket is None:
            return
        if self._asked:
            ticket.limits = dataclasses.replace(ticket.limits, idle=None)
        elif ticket.limits.idle is None:
            ticket.limits = self._line.place.limits
            if not ticket.paused:
                ticket.resume()  # the clock of silence starts again

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """POST the answer to a question."""
        try:
            await self._line.tell(answer_body(ask_id, reply))
        except Refused as refused:
            self._fail(Refused("upstream_broke_off", undelivered(refused)))
        if self._asked is not None:
            self._asked.discard(ask_id)
            self._rest()

    # -- the end -------------------------------------------------------------------------------------------------------

    async def cancel(self) -> None:
        """Stop: by a notification in the handshake era, by closing the stream in the modern one."""
        if self.over:
            return
        self.over = True
        if self.era == eras.LEGACY:
            told = jsonrpc.notification("notifications/cancelled", b'{"requestId":%b}' % self.own_id)
            try:
                async with asyncio.timeout(_CANCEL_SECONDS):
                    await self._line.tell(told, "notifications/cancelled")
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
            if task is not asyncio.current_task():
                task.cancel()
        self._finished()

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


def _session_lost(status: int, error: bytes) -> bool:
    """Whether an answer says that the session is unknown: 404, or the 400 of servers that know no better.

    A 400 that answers our request with an ordinary JSON-RPC error is about the request, not about the session.
    """
    code = member(error, "code")
    if status == 404:
        return code != b"-32601"
    return status == 400 and (not error or code.startswith(b"-320"))
