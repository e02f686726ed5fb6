"""URIs in what an upstream says, as they are on the endpoint that joins upstreams. Pure.

A client reads a resource by a URI that it was told; where another upstream owns that URI, or nobody lists it, it is
wrapped so that the read goes to the upstream that named it. Addresses on the web stay: clients fetch those themselves.
What is embedded is at hand already and is wrapped only where its URI is another upstream's.
On failure: what cannot be read is passed on as it is.
"""

from collections.abc import Callable

import msgspec

from callgate.call import resolve
from callgate.call.model import Members, Request
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.upstream import Upstream
from callgate.wire import jsonrpc, uris

APP_KEY = "ui/resourceUri"  # the older spelling of `_meta.ui.resourceUri` (MCP Apps)
_WEB = ("http://", "https://")
_MOST = 100  # URIs of one result that are looked up; upstreams choose how many there are
Rename = Callable[[str], str]


def app_uris(raw: bytes) -> tuple[str, ...]:
    """The URIs of a tool's user interface (MCP Apps), as its definition names them."""
    if b"resourceUri" not in raw:
        return ()
    try:
        meta = jsonrpc.members(jsonrpc.members(raw).get("_meta", b""))
        found = (_member(meta.get("ui", b""), "resourceUri"), jsonrpc.text(meta.get(APP_KEY, b"")))
    except Refused:
        return ()
    return tuple(dict.fromkeys(uri for uri in found if uri is not None))


def with_apps(definition: Members, renamed: dict[str, str]) -> None:
    """Put the public URIs into the members of a tool's definition."""
    meta = jsonrpc.members(definition["_meta"])
    if APP_KEY in meta:
        _rename(meta, APP_KEY, lambda uri: renamed.get(uri, uri))
    if _member(meta.get("ui", b""), "resourceUri") is not None:
        ui = jsonrpc.members(meta["ui"])
        _rename(ui, "resourceUri", lambda uri: renamed.get(uri, uri))
        meta["ui"] = msgspec.Raw(jsonrpc.joined(ui))
    definition["_meta"] = msgspec.Raw(jsonrpc.joined(meta))


def public_app(snapshot: Snapshot, visible: list[Upstream], upstream: Upstream, uri: str) -> str:
    """The URI of a tool's user interface as a client can read it; only what is listed exactly stays as it is."""
    owner = resolve.lists(snapshot, visible, uri)
    return uri if owner is upstream and uris.unwrapped(uri) is None else uris.wrapped(upstream.name, uri)


def rewritten(snapshot: Snapshot, request: Request, upstream: Upstream, result: bytes) -> bytes:
    """A result value with its links as this client can follow them. Only where upstreams are joined."""
    if request.scope is not None or b'"uri' not in result:
        return result
    change = {"tools/call": _content, "prompts/get": _messages, "resources/read": _contents}.get(request.method)
    if change is None:
        return result
    try:
        return change(result, _Names(snapshot, request.caller, upstream)) or result
    except Refused:
        return result


class _Names:
    """Public URIs of one upstream's resources for one caller."""

    def __init__(self, snapshot: Snapshot, caller: Caller, upstream: Upstream) -> None:
        self._snapshot = snapshot
        self._caller = caller
        self._upstream = upstream
        self._left = _MOST

    def link(self, uri: str) -> str:
        """Of a resource that the client may want to read."""
        own = uri.startswith(_WEB) or self._owner(uri) is self._upstream
        return uri if own else uris.wrapped(self._upstream.name, uri)

    def embedded(self, uri: str) -> str:
        """Of a resource whose content is at hand."""
        return uri if self._owner(uri) in (self._upstream, None) else uris.wrapped(self._upstream.name, uri)

    def _owner(self, uri: str) -> Upstream | None:
        self._left -= 1
        if self._left < 0:
            return None
        try:
            return resolve.owner_of(self._snapshot, self._caller, None, uri)[0]
        except Refused:
            return None


def _content(result: bytes, names: _Names) -> bytes | None:
    return _inside(result, "content", lambda block: _block(block, names))


def _messages(result: bytes, names: _Names) -> bytes | None:
    def message(raw: msgspec.Raw) -> bytes | None:
        fields = jsonrpc.members(raw)
        content = fields.get("content", msgspec.Raw(b""))
        if bytes(content).lstrip()[:1] == b"[":
            return _inside(raw, "content", lambda block: _block(block, names))
        changed = _block(content, names)
        return None if changed is None else jsonrpc.joined({**fields, "content": changed})

    return _inside(result, "messages", message)


def _contents(result: bytes, names: _Names) -> bytes | None:
    def read(raw: msgspec.Raw) -> bytes | None:
        fields = jsonrpc.members(raw)
        return jsonrpc.joined(fields) if _rename(fields, "uri", names.link) else None

    return _inside(result, "contents", read)


def _inside(raw: bytes | msgspec.Raw, member: str, change: Callable[[msgspec.Raw], bytes | None]) -> bytes | None:
    """The object with the elements of one of its arrays changed; None when none is."""
    fields = jsonrpc.members(raw)
    if member not in fields:
        return None
    elements = jsonrpc.elements(fields[member])
    changed = [change(element) for element in elements]
    if all(one is None for one in changed):
        return None
    merged = [bytes(old) if new is None else new for old, new in zip(elements, changed, strict=True)]
    return jsonrpc.joined({**fields, member: b"[" + b",".join(merged) + b"]"})


def _block(raw: msgspec.Raw, names: _Names) -> bytes | None:
    """A content block: a link, or an embedded resource."""
    fields = jsonrpc.members(raw)
    kind = jsonrpc.text(fields.get("type", b""))
    if kind == "resource_link":
        return jsonrpc.joined(fields) if _rename(fields, "uri", names.link) else None
    if kind != "resource":
        return None
    resource = jsonrpc.members(fields.get("resource", b""))
    if not _rename(resource, "uri", names.embedded):
        return None
    return jsonrpc.joined({**fields, "resource": jsonrpc.joined(resource)})


def _rename(fields: Members, member: str, name: Rename) -> bool:
    uri = jsonrpc.text(fields.get(member, b""))
    public = name(uri) if uri is not None else None
    if public is None or public == uri:
        return False
    fields[member] = msgspec.Raw(jsonrpc.encoded(public))
    return True


def _member(raw: bytes | msgspec.Raw, name: str) -> str | None:
    """A text member of what may be an object."""
    try:
        return jsonrpc.text(jsonrpc.members(raw).get(name, b""))
    except Refused:
        return None
