"""One request and its answer, apart from the connection that carries them: limits, handler, ticket.

Contract of the callbacks: `on_head` once, then `on_chunk` any number of times, then `on_end`; or `on_error` at any
point. Exactly one of `on_end` and `on_error` is called, unless the ticket was aborted: then nothing more is called.
All of them run on the loop and none runs inside `Pool.send`. A handler must not block and should not raise; if it does,
the connection is closed and the error goes to the loop's exception handler.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from callgate.net.errors import EgressError

Headers = list[tuple[bytes, bytes]]


class ResponseHandler(Protocol):
    """Who takes the answer. Names of headers come in lower case."""

    def on_head(self, status: int, headers: Headers) -> None: ...
    def on_chunk(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_error(self, error: EgressError) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes that one exchange may take. None = no limit of that kind.

    `connect` covers waiting for a free connection, name resolution, TCP and TLS; `first_byte` runs from the request
    to the end of the answer's head; `idle` is the longest silence within the body (it rests while the reader has
    paused); `total` covers everything and is None for long streams. Times are kept to about a quarter of a second.
    """

    connect: float = 10.0
    first_byte: float | None = 60.0
    idle: float | None = 60.0
    total: float | None = 300.0
    head_bytes: int = 64 * 1024
    response_bytes: int = 64 * 1024 * 1024


DEFAULT_LIMITS = Limits()


class Carrier(Protocol):
    """What a ticket needs of the connection that serves it."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class Ticket:
    """A request on its way. `done` is True after the last callback and after `abort`."""

    __slots__ = ("body", "cancel_dial", "carrier", "done", "handler", "head", "limits", "paused", "started")

    def __init__(self, handler: ResponseHandler, limits: Limits, head: bytes, body: bytes, started: float) -> None:
        self.handler = handler
        self.limits = limits
        self.head = head
        self.body = body
        self.started = started  # monotonic seconds
        self.carrier: Carrier | None = None
        self.cancel_dial: Callable[[], object] | None = None
        self.paused = False
        self.done = False

    def pause(self) -> None:
        """Stop reading from the server. What has been read already (up to 256 KB) may still be delivered."""
        self.paused = True
        if self.carrier is not None:
            self.carrier.pause()

    def resume(self) -> None:
        self.paused = False
        if self.carrier is not None:
            self.carrier.resume()

    def abort(self) -> None:
        """Give up: the connection is closed and no callback follows. Does nothing when the exchange is over."""
        if self.done:
            return
        self.done = True
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.close()
        elif self.cancel_dial is not None:
            self.cancel_dial()

    def fail(self, error: EgressError) -> None:
        """For the pool: end with an error, once."""
        if not self.done:
            self.done = True
            self.carrier = None
            self.handler.on_error(error)
