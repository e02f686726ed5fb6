"""What an upstream says of itself and offers: every page of every list, as raw JSON.

Each list stands apart: one that fails is named in `unlisted` and keeps what was known, but a declared tools list that
fails makes the whole observation an error. Fail closed: pages that do not end, or too many items, are an error.
"""

import asyncio

import msgspec

from callgate.errors import Refused
from callgate.upstreams.conversation import Conversation
from callgate.upstreams.exchange import Sent
from callgate.upstreams.inbox import whole
from callgate.wire import eras, jsonrpc

MAX_ITEMS = 20_000
MAX_BYTES = 64 * 1024 * 1024
MAX_PAGES = 2_000
MAX_INSTRUCTIONS = 1024 * 1024  # characters
PAGE_SECONDS = 60.0
_LISTS = (
    ("tool", "tools", "tools/list", "tools"),
    ("prompt", "prompts", "prompts/list", "prompts"),
    ("resource", "resources", "resources/list", "resources"),
    ("template", "resources", "resources/templates/list", "resourceTemplates"),
)
_MEMBER = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}


class Item(msgspec.Struct, frozen=True):
    """One listed thing: `name` is the member it is known by, `raw` its bytes."""

    kind: str
    name: str
    raw: bytes


class Facts(msgspec.Struct, frozen=True):
    """One complete look at an upstream. `unlisted`: kinds whose list failed, with the reason."""

    era: str
    version: str
    server_name: str
    server_version: str
    capabilities: bytes
    instructions: str
    items: tuple[Item, ...]
    unlisted: dict[str, str]


async def look(conversation: Conversation) -> Facts:
    """Everything an upstream offers. Raises `Refused` when it cannot be had completely."""
    server = _object(conversation.server, "What the server says of itself")
    capabilities = server.get("capabilities")
    if capabilities is None:  # "offers nothing" has to be said: taken for granted, it would remove every tool
        raise Refused("upstream_invalid", "The server does not say what it offers: `capabilities` is missing.")
    declared = _object(capabilities, "The server's `capabilities`")
    items: list[Item] = []
    unlisted: dict[str, str] = {}
    for kind, capability, method, member in _LISTS:
        if capability not in declared:
            continue
        try:
            items += await _all(conversation, kind, method, member)
        except Refused as refused:
            if kind == "tool":
                raise
            unlisted[kind] = refused.sentence
    info = _server_info(server)
    return Facts(
        era=conversation.era,
        version=conversation.version,
        server_name=_line(info.get("name", b""), 200),
        server_version=_line(info.get("version", b""), 100),
        capabilities=bytes(capabilities),
        instructions=_line(server.get("instructions", b""), MAX_INSTRUCTIONS),
        items=tuple(items),
        unlisted=unlisted,
    )


def _server_info(server: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    try:
        if "serverInfo" in server:
            return jsonrpc.members(server["serverInfo"])
        return jsonrpc.members(jsonrpc.members(server.get("_meta", b"")).get(eras.SERVER_INFO_KEY, b""))
    except Refused:  # a name for people to see; nothing depends on it
        return {}


async def _all(conversation: Conversation, kind: str, method: str, member: str) -> list[Item]:
    items: list[Item] = []
    cursor: msgspec.Raw | None = None
    seen: set[bytes] = set()
    size = 0
    for _ in range(MAX_PAGES):
        params = jsonrpc.joined({"cursor": cursor}) if cursor is not None else b"{}"
        page = await _page(conversation, method, params)
        if page is None:
            return items
        raws = _list(page.get(member, b""), method)
        size += sum(len(raw) for raw in raws)
        items += [_item(kind, raw) for raw in raws]
        if len(items) > MAX_ITEMS or size > MAX_BYTES:
            raise Refused("upstream_too_large", f"`{method}` offers more than {MAX_ITEMS} items or {MAX_BYTES} bytes.")
        cursor = page.get("nextCursor")
        if cursor is None or bytes(cursor) == b"null":
            return items
        if bytes(cursor) in seen:
            raise Refused("upstream_invalid", f"The pages of `{method}` go round in a circle.")
        seen.add(bytes(cursor))
    raise Refused("upstream_invalid", f"`{method}` has more than {MAX_PAGES} pages.")


async def _page(conversation: Conversation, method: str, params: bytes) -> dict[str, msgspec.Raw] | None:
    exchange = conversation.start(Sent(method, params))
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            kind, raw = await whole(exchange)
    except TimeoutError:
        raise Refused("upstream_timeout", f"The server did not answer `{method}` in {PAGE_SECONDS:.0f} s.") from None
    finally:
        await exchange.aclose()
    if kind == "error":
        code = _code(raw)
        if code == -32601 and method == "resources/templates/list":
            return None  # older servers declare resources without having templates
        shown = "without a code" if code is None else str(code)
        raise Refused("upstream_invalid", f"The server answered `{method}` with an error ({shown}).")
    return _object(raw, f"The answer to `{method}`")


def _code(raw: bytes) -> int | None:
    """The code of a JSON-RPC error; what is no small number may be payload and is not shown."""
    try:
        code = msgspec.json.decode(jsonrpc.members(raw).get("code", b"null"), type=int)
    except (Refused, msgspec.DecodeError):
        return None
    return code if abs(code) < 10**6 else None


def _object(raw: bytes | msgspec.Raw, what: str) -> dict[str, msgspec.Raw]:
    try:
        return jsonrpc.members(raw)
    except Refused:
        raise Refused("upstream_invalid", f"{what} is no JSON object.") from None


def _line(raw: bytes | msgspec.Raw, longest: int) -> str:
    """A text that the server gives of itself, in a form that every store can hold; "" where it is none."""
    return (jsonrpc.text(raw) or "").replace("\0", "")[:longest]


def _list(raw: bytes | msgspec.Raw, method: str) -> list[msgspec.Raw]:
    try:
        return jsonrpc.elements(raw)
    except Refused:
        raise Refused("upstream_invalid", f"The answer to `{method}` holds no list.") from None


def _item(kind: str, raw: msgspec.Raw) -> Item:
    member = _MEMBER[kind]
    try:
        name = jsonrpc.text(jsonrpc.members(raw).get(member, b""))
    except Refused:
        name = None
    if not name or "\0" in name:
        raise Refused("upstream_invalid", f"The server lists a {kind} without a usable `{member}`.")
    return Item(kind, name, bytes(raw))
