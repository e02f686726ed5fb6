"""Opening a conversation: which era an upstream speaks, and the handshake where there is one.

Modern is tried first, by `server/discover`; whatever is not a modern answer falls back to `initialize`
(2026-07-28 /basic/transports/streamable-http and /stdio, "Backward Compatibility").
Fail closed: an upstream that answers neither is `upstream_unavailable` or `upstream_invalid`, with the reason.
"""

import asyncio

from callgate.errors import Refused
from callgate.net.pool import Pool
from callgate.upstreams.duplex import Channel, DuplexConversation
from callgate.upstreams.http import CLIENT_INFO, HttpConversation, Place, Sent, whole
from callgate.wire import eras, jsonrpc

PROBE_SECONDS = 10.0
HANDSHAKE_SECONDS = 30.0
# What discovery declares: one fixed set, so that fingerprints do not depend on who looks.
FULL_CAPABILITIES = b'{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"sampling":{}}'
Conversation = HttpConversation | DuplexConversation


async def open_http(pool: Pool, place: Place, capabilities: bytes, era: str | None) -> HttpConversation:
    """A conversation over streamable HTTP. `era` is what is remembered; None probes."""
    if era != eras.LEGACY:
        conversation = HttpConversation(pool, place, eras.MODERN, eras.LATEST_MODERN, capabilities)
        if era == eras.MODERN:
            return conversation
        server = await _discover(conversation, PROBE_SECONDS)
        if server is not None:
            conversation.server = server
            return conversation
    conversation = HttpConversation(pool, place, eras.LEGACY, "", capabilities)
    await _initialize_http(conversation)
    return conversation


async def open_channel(channel: Channel, capabilities: bytes, era: str | None) -> DuplexConversation:
    """A conversation over a channel; the channel is closed when the upstream cannot be opened."""
    conversation = DuplexConversation(channel)
    conversation.capabilities = capabilities
    try:
        if era != eras.LEGACY:
            conversation.era, conversation.version = eras.MODERN, eras.LATEST_MODERN
            server = await _discover(conversation, PROBE_SECONDS)
            if server is not None:
                conversation.server = server
                return conversation
            conversation.era = eras.LEGACY
        await _initialize(conversation)
    except BaseException:
        await conversation.close()
        raise
    return conversation


async def _discover(conversation: Conversation, seconds: float) -> bytes | None:
    """The result of `server/discover`, None when the upstream is not modern. Raises `Refused` when it is away."""
    exchange = conversation.start(Sent("server/discover", b"{}"))
    try:
        async with asyncio.timeout(seconds):
            kind, raw = await whole(exchange)
    except TimeoutError:
        return None
    except Refused as refused:
        if _away(refused) or conversation.lost:
            raise
        return None
    finally:
        await exchange.aclose()
    supported = jsonrpc.members(raw).get("supportedVersions", b"") if kind == "result" else b""
    return raw if eras.LATEST_MODERN.encode() in bytes(supported) else None


def _away(refused: Refused) -> bool:
    """Whether asking in another way cannot help: nothing was reached, or our credential was refused."""
    return refused.code in ("upstream_unavailable", "upstream_timeout") and "HTTP status" not in refused.detail


async def _initialize_http(conversation: HttpConversation) -> None:
    exchange = conversation.start(Sent("initialize", _hello(conversation.capabilities)))
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            answer = await whole(exchange)
    except TimeoutError:
        raise Refused(
            "upstream_timeout", f"The server did not answer `initialize` in {HANDSHAKE_SECONDS:.0f} s."
        ) from None
    finally:
        await exchange.aclose()
    _accept(conversation, answer)
    conversation.session = exchange.session
    await conversation.tell(jsonrpc.notification("notifications/initialized"), "notifications/initialized")


async def _initialize(conversation: DuplexConversation) -> None:
    exchange = conversation.start(Sent("initialize", _hello(conversation.capabilities)))
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            answer = await whole(exchange)
    except TimeoutError:
        raise Refused(
            "upstream_timeout", f"The server did not answer `initialize` in {HANDSHAKE_SECONDS:.0f} s."
        ) from None
    _accept(conversation, answer)
    await conversation.tell(jsonrpc.notification("notifications/initialized"))


def _hello(capabilities: bytes) -> bytes:
    version = jsonrpc.encoded(eras.LATEST_LEGACY)
    return jsonrpc.joined({"protocolVersion": version, "capabilities": capabilities, "clientInfo": CLIENT_INFO})


def _accept(conversation: Conversation, answer: tuple[str, bytes]) -> None:
    kind, raw = answer
    if kind == "error":
        raise Refused("upstream_invalid", "The server refused `initialize`.")
    version = jsonrpc.text(jsonrpc.members(raw).get("protocolVersion", b""))
    if version not in eras.LEGACY_VERSIONS:
        raise Refused("upstream_invalid", "The server speaks no protocol revision that this gateway knows.")
    conversation.version = version
    conversation.server = raw
