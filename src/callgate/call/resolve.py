"""resolve: public name → upstream and its definition, which must be trusted.

Independent of any rule: a tool is callable only if the hash a reviewer approved is the hash last observed (promise 2).
Names are looked up, never split. Fail closed: unknown, hidden from this agent, pending, drifted, blocked or removed
are all refused; what an agent may not see is answered as unknown.
"""

import re
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from callgate.call.model import Members, Request, Target
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.definition import BLOCKED, DRIFT_DETECTED, REMOVED, Definition
from callgate.model.upstream import Upstream
from callgate.wire import eras, jsonrpc

WRAPPED = "gw+"  # gw+<upstream>:<uri> names the resource of one upstream where two have the same URI
_PROGRESS = "progressToken"
_NEVER_UPSTREAM = eras.ENVELOPE_KEYS | eras.CLIENT_PRIVATE_KEYS | {_PROGRESS}
_EXPRESSION = re.compile(r"\{[^{}]*\}")

_WHY = {
    BLOCKED: "This tool was blocked by a reviewer.",
    DRIFT_DETECTED: "This tool changed after it was approved; a reviewer has to look at the change first.",
    REMOVED: "The server no longer offers this tool.",
}


def resolve(snapshot: Snapshot, request: Request) -> Target:
    """The target of one request.

    Raises `Refused`: unknown_tool, unknown_prompt, unknown_resource, tool_not_trusted, upstream_unavailable.
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


def _by_name(snapshot: Snapshot, request: Request) -> Target:
    kind = "tool" if request.method == "tools/call" else "prompt"
    definition = find(snapshot, request.caller, request.scope, kind, request.name)
    if definition is None:
        raise Refused("unknown_tool" if kind == "tool" else "unknown_prompt")
    _check_status(definition, kind)
    params = dict(request.params)
    params["name"] = msgspec.Raw(jsonrpc.encoded(definition.name))
    return Target(snapshot.upstreams[definition.upstream], definition, definition.name, forwarded(params))


def _check_status(definition: Definition, kind: str) -> None:
    usable = definition.callable if kind == "tool" else definition.status not in (BLOCKED, REMOVED)
    if usable:
        return
    why = _WHY.get(definition.status, "This tool is waiting for a review and cannot be called yet.")
    hint = f" An admin can run: callgate tools show {definition.public_name}"
    raise Refused("tool_not_trusted", why + hint, {"status": definition.status, "tool": definition.public_name})


def _by_reference(snapshot: Snapshot, request: Request) -> Target:
    ref = jsonrpc.members(request.params.get("ref", b""))
    kind = jsonrpc.text(ref.get("type", b""))
    params = dict(request.params)
    if kind == "ref/prompt":
        name = jsonrpc.text(ref.get("name", b"")) or ""
        definition = find(snapshot, request.caller, request.scope, "prompt", name)
        if definition is None:
            raise Refused("unknown_prompt")
        _check_status(definition, "prompt")
        ref["name"] = msgspec.Raw(jsonrpc.encoded(definition.name))
        params["ref"] = msgspec.Raw(jsonrpc.joined(ref))
        return Target(snapshot.upstreams[definition.upstream], definition, None, forwarded(params))
    if kind != "ref/resource":
        raise Refused("invalid_params", "The member `ref.type` must be ref/prompt or ref/resource.")
    upstream, own, definition = owner_of(snapshot, request, jsonrpc.text(ref.get("uri", b"")) or "")
    ref["uri"] = msgspec.Raw(jsonrpc.encoded(own))
    params["ref"] = msgspec.Raw(jsonrpc.joined(ref))
    return Target(upstream, definition, None, forwarded(params))


def _by_uri(snapshot: Snapshot, request: Request) -> Target:
    upstream, own, definition = owner_of(snapshot, request, request.name)
    params = dict(request.params)
    params["uri"] = msgspec.Raw(jsonrpc.encoded(own))
    return Target(upstream, definition, own, forwarded(params))


def owner_of(snapshot: Snapshot, request: Request, uri: str) -> tuple[Upstream, str, Definition | None]:
    """Which upstream a URI (or URI template) belongs to, with the upstream's own spelling.

    Listed resources first, then listed templates, upstreams by name; a scope decides by itself.
    """
    visible = visible_upstreams(snapshot, request.caller, request.scope)
    if request.scope is None and uri.startswith(WRAPPED):
        slug, _, uri = uri.removeprefix(WRAPPED).partition(":")
        visible = [upstream for upstream in visible if upstream.name == slug]
    for kind in ("resource", "template"):
        for upstream in visible:
            definition = snapshot.by_upstream.get(upstream.id, {}).get((kind, uri))
            if definition is not None and definition.status not in (BLOCKED, REMOVED):
                return upstream, uri, definition
    for upstream in visible:
        definition = _matching_template(snapshot, upstream, uri)
        if definition is not None:
            return upstream, uri, definition
    if request.scope is not None:
        return visible[0], uri, None
    raise Refused("unknown_resource", data={"uri": uri})


def _matching_template(snapshot: Snapshot, upstream: Upstream, uri: str) -> Definition | None:
    for (kind, template), definition in snapshot.by_upstream.get(upstream.id, {}).items():
        listed = kind == "template" and definition.status not in (BLOCKED, REMOVED)
        if listed and _template_pattern(template).fullmatch(uri):
            return definition
    return None


@lru_cache(maxsize=4096)
def _template_pattern(template: str) -> re.Pattern[str]:
    """A URI template (RFC 6570) as a pattern: every expression stands for one run of characters.

    Each expression matches lazily up to the next literal, so that matching stays linear for real templates.
    """
    literals = _EXPRESSION.split(template)
    return re.compile("[^\n]*?".join(re.escape(part) for part in literals), re.DOTALL)


def forwarded(params: Members) -> bytes:
    """The params as they go upstream: without the client's envelope, progress token and private `_meta` keys."""
    meta = params.get("_meta")
    if meta:
        kept = eras.without(meta, _NEVER_UPSTREAM)
        if kept:
            params["_meta"] = msgspec.Raw(jsonrpc.joined(kept))
        else:
            params.pop("_meta")
    return jsonrpc.joined(params)
