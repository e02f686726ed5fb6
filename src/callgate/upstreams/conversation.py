"""What conversations with an upstream have in common, whatever carries them: era, facts, envelope, log level.

Fail closed: `params` whose `_meta` is no object is refused before anything is sent.
"""

import msgspec

from callgate.errors import Refused
from callgate.upstreams.exchange import Sent, Sink
from callgate.upstreams.inbox import Inbox, whole
from callgate.upstreams.routing import Router, member
from callgate.wire import eras, jsonrpc

CLIENT_INFO = b'{"name":"callgate","version":"1"}'


class Conversation:
    """One upstream for one peer."""

    def __init__(self, era: str, version: str, capabilities: bytes) -> None:
        self.era = era
        self.version = version
        self.capabilities = capabilities
        self.server: bytes = b""  # raw result of initialize or server/discover; empty while nobody has asked
        self.lost = False  # opened anew for the next call
        self.router = Router(self._reply)
        self.subscribed: dict[str, int] = {}  # handshake era: URI → how many follow it
        self._level: str | None = None
        self._next = 0

    def next_id(self) -> bytes:
        """An id that this conversation has not used."""
        self._next += 1
        return b"%d" % self._next

    @property
    def busy(self) -> bool:
        """Whether somebody waits for something of it."""
        return self.router.busy or self.router.followed

    def start(self, sent: Sent, sink: Sink | None = None) -> Inbox:
        """Send one request."""
        raise NotImplementedError

    def carry(self, credential: tuple[str, str] | None) -> None:
        """Use this credential from here on: the value of the same account changes in time. Nothing to do where it was
        given once and for all."""

    async def tell(self, body: bytes, method: str = "") -> None:
        """Send a notification or an answer. Raises `Refused` when it cannot be delivered."""
        raise NotImplementedError

    def _reply(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a question without waiting."""
        raise NotImplementedError

    async def hear(self) -> bool:
        """Whether messages that belong to no call arrive (handshake era); opens what that needs."""
        raise NotImplementedError

    async def until_lost(self) -> None:
        """Wait for the end of the conversation."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the conversation; calls in flight fail."""
        raise NotImplementedError

    def body(self, sent: Sent, own_id: bytes) -> bytes:
        """The whole message for a request."""
        return jsonrpc.request(own_id, sent.method, enveloped(sent.params, self._meta(sent, own_id)))

    def _meta(self, sent: Sent, own_id: bytes) -> dict[str, bytes]:
        """What the gateway adds to `_meta`: the envelope of the modern era, and a progress token."""
        extra: dict[str, bytes] = {}
        if sent.progress:
            extra["progressToken"] = own_id
        if self.era == eras.MODERN:
            extra[eras.VERSION_KEY] = jsonrpc.encoded(self.version)
            extra[eras.CAPABILITIES_KEY] = sent.capabilities or self.capabilities
            extra[eras.CLIENT_INFO_KEY] = CLIENT_INFO
            if sent.log_level is not None:
                extra[eras.LOG_LEVEL_KEY] = jsonrpc.encoded(sent.log_level)
        return extra

    def needs_level(self, level: str | None) -> bool:
        """Whether a handshake-era server has to be told the level that this client wants."""
        return level is not None and level != self._level and self.era == eras.LEGACY and self.declares("logging")

    async def set_level(self, level: str) -> None:
        """Tell a handshake-era server which log messages are wanted. One that refuses goes on as it likes."""
        self._level = level
        exchange = self.start(Sent("logging/setLevel", jsonrpc.encoded({"level": level})))
        await whole(exchange)

    def declares(self, capability: str) -> bool:
        """Whether the server has declared a capability."""
        return bool(member(member(self.server, "capabilities"), capability))


def enveloped(params: bytes, extra: dict[str, bytes]) -> bytes:
    """`params` with members added to its `_meta`; nothing else changes. Raises `Refused("invalid_params")`."""
    if not extra:
        return params
    if b'"_meta"' not in params and b"\\u" not in params:
        addition = b'"_meta":' + jsonrpc.joined(extra)
        inner = params.strip()[1:-1]
        return b"{" + inner + (b"," if inner.strip() else b"") + addition + b"}"
    fields = jsonrpc.members(params)
    meta: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(fields.get("_meta", b"")))
    meta.update(extra)
    return jsonrpc.joined({**fields, "_meta": jsonrpc.joined(meta)})


def answer_body(ask_id: bytes, reply: bytes) -> bytes:
    """The JSON-RPC response to a question: `reply` is a raw object with `result` or `error`."""
    fields: dict[str, bytes | msgspec.Raw] = {"jsonrpc": b'"2.0"', "id": ask_id}
    fields.update(jsonrpc.members(reply))
    return jsonrpc.joined(fields)


def undelivered(refused: Refused) -> str:
    """Why an answer to a question did not arrive."""
    return f"The answer to the server's question could not be delivered. {refused.sentence}"
