"""Lists as one caller sees them, served from the snapshot: tools, prompts, resources, resource templates. Pure.

Only callable tools of upstreams that the agent may use and that no rule denies outright are listed; raw definitions
pass unchanged but for the public name. Fail closed: a cursor that this gateway did not seal is refused.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from types import MappingProxyType

import msgspec

from callgate import clock
from callgate.call import links, resolve
from callgate.call.state import Sealer
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.definition import BLOCKED, REMOVED, Definition
from callgate.model.upstream import Upstream
from callgate.policy.evaluate import decide
from callgate.policy.facts import Facts
from callgate.wire import jsonrpc, uris

PAGE_ITEMS = 1000
PAGE_BYTES = 1024 * 1024
TTL_MS = 2000  # how long a modern client may keep a list: well within the propagation bound
LISTS = MappingProxyType(
    {
        "tools/list": ("tool", b"tools"),
        "prompts/list": ("prompt", b"prompts"),
        "resources/list": ("resource", b"resources"),
        "resources/templates/list": ("template", b"resourceTemplates"),
    }
)
_NAMED = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}


class Entry(msgspec.Struct, frozen=True):
    """One line of a list: the public name it is sorted by, and its definition."""

    public: str
    definition: Definition
    apps: tuple[tuple[str, str], ...] = ()  # URIs of its user interface, where the public ones differ


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended, sealed and bound to the caller and the list."""

    tenant: str
    person: str
    kind: str
    scope: str
    after: str


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Cursor).decode


def entries(snapshot: Snapshot, caller: Caller, scope: str | None, kind: str, address: str = "") -> list[Entry]:
    """Everything of one kind that this caller may see here, in a stable order."""
    found: list[Entry] = []
    taken: set[str] = set()
    visible = resolve.visible_upstreams(snapshot, caller, scope)
    for upstream in visible:
        for (its_kind, name), definition in snapshot.by_upstream.get(upstream.id, {}).items():
            if its_kind != kind:
                continue
            if _listed(snapshot, caller, upstream, definition, address):
                public = _public(definition, upstream, name, scope, taken)
                apps = links.app_uris(definition.offered) if kind == "tool" and scope is None else ()
                found.append(Entry(public, definition, _renamed(snapshot, visible, upstream, apps) if apps else ()))
            if definition.status not in (BLOCKED, REMOVED):
                taken.add(name)  # reads go to the first owner, even to one that a client could not list
    found.sort(key=lambda entry: entry.public)
    return found


def _listed(snapshot: Snapshot, caller: Caller, upstream: Upstream, definition: Definition, address: str) -> bool:
    if definition.kind != "tool":
        return definition.usable  # what is quarantined may be unreadable to a client, and its whole list with it
    if not definition.callable:
        return False
    rules = snapshot.rules
    facts = None
    if rules.conditional:
        facts = Facts(upstream, definition, "tools/call", clock.now_us(), None, address)
    decision = decide(rules, caller, upstream.name, definition.name, definition.public_name, facts)
    return decision.effect != "deny"


def _renamed(
    snapshot: Snapshot, visible: list[Upstream], upstream: Upstream, apps: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    named = ((own, links.public_app(snapshot, visible, upstream, own)) for own in apps)
    return tuple((own, public) for own, public in named if own != public)


def _public(definition: Definition, upstream: Upstream, name: str, scope: str | None, taken: set[str]) -> str:
    if scope is not None:
        return name
    if definition.kind in ("tool", "prompt"):
        return definition.public_name
    own = name not in taken and uris.unwrapped(name) is None
    return name if own else uris.wrapped(upstream.name, name)


@lru_cache(maxsize=32768)
def _shown(raw: bytes, member: str, public: str, apps: tuple[tuple[str, str], ...]) -> bytes:
    fields = jsonrpc.members(raw)
    if not apps and jsonrpc.text(fields.get(member, b"")) == public:
        return raw
    fields[member] = msgspec.Raw(jsonrpc.encoded(public))
    if apps:
        links.with_apps(fields, dict(apps))
    return jsonrpc.joined(fields)


def page(listed: list[Entry], cursor: Cursor, sealer: Sealer, member: bytes) -> bytes:
    """One page as a raw result value with the list under `member`, and `nextCursor` when there is more."""
    items: list[bytes] = []
    size = 0
    last = ""
    for entry in _from(listed, cursor.after):
        if len(items) >= PAGE_ITEMS or size > PAGE_BYTES:
            following = msgspec.structs.replace(cursor, after=last)
            more = jsonrpc.encoded(seal_cursor(following, sealer))
            return b'{"%b":[%b],"nextCursor":%b}' % (member, b",".join(items), more)
        raw = _shown(entry.definition.offered, _NAMED[entry.definition.kind], entry.public, entry.apps)
        items.append(raw)
        size += len(raw)
        last = entry.public
    return b'{"%b":[%b]}' % (member, b",".join(items))


def _from(listed: list[Entry], after: str) -> Iterator[Entry]:
    return (entry for entry in listed if not after or entry.public > after)


def seal_cursor(cursor: Cursor, sealer: Sealer) -> str:
    """The text that a client brings for the next page."""
    return sealer.seal(_pack(cursor))


def open_cursor(text: str | None, sealer: Sealer, caller: Caller, kind: str, scope: str | None) -> Cursor:
    """The cursor a client sent; none or an empty one begins the list. Raises `Refused("invalid_params")`."""
    start = Cursor(caller.tenant, caller.person, kind, scope or "", "")
    if not text:
        return start
    opened = sealer.open(text)
    cursor = _unpack(opened) if opened is not None else None
    if cursor is None or msgspec.structs.replace(cursor, after="") != start:
        raise Refused("invalid_params", "This cursor is not valid; list again from the start.")
    return cursor


def digest(listed: list[Entry]) -> str:
    """Changes exactly when the list a caller sees changes."""
    seen = hashlib.sha256()
    for entry in listed:
        parts = (entry.public, entry.definition.fingerprint, *(public for _, public in entry.apps))
        seen.update(("\0".join(parts) + "\n").encode("utf-8", "surrogatepass"))
    return seen.hexdigest()
