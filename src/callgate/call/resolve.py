"""resolve: public name → upstream and its definition, which must be trusted.

Independent of any rule: a tool is callable only if the hash a reviewer approved is the hash last observed (promise 2).
Names are looked up, never split. Fail closed: unknown, hidden from this agent, pending, drifted, blocked or removed
are all refused; what an agent may not see is answered as unknown, and so is a resource that a reviewer blocked.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from callgate.call.model import Members, Request, Target
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.definition import BLOCKED, DRIFT_DETECTED, PENDING_REVIEW, REMOVED, TRUSTED, Definition
from callgate.model.upstream import Upstream
from callgate.wire import eras, jsonrpc, uris

_PROGRESS = "progressToken"
_NEVER_UPSTREAM = eras.ENVELOPE_KEYS | eras.CLIENT_PRIVATE_KEYS | {_PROGRESS}
_EXPRESSION = re.compile(r"\{[^{}]*\}")
LONGEST_URI = 16 * 1024  # characters; a longer one has to be listed as it is

_WHY = {
    BLOCKED: "This tool was blocked by a reviewer.",
    DRIFT_DETECTED: "This tool changed after it was approved; a reviewer has to look at the change first.",
    REMOVED: "The server no longer offers this tool.",
}


class Untrusted(Refused):
    """A refusal that knows what it refused: the record names the definition, not a hash of its name."""

    def __init__(self, refused: Refused, target: Target) -> None:
        super().__init__(refused.code, refused.detail, refused.data)
        self.target = target


def resolve(snapshot: Snapshot, request: Request) -> Target:
    """The target of one request.

    Raises `Refused`: unknown_tool, unknown_prompt, unknown_resource, not_found, `Untrusted`: tool_not_trusted.
    """
    if request.method in ("tools/call", "prompts/get"):
        return _by_name(snapshot, request)
    if request.method == "completion/complete":
        return _by_reference(snapshot, request)
    return _by_uri(snapshot, request)


def may_see(caller: Caller, upstream: Upstream) -> bool:
    """Whether this caller's agent profile includes an upstream, and the upstream is switched on."""
    globs = caller.allowed_upstreams
    return upstream.enabled and (globs is None or any(fnmatchcase(upstream.name, glob) for glob in globs))


def visible_upstreams(snapshot: Snapshot, caller: Caller, scope: str | None) -> list[Upstream]:
    """What one endpoint shows this caller, ordered by name. An unknown or hidden scope is `not_found`."""
    if scope is None:
        found = [up for up in snapshot.upstreams.values() if may_see(caller, up)]
        return sorted(found, key=lambda upstream: upstream.name)
    upstream = snapshot.upstreams.get(snapshot.upstream_names.get(scope, ""))
    if upstream is None or not may_see(caller, upstream):
        raise Refused("not_found", "There is no upstream of this name here.")
    return [upstream]


def find(snapshot: Snapshot, caller: Caller, scope: str | None, kind: str, name: str) -> Definition | None:
    """The definition behind a public name (or, within a scope, the upstream's own name)."""
    if scope is not None:
        upstream = visible_upstreams(snapshot, caller, scope)[0]
        return snapshot.by_upstream.get(upstream.id, {}).get((kind, name))
    found = snapshot.tools.get(name) if kind == "tool" else snapshot.prompts.get(name)
    if found is None:
        return None
    owner = snapshot.upstreams.get(found.upstream)
    return found if owner is not None and may_see(caller, owner) else None


def catalogued(snapshot: Snapshot, request: Request) -> Target | None:
    """What a refused request names, whatever its status and whoever may see it: for the record alone."""
    kind = {"tools/call": "tool", "prompts/get": "prompt"}.get(request.method, "resource")
    scope, name = request.scope, request.name
    if scope is None and kind == "resource":
        scope, name = uris.unwrapped(name) or (None, name)
    if scope is None and kind != "resource":
        found = [(snapshot.tools if kind == "tool" else snapshot.prompts).get(name)]
    else:
        owners = snapshot.by_upstream if scope is None else (snapshot.upstream_names.get(scope, ""),)
        found = [snapshot.by_upstream.get(owner, {}).get((kind, name)) for owner in owners]
    definition = next((one for one in found if one is not None), None)
    owner = snapshot.upstreams.get(definition.upstream) if definition is not None else None
    return Target(owner, definition, None, b"{}") if owner is not None else None


def _by_name(snapshot: Snapshot, request: Request) -> Target:
    kind = "tool" if request.method == "tools/call" else "prompt"
    definition = find(snapshot, request.caller, request.scope, kind, request.name)
    if definition is None:
        raise Refused("unknown_tool" if kind == "tool" else "unknown_prompt")
    params = dict(request.params)
    params["name"] = msgspec.Raw(jsonrpc.encoded(definition.name))
    upstream = snapshot.upstreams[definition.upstream]
    return trusted(Target(upstream, definition, definition.name, forwarded(params, request.meta)), definition)


def trusted(target: Target, definition: Definition) -> Target:
    """The target, if its definition may be used. Raises `Untrusted`."""
    if definition.callable if definition.kind == "tool" else definition.usable:
        return target
    why = _WHY.get(definition.status, "This tool is waiting for a review and cannot be called yet.")
    if definition.kind == "tool":
        hint = f" An admin can run: callgate tools show {definition.public_name}"
    else:
        why = "A reviewer has to look at this prompt first."
        hint = f" An admin can run: callgate definitions show {definition.id}"
    data: dict[str, object] = {"status": definition.status, "tool": definition.public_name}
    raise Untrusted(Refused("tool_not_trusted", why + hint, data), target)


