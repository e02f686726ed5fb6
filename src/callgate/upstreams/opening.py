"""Opening a conversation: which era an upstream speaks, and the handshake where there is one.

Modern is tried first, by `server/discover`; whatever is not a modern answer falls back to `initialize`
(2026-07-28 /basic/transports/streamable-http and /stdio, "Backward Compatibility").
Fail closed: an upstream that answers neither is `upstream_unavailable` or `upstream_invalid`, with the reason.
"""

import asyncio
import contextlib

import msgspec

from callgate.errors import Refused
from callgate.net.pool import Pool
from callgate.upstreams.conversation import CLIENT_INFO, Conversation
from callgate.upstreams.duplex import Channel, DuplexConversation
from callgate.upstreams.exchange import Sent
from callgate.upstreams.http import HttpConversation
from callgate.upstreams.http_exchange import HttpExchange
from callgate.upstreams.inbox import Inbox, whole
from callgate.upstreams.place import Place
from callgate.upstreams.routing import member
from callgate.wire import eras, jsonrpc

PROBE_SECONDS = 10.0
HANDSHAKE_SECONDS = 30.0
# What discovery declares: one fixed set, so that fingerprints do not depend on who looks.
FULL_CAPABILITIES = b'{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"sampling":{}}'
_UNSUPPORTED = b"-32022"
_ASKING = frozenset({"sampling", "elicitation", "roots"})
_NO_COMMON = "The server speaks no protocol revision that this gateway knows."


async def open_http(pool: Pool, place: Place, capabilities: bytes, era: str | None) -> HttpConversation:
    """A conversation over streamable HTTP. `era` is what is remembered; None probes."""
    if era != eras.LEGACY:
        conversation = HttpConversation(pool, place, eras.MODERN, eras.LATEST_MODERN, capabilities)
        if era == eras.MODERN or await discovered(conversation):
            return conversation
    conversation = HttpConversation(pool, place, eras.LEGACY, "", capabilities)
    exchange = await _initialize(conversation)
    conversation.session = exchange.session if isinstance(exchange, HttpExchange) else None
    with contextlib.suppress(Refused):  # some servers take no notification; the first request will tell
        await conversation.tell(jsonrpc.notification("notifications/initialized"), "notifications/initialized")
    if not _ASKING.isdisjoint(jsonrpc.members(capabilities)):
        await conversation.hear()  # a server may put its questions there
    return conversation


async def open_channel(channel: Channel, capabilities: bytes, era: str | None, silence: float) -> DuplexConversation:
    """A conversation over a channel; the channel is closed when the upstream cannot be opened.

    `silence`: seconds without a sign of life after which a call is given up.
    """
    conversation = DuplexConversation(channel, capabilities, silence)
    try:
        if era != eras.LEGACY:
            conversation.era, conversation.version = eras.MODERN, eras.LATEST_MODERN
            if await discovered(conversation):
                return conversation
            conversation.era = eras.LEGACY
        await _initialize(conversation)
        await conversation.tell(jsonrpc.notification("notifications/initialized"))
    except BaseException:
        await conversation.close()
        raise
    return conversation


async def discovered(conversation: Conversation) -> bool:
    """Ask a modern server what it is, and keep that. False when the upstream is not modern.

    Raises `Refused` when it cannot be reached, or speaks modern revisions alone and none that is known here.
    """
    exchange = conversation.start(Sent("server/discover", b"{}"))
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            kind, raw = await whole(exchange)
    except TimeoutError:
        return False
    except Refused:
        gone = conversation.lost and isinstance(conversation, DuplexConversation)
        if gone or _away(exchange):
            raise
        return False
    finally:
        await exchange.aclose()
    if kind == "error":
        if member(raw, "code") == _UNSUPPORTED and not _offers_legacy(raw):
            raise Refused("upstream_invalid", _NO_COMMON)
        return False
    if eras.LATEST_MODERN not in _strings(member(raw, "supportedVersions")):
        return False
    conversation.server = raw
    return True


def _away(exchange: Inbox) -> bool:
    """Whether asking in another way cannot help: no HTTP answer came, or our credential was refused."""
    return isinstance(exchange, HttpExchange) and exchange.status in (0, 401, 403)


def _offers_legacy(error: bytes) -> bool:
    versions = _strings(member(member(error, "data"), "supported"))
    return not versions or not versions.isdisjoint(eras.LEGACY_VERSIONS)


def _strings(raw: bytes) -> set[str]:
    try:
        return set(msgspec.json.decode(raw, type=list[str])) if raw else set()
    except (msgspec.DecodeError, RecursionError):
        return set()


async def _initialize(conversation: Conversation) -> Inbox:
    """The handshake. Raises `Refused`."""
    version = jsonrpc.encoded(eras.LATEST_LEGACY)
    hello = {"protocolVersion": version, "capabilities": conversation.capabilities, "clientInfo": CLIENT_INFO}
    exchange = conversation.start(Sent("initialize", jsonrpc.joined(hello)))
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            kind, raw = await whole(exchange)
    except TimeoutError:
        raise Refused(
            "upstream_timeout", f"The server did not answer `initialize` in {HANDSHAKE_SECONDS:.0f} s."
        ) from None
    finally:
        await exchange.aclose()
    if kind == "error":
        raise Refused("upstream_invalid", "The server refused `initialize`.")
    negotiated = jsonrpc.text(member(raw, "protocolVersion"))
    if negotiated not in eras.LEGACY_VERSIONS:
        raise Refused("upstream_invalid", _NO_COMMON)
    conversation.version = negotiated
    conversation.server = raw
    return exchange
