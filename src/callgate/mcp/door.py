"""The listener: one port, two paths, one pipeline.

A `tools/call` from an HTTP client to a warm HTTP upstream stays in this protocol, callback to callback, without a task
and without ASGI. Everything else is handed, byte for byte, to uvicorn's protocol, whose subclass this is. The fast path
reads only a strict subset of HTTP/1.1 (RFC 9112): what it is not sure of is not its business.
Fail closed: nothing is refused here; a request that the fast path does not take is judged by the ordinary edge.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# One way to read each byte and no backtracking: a stranger chooses these bytes.
_START = re.compile(rb"POST ([!-~]{1,1024}) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[!-~\t ]*+\r\n)++)\r\n")
_FIELD = re.compile(rb"([^:\r\n]++):([^\r\n]*+)\r\n")
_MAX_HEAD = 64 * 1024
_NEVER = float("inf")
_HEAD_SECONDS = 30.0  # a request that is not whole by then ends the connection
_STALL_SECONDS, _STALL_BYTES = 60.0, 60_000  # who takes less of what waits for it holds an upstream up: it is cut off
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_MAX_BODY = 256 * 1024
_NOT_HERE = frozenset({"transfer-encoding", "expect", "upgrade", "connection"})


class Head:
    """A request head that the fast path understands. `headers` by lower-case name."""

    __slots__ = ("headers", "length", "path", "size")

    def __init__(self, path: str, headers: dict[str, str], size: int, length: int) -> None:
        self.path = path
        self.headers = headers
        self.size = size  # bytes up to and with the empty line
        self.length = length  # bytes of the body


def read_head(data: bytes) -> Head | None:
    """The head at the start of `data`, None when it is not of the strict subset (or not whole)."""
    match = _START.match(data)
    if match is None:
        return None
    fields = _FIELD.findall(match[2])
    headers = {name.decode("ascii").lower(): value.decode("ascii").strip(" \t") for name, value in fields}
    length = headers.get("content-length", "")
    if len(headers) != len(fields) or not length.isdigit() or len(length) > 7:
        return None
    odd = _NOT_HERE & headers.keys()
    if odd and not (odd == {"connection"} and headers["connection"].lower() == "keep-alive"):
        return None
    return Head(match[1].decode("ascii"), headers, match.end(), int(length))


# Takes the door, the head and the body; True when the request is answered by the fast path.
Taker = Callable[["Door", Head, bytes], bool]


class Door(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, take: Taker | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._take = take
        self._buffer = b""
        self._head: Head | None = None
        self._last: tuple[bytes, Head] | None = None  # clients repeat their head from call to call
        self._busy = False  # a fast call is in flight
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._due = _NEVER  # when the next request has to be whole, and when the timer looks
        self._stall: asyncio.TimerHandle | None = None
        self.on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects; it has to send a whole request head in time."""
        super().connection_made(transport)
        self._arm(_HEAD_SECONDS)

    def _arm(self, seconds: float) -> None:
        """End the connection if no whole request has come by then; an earlier deadline stays. The timer of an earlier
        request is not cancelled: it looks again."""
        self._deadline = min(self._deadline, self.loop.time() + seconds)
        if self._timer is not None and self._due > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._due = self._deadline
            self._timer = self.loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline <= self._due:
            self.timeout_keep_alive_handler()
        elif self._deadline != _NEVER:
            self._arm(_NEVER)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client: kept while a fast call runs or an answer waits to be read, tried, or handed on."""
        if self._busy or (self.flow.write_paused and self._idle()):
            self._buffer += data
            if len(self._buffer) > _MAX_BODY:
                self.transport.pause_reading()
            return
        if not self._buffer and not self._idle():
            super().data_received(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        self._try()

    def _idle(self) -> bool:
        """Whether uvicorn is between two requests on this connection."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or (cycle.response_complete and not cycle.more_body and not self.pipeline)

    def _try(self) -> None:
        data = self._buffer
        head = self._head or self._known_head(data)
        if head is None and b"\r\n\r\n" not in data:
            self._wait_for_head(len(data))
            return
        if head is None or head.length > _MAX_BODY:
            self._hand_over()
            return
        whole = head.size + head.length
        if len(data) < whole:
            self._head = head
            self._arm(_HEAD_SECONDS)
            return
        self._head = None
        if len(data) > whole or not self._taken(head, data[head.size : whole]):
            self._hand_over()

    def _wait_for_head(self, size: int) -> None:
        self._arm(_HEAD_SECONDS)
        if size > _MAX_HEAD:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _taken(self, head: Head, body: bytes) -> bool:
        """Offer the request; the buffer is kept until it is known who answers it."""
        self._busy = True
        self._deadline = _NEVER
        kept, self._buffer = self._buffer, b""
        self._unset_keepalive_if_required()
        if self._take is not None and self._take(self, head, body):
            return True
        self._busy = False
        self._buffer = kept
        return False

    def _known_head(self, data: bytes) -> Head | None:
        last = self._last
        if last is not None and data.startswith(last[0]):
            return last[1]
        head = read_head(data) if b"\r\n\r\n" in data else None
        if head is not None:
            self._last = (data[: head.size], head)
        return head

    def _hand_over(self) -> None:
        data, self._buffer, self._head = self._buffer, b"", None
        self._deadline = _NEVER
        super().data_received(data)

    def answer(self, data: bytes) -> None:
        """Write the whole answer of a fast call and go on with what the client sent meanwhile."""
        if not self.transport.is_closing():
            self.transport.write(data)
        self.release()

    def release(self) -> None:
        """The fast call is over."""
        self._busy = False
        self.on_lost = None
        if self.transport.is_closing():
            return
        if self._closing:
            self.transport.close()
        elif self._buffer:
            self._go_on()
        else:
            self._arm(self.timeout_keep_alive)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self._watch_reader()

    def _watch_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(_STALL_SECONDS, self._still_reads, unread)

    def _still_reads(self, unread: int) -> None:
        if unread - self.transport.get_write_buffer_size() < _STALL_BYTES:
            self.cut()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stop_watching()
        if self._buffer and not self._busy:
            self._go_on()

    def _go_on(self) -> None:
        """The next request, unless the client leaves its answers unread: they would pile up here."""
        if not self.flow.write_paused:
            self.transport.resume_reading()
            self._try()

    def cut(self) -> None:
        """Break the connection: an answer that has begun cannot be completed."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Graceful shutdown: a fast call in flight is finished first."""
        if self._busy:
            self._closing = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away; a fast call in flight is told."""
        lost, self.on_lost = self.on_lost, None
        self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)
        if lost is not None:
            lost()
