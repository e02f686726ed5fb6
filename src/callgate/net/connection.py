"""One HTTP/1.1 connection: writes a request, parses the answer strictly, and is handed back only if it is clean.

Fail closed: bytes that nobody asked for, framing that can be read in two ways, an encoded body, an upgrade or anything
over a cap closes the connection. It is used again only after an answer that was complete, said so by its framing,
left nothing behind and came after the whole request was written. (RFC 9112 §6, §9.3; RFC 9110 §15.2 on 1xx.)
"""

import asyncio
import select
from typing import Protocol, cast

import httptools

from callgate import clock
from callgate.net.errors import AnswerTooLarge, BadAnswer, EgressError, EgressTimeout, PeerClosed
from callgate.net.exchange import Headers, Ticket

_JOIN_BELOW = 64 * 1024  # one write of a copied request is cheaper than two writes
_PROBE_AFTER = 1.0  # seconds idle after which a connection is looked at before it is used
_OVERHEAD = 16  # bytes of framing allowed for each byte of body, beyond the head's cap
_WATCHED = frozenset({b"content-length", b"transfer-encoding", b"content-encoding", b"keep-alive"})
_NO_BODY = frozenset({204, 304})


class Owner(Protocol):
    """Who keeps connections: told when one is free again and when one is gone."""

    def released(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...


class _Stop(Exception):
    """Raised inside a parser callback after the ticket was aborted, so that parsing ends."""


class Connection(asyncio.Protocol):
    """A transport, its parser, and at most one ticket. Made by the dialler, then adopted by a pool."""

    __slots__ = (
        "_body", "_complete", "_expect_eof", "_fd", "_head_done", "_headers", "_interim", "_owner", "_parser",
        "_reusable", "_since", "_ticket", "_transport", "_wire", "address", "gone", "idle_limit", "max_idle", "route",
    )  # fmt: skip

    def __init__(self, address: str, max_idle: float) -> None:
        self.address = address
        self.route: object = None
        self.gone = False
        self.max_idle = max_idle
        self.idle_limit = max_idle
        self._owner: Owner | None = None
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._fd = -1
        self._ticket: Ticket | None = None
        self._since = 0.0  # of the request, then of the last byte, then of being idle
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._headers: Headers = []
        self._wire = 0
        self._body = 0
        self._head_done = False
        self._interim = False
        self._complete = False
        self._expect_eof = False
        self._reusable = False

    # --- used by the pool ---------------------------------------------------------------------------------------

    def adopt(self, owner: Owner, route: object) -> bool:
        """Tie the connection to its pool. False when it is dead already; then `lost` is never called."""
        if self.gone or self._transport.is_closing():
            self._transport.abort()
            return False
        self._owner = owner
        self.route = route
        self._since = clock.monotonic()
        return True

    def usable(self, now: float) -> bool:
        """Whether an idle connection may carry another request: young enough, open, and silent."""
        idle = now - self._since
        if self.gone or idle >= self.idle_limit or self._transport.is_closing():
            return False
        return idle < _PROBE_AFTER or not self._readable()

    def _readable(self) -> bool:
        """Whether the kernel holds something for an idle connection: its end, or bytes that nobody asked for."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN | select.POLLRDHUP)
        return bool(poll.poll(0))

    def start(self, ticket: Ticket) -> None:
        """Write the request now. The connection must be usable and must have no ticket."""
        self._reset()
        self._ticket = ticket
        ticket.carrier = self
        self._since = clock.monotonic()
        if not ticket.body:
            self._transport.write(ticket.head)
        elif len(ticket.body) < _JOIN_BELOW:
            self._transport.write(ticket.head + ticket.body)
        else:
            self._transport.write(ticket.head)
            self._transport.write(ticket.body)
        if ticket.paused:
            self.pause()

    def check(self, now: float) -> None:
        """End the exchange if one of its limits of time has passed."""
        ticket = self._ticket
        if ticket is None:
            return
        limits = ticket.limits
        waited = now - self._since
        if limits.total is not None and now - ticket.started > limits.total:
            self._fail(EgressTimeout("total", limits.total, request_sent=True))
        elif not self._head_done and limits.first_byte is not None:
            if waited > limits.first_byte:
                self._fail(EgressTimeout("first_byte", limits.first_byte, request_sent=True))
        elif self._head_done and limits.idle is not None and waited > limits.idle and not ticket.paused:
            self._fail(EgressTimeout("idle", limits.idle, request_sent=True))

    # --- used by the ticket -------------------------------------------------------------------------------------

    def pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        self._since = clock.monotonic()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close at once; the ticket, if any, hears nothing more."""
        self._ticket = None
        self._transport.abort()

    def abandon(self, error: EgressError) -> None:
        """Close at once and tell the ticket why."""
        self._fail(error)

    # --- called by the transport --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        self._fd = sock.fileno() if sock is not None else -1

    def data_received(self, data: bytes) -> None:
        ticket = self._ticket
        if ticket is None:  # an answer before its question
            self.close()
            return
        if self._head_done:
            self._since = clock.monotonic()
        self._wire += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._callback_failed(error.__context__)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(BadAnswer(f"The answer is not valid HTTP/1.1: {error}."))
            self._reusable = False
        if self._complete:
            self._end()
        elif self._wire - self._body > ticket.limits.head_bytes + _OVERHEAD * self._body:
            self._fail(AnswerTooLarge("head and framing", ticket.limits.head_bytes))

    def eof_received(self) -> None:
        if self._ticket is not None and self._expect_eof:
            self._complete = True
            self._reusable = False
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        before = self._wire == 0
        ticket, self._ticket = self._ticket, None
        del self._parser  # it holds this object: without this the pair waits for the garbage collector
        if self._owner is not None:
            self._owner.lost(self)
        if ticket is not None:
            ticket.fail(PeerClosed(before_response=before))

    # --- called by the parser -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer to one question: what we have is whole, the rest is not for us
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:  # trailers are dropped (RFC 9110 §6.5.1); their bytes count as framing
            return
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise BadAnswer(f"The answer has status {status}, which was not asked for.")
            self._interim = True
            self._headers = []
            return
        ticket = self._live()
        if self._wire > ticket.limits.head_bytes and _size(self._headers) > ticket.limits.head_bytes:
            raise AnswerTooLarge("head", ticket.limits.head_bytes)
        self._check_head(status, ticket)
        self._head_done = True
        self._since = clock.monotonic()
        ticket.handler.on_head(status, self._headers)

    def on_body(self, data: bytes) -> None:
        if self._complete:
            return
        ticket = self._live()
        self._body += len(data)
        if self._body > ticket.limits.response_bytes:
            raise AnswerTooLarge("body", ticket.limits.response_bytes)
        ticket.handler.on_chunk(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True

    # --- inside -------------------------------------------------------------------------------------------------

    def _live(self) -> Ticket:
        if self._ticket is None:
            raise _Stop
        return self._ticket

    def _check_head(self, status: int, ticket: Ticket) -> None:
        if status > 599 or self._parser.get_http_version() not in {"1.1", "1.0"}:
            raise BadAnswer("The answer's first line is not one of HTTP/1.1.")
        length: int | None = None
        chunked = False
        self.idle_limit = self.max_idle
        for name, value in self._headers:
            if name not in _WATCHED:
                continue
            if name == b"content-length":
                length = _length(value)
            elif name == b"transfer-encoding":
                chunked = _only_chunked(value, seen=chunked)
            elif name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
                raise BadAnswer("The answer is compressed although Accept-Encoding: identity was sent.")
            elif name == b"keep-alive":
                self.idle_limit = min(self.max_idle, _keep_alive_seconds(value))
        if length is not None and length > ticket.limits.response_bytes:
            raise AnswerTooLarge("body", ticket.limits.response_bytes)
        self._expect_eof = length is None and not chunked and status not in _NO_BODY
        self._reusable = not self._expect_eof and self._parser.should_keep_alive()

    def _end(self) -> None:
        """The answer is whole: free the connection first, so that the handler may send on it at once."""
        ticket, self._ticket = self._ticket, None
        if ticket is None:
            return
        ticket.done = True
        ticket.carrier = None
        early = self._transport.get_write_buffer_size() > 0  # answered before the request was out: state unknown
        if self._reusable and not early and not self._transport.is_closing():
            self._since = clock.monotonic()
            if ticket.paused:
                self.resume()
            if self._owner is not None:
                self._owner.released(self)
        else:
            self._transport.abort()
        ticket.handler.on_end()

    def _fail(self, error: EgressError) -> None:
        ticket, self._ticket = self._ticket, None
        self._transport.abort()
        if ticket is not None:
            ticket.fail(error)

    def _callback_failed(self, cause: BaseException | None) -> None:
        if isinstance(cause, _Stop):
            return
        if isinstance(cause, EgressError):
            self._fail(cause)
            return
        self._fail(EgressError("The gateway failed on this answer.", request_sent=True))
        if cause is not None:
            raise cause


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BadAnswer("The answer's Content-Length is not a number.")
    return int(value)


def _only_chunked(value: bytes, *, seen: bool) -> bool:
    if seen or value.strip().lower() != b"chunked":
        raise BadAnswer("The answer's Transfer-Encoding is not plain `chunked`.")
    return True


def _keep_alive_seconds(value: bytes) -> float:
    """What a server promises in `Keep-Alive: timeout=N`, less a second for the way; no promise = no bound."""
    for part in value.lower().split(b","):
        name, _, number = part.strip().partition(b"=")
        if name == b"timeout" and number.isdigit() and len(number) < 7:
            return max(0.0, int(number) - 1.0)
    return float("inf")