def _by_reference(snapshot: Snapshot, request: Request) -> Target:
    ref = jsonrpc.members(request.params.get("ref", b""))
    kind = jsonrpc.text(ref.get("type", b""))
    params = dict(request.params)
    if kind == "ref/prompt":
        name = jsonrpc.text(ref.get("name", b"")) or ""
        definition = find(snapshot, request.caller, request.scope, "prompt", name)
        if definition is None:
            raise Refused("unknown_prompt")
        ref["name"] = msgspec.Raw(jsonrpc.encoded(definition.name))
        params["ref"] = msgspec.Raw(jsonrpc.joined(ref))
        upstream = snapshot.upstreams[definition.upstream]
        return trusted(Target(upstream, definition, None, forwarded(params)), definition)
    if kind != "ref/resource":
        raise Refused("invalid_params", "The member `ref.type` must be ref/prompt or ref/resource.")
    uri = jsonrpc.text(ref.get("uri", b"")) or ""
    upstream, own, definition = owner_of(snapshot, request.caller, request.scope, uri)
    ref["uri"] = msgspec.Raw(jsonrpc.encoded(own))
    params["ref"] = msgspec.Raw(jsonrpc.joined(ref))
    return Target(upstream, definition, None, forwarded(params))


def _by_uri(snapshot: Snapshot, request: Request) -> Target:
    upstream, own, definition = owner_of(snapshot, request.caller, request.scope, request.name)
    params = dict(request.params)
    params["uri"] = msgspec.Raw(jsonrpc.encoded(own))
    return Target(upstream, definition, own, forwarded(params))


def owner_of(
    snapshot: Snapshot, caller: Caller, scope: str | None, uri: str
) -> tuple[Upstream, str, Definition | None]:
    """Which upstream a URI (or URI template) belongs to, with the upstream's own spelling.

    Listed resources first, then templates, upstreams by name; a scope or a wrapped URI decides by itself, and what is
    not listed there is the upstream's to judge. Raises `Refused`: unknown_resource, not_found.
    """
    visible = visible_upstreams(snapshot, caller, scope)
    named = scope is not None
    own = uri
    wrapped = None if named else uris.unwrapped(uri)
    if wrapped is not None:
        slug, own = wrapped
        named, visible = True, [upstream for upstream in visible if upstream.name == slug and own]
    listed = _listed(snapshot, visible, own)
    if listed is not None:
        return listed[0], own, listed[1]
    open_ = [upstream for upstream in visible if not _blocked(snapshot, upstream, own)]
    for upstream in open_:
        definition = _by_template(snapshot, upstream, own, (PENDING_REVIEW, TRUSTED, DRIFT_DETECTED))
        if definition is not None:
            return upstream, own, definition
    if named and open_ and len(own) <= LONGEST_URI and not _by_template(snapshot, open_[0], own, (BLOCKED,)):
        return open_[0], own, None
    raise Refused("unknown_resource", data={"uri": uri})


def lists(snapshot: Snapshot, visible: list[Upstream], uri: str) -> Upstream | None:
    """The upstream that owns a URI because it lists it, as it is, as a resource or template."""
    found = _listed(snapshot, visible, uri)
    return found[0] if found is not None else None


def _listed(snapshot: Snapshot, visible: list[Upstream], own: str) -> tuple[Upstream, Definition] | None:
    for kind in ("resource", "template"):
        for upstream in visible:
            definition = _of(snapshot, upstream).get((kind, own))
            if definition is not None and definition.status not in (BLOCKED, REMOVED):
                return upstream, definition
    return None


def _of(snapshot: Snapshot, upstream: Upstream) -> Mapping[tuple[str, str], Definition]:
    return snapshot.by_upstream.get(upstream.id, {})


def _blocked(snapshot: Snapshot, upstream: Upstream, uri: str) -> bool:
    """Whether a reviewer blocked exactly this resource; a template that covers it does not open it again."""
    found = (_of(snapshot, upstream).get((kind, uri)) for kind in ("resource", "template"))
    return any(definition is not None and definition.status == BLOCKED for definition in found)


def _by_template(snapshot: Snapshot, upstream: Upstream, uri: str, statuses: tuple[str, ...]) -> Definition | None:
    if len(uri) > LONGEST_URI:
        return None
    for (kind, template), definition in _of(snapshot, upstream).items():
        if kind == "template" and definition.status in statuses and _covers(_literals(template), uri):
            return definition
    return None


@lru_cache(maxsize=4096)
def _literals(template: str) -> tuple[str, ...]:
    """What stands between the expressions of a URI template (RFC 6570)."""
    return tuple(_EXPRESSION.split(template))


def _covers(literals: tuple[str, ...], uri: str) -> bool:
    """Whether a template covers a URI, every expression standing for one run of characters. Never backtracks: servers
    choose the template and clients the URI."""
    first, last = literals[0], literals[-1]
    if len(literals) == 1 or not uri.startswith(first):
        return uri == first
    at = len(first)
    for literal in literals[1:-1]:
        at = uri.find(literal, at)
        if at < 0:
            return False
        at += len(literal)
    return len(uri) - at >= len(last) and uri.endswith(last)


def forwarded(params: Members, meta: Members | None = None) -> bytes:
    """The params as they go upstream: without the client's envelope, progress token and private `_meta` keys.

    `meta`: the members of their `_meta`, where they have been read already.
    """
    if params.get("_meta"):
        members = jsonrpc.members(params["_meta"]) if meta is None else meta
        kept = {key: value for key, value in members.items() if key not in _NEVER_UPSTREAM}
        if kept:
            params["_meta"] = msgspec.Raw(jsonrpc.joined(kept))
        else:
            params.pop("_meta")
    return jsonrpc.joined(params)
