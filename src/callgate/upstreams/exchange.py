"""One request in flight to an upstream: the events it yields, and what can be done with it.

The types are shared by every transport. They know nothing of callers' rights, of records or of the client's wire.
Fail closed: an exchange always ends in `Answered`, `Ended` or `Failed`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec


class Notice(msgspec.Struct, frozen=True):
    """A notification that belongs to this exchange. `raw` is the whole JSON-RPC message."""

    method: str
    raw: bytes


class Ask(msgspec.Struct, frozen=True):
    """A server-to-client request of a handshake-era upstream. `id` and `params` are raw JSON."""

    id: bytes
    method: str
    params: bytes


class Answered(msgspec.Struct, frozen=True):
    """The whole answer. `kind` is `result` or `error`, `raw` the value of that member."""

    kind: str
    raw: bytes


class Piece(msgspec.Struct, frozen=True):
    """The next bytes of a large result value, in order.

    `special`: from here on the value is known to be no plain result (it asks for input, or makes a task), so that
    nobody can use it in pieces.
    """

    data: bytes
    special: bool = False


class Ended(msgspec.Struct, frozen=True):
    """After the last `Piece`."""


class Failed(msgspec.Struct, frozen=True):
    """No usable answer. `code` is one of the error table's `upstream_*`; `detail` a sentence without payload."""

    code: str
    detail: str = ""
    may_have_run: bool = True
    challenge: str = ""  # `WWW-Authenticate`, where the upstream refused the credential


Event = Notice | Ask | Answered | Piece | Ended | Failed
Sink = Callable[[Event], None]


class Sent(msgspec.Struct, frozen=True):
    """One request as it is sent. `params` is the raw object without gateway members.

    `name` goes into `Mcp-Name`, `mirrored` are the `Mcp-Param-*` headers; both only in the modern era over HTTP.
    `progress` asks for progress; `log_level` is what the client wants to hear, None when it did not say.
    `capabilities`: what to declare for this request where people share a modern conversation; None = its own.
    """

    method: str
    params: bytes
    name: str | None = None
    progress: bool = False
    log_level: str | None = None
    mirrored: tuple[tuple[str, str], ...] = ()
    capabilities: bytes | None = None


class Exchange(Protocol):
    """One request in flight. Iterate it, or set `sink` to be called with events as they are parsed."""

    era: str
    sink: Sink | None
    over: bool

    def __aiter__(self) -> AsyncIterator[Event]: ...

    def unread(self, events: Sequence[Event]) -> None:
        """Put back events that were taken but not handled: whoever reads next gets them first, in their order."""
        ...

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a question: `reply` is a raw object with `result` or `error`."""
        ...

    async def cancel(self) -> None:
        """Tell the upstream to stop: a notification in the handshake era, closing the stream in the modern one."""
        ...

    async def aclose(self) -> None:
        """Give up what is held; no events follow."""
        ...


class Peer(msgspec.Struct, frozen=True):
    """Who asks an upstream: part of the key of its conversation.

    `session` is the client's handshake-era session id, None for modern clients. `capabilities` is raw JSON.
    `credential` is a header's name and value; it is in no repr.
    """

    tenant: str
    person: str
    session: str | None
    capabilities: bytes
    credential: tuple[str, str] | None = None
    account: str = ""  # whose the credential is, where its value changes in time

    def __repr__(self) -> str:
        return f"Peer({self.tenant}, {self.person}, {self.session})"
