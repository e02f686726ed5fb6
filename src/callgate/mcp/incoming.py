"""One HTTP request to the MCP endpoint, read and checked: headers, body, era, session. Knows nothing of calls.

Fail closed: size, time, depth, media types and routing headers are refused before anything is looked up.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from callgate.errors import Refused
from callgate.mcp.reply import Receive
from callgate.mcp.sessions import Session, Sessions
from callgate.model.caller import Caller
from callgate.settings import Settings
from callgate.wire import eras, headers, jsonrpc

BODY_SECONDS = 30.0


class Posted(msgspec.Struct, frozen=True):
    """A POSTed message with what its era says of the client. `capabilities` is raw JSON."""

    message: jsonrpc.Message
    params: dict[str, msgspec.Raw]
    meta: dict[str, msgspec.Raw]
    era: str
    version: str
    capabilities: bytes
    session: Session | None
    size: int
    may_stream: bool
    address: str = ""  # that it comes from, where that is of interest

    @property
    def id(self) -> bytes:
        return bytes(self.message.id)

    @property
    def method(self) -> str:
        return self.message.method or ""


def header_map(scope: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers by lower-case name, lists joined (RFC 9110, section 5.3).

    Raises `header_mismatch` for a deciding header that came twice.
    """
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    found = dict(pairs)
    if len(found) < len(pairs):
        headers.check_duplicates(name for name, _ in pairs)
        found["accept"] = ", ".join(value for name, value in pairs if name == "accept") or "*/*"
    return found


def check_version(given: Mapping[str, str]) -> None:
    """Refuse a version header that names no revision (2025-06-18 and later: 400)."""
    named = given.get(headers.VERSION)
    if named is not None and eras.era_of(named) is None:
        # the same list as in server/discover: older revisions are agreed on by `initialize`, not by this header
        supported = list(eras.MODERN_VERSIONS)
        raise Refused("unsupported_version", data={"supported": supported, "requested": named})


async def read_body(receive: Receive, given: Mapping[str, str], limit: int) -> bytes:
    """The whole body. Raises `Refused`: body_too_large, invalid_request (too slow, or the client went away)."""
    declared = given.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise Refused("body_too_large", f"The body is larger than {limit} bytes.")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("invalid_request", "The client went away before the body was complete.")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise Refused("body_too_large", f"The body is larger than {limit} bytes.")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise Refused("invalid_request", f"The body did not arrive within {BODY_SECONDS:.0f} s.") from None


def check_media_types(given: Mapping[str, str]) -> bool:
    """Refuse what is not JSON, or a client that takes no JSON; says whether it takes event streams."""
    return _media_types(given.get("content-type", ""), given.get("accept", "*/*"))


@lru_cache(maxsize=256)
def _media_types(content_type: str, accepted: str) -> bool:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused("unsupported_media_type")
    accept = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    if not accept & {"*/*", "application/*", "application/json"}:
        raise Refused("not_acceptable")
    return bool(accept & {"*/*", "text/*", "text/event-stream"})


def read_post(body: bytes, given: Mapping[str, str], caller: Caller, sessions: Sessions, settings: Settings) -> Posted:
    """The message with its era. Raises `Refused` for every malformed, mismatched or unsupported request.

    `Refused.data["id"]` carries the raw request id where it could be read, so that the answer can name it.
    """
    may_stream = check_media_types(given)
    message = jsonrpc.parse(body, settings.max_json_depth)
    try:
        params = jsonrpc.members(message.params)
        meta = jsonrpc.members(params.get("_meta", b""))
        if is_modern(given, message, meta):
            version, capabilities = _modern(given, message, params, meta)
            return Posted(message, params, meta, eras.MODERN, version, capabilities, None, len(body), may_stream)
        version, session = _legacy(given, caller, sessions)
        capabilities = session.capabilities if session is not None else b"{}"
        return Posted(message, params, meta, eras.LEGACY, version, capabilities, session, len(body), may_stream)
    except Refused as refused:
        raise Rejected(refused, bytes(message.id)) from None


class Rejected(Refused):
    """A refusal that knows the id of the request it answers."""

    def __init__(self, refused: Refused, id_: bytes) -> None:
        super().__init__(refused.code, refused.detail, refused.data)
        self.id = id_


def is_modern(given: Mapping[str, str], message: jsonrpc.Message, meta: Mapping[str, msgspec.Raw]) -> bool:
    """Which era a message opens with: the header decides, then the envelope; a handshake never is modern
    unless the header says so."""
    named = given.get(headers.VERSION)
    if named is not None:
        return eras.era_of(named) != eras.LEGACY and (message.method != "initialize" or named in eras.MODERN_VERSIONS)
    return eras.VERSION_KEY in meta


def _modern(
    given: Mapping[str, str],
    message: jsonrpc.Message,
    params: Mapping[str, msgspec.Raw],
    meta: Mapping[str, msgspec.Raw],
) -> tuple[str, bytes]:
    if message.is_notification:
        return eras.LATEST_MODERN, b"{}"
    if message.is_response:
        raise Refused("invalid_request", "This revision has no responses from clients; use inputResponses.")
    version = jsonrpc.text(meta.get(eras.VERSION_KEY, b""))
    capabilities = bytes(meta.get(eras.CAPABILITIES_KEY, b""))
    if version is None or capabilities[:1] != b"{":
        missing = eras.VERSION_KEY if version is None else eras.CAPABILITIES_KEY
        raise Refused("invalid_params", f"params._meta must hold `{missing}`.")
    headers.check_modern(given, version, message.method or "", params)
    check_version(given)
    return version, capabilities


def _legacy(given: Mapping[str, str], caller: Caller, sessions: Sessions) -> tuple[str, Session | None]:
    named = given.get(headers.VERSION)
    token = given.get(headers.SESSION)
    session = sessions.open(token, caller) if token else None
    check_version(given)
    if session is not None:
        return session.version, session
    return named or eras.DEFAULT_LEGACY, None
