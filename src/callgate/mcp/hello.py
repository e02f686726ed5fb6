"""What this gateway says of itself: `initialize` and `server/discover`, for one upstream or all of them. Pure.

Capabilities are the union of what the visible upstreams offer and this gateway relays; nothing else is promised.
Source: 2025-11-25 lifecycle; 2026-07-28 /server/discover.
"""

from importlib.metadata import version

import msgspec

from callgate.call import resolve, tasks
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.upstream import UpstreamState
from callgate.wire import eras, jsonrpc

SERVER_INFO = {"name": "callgate", "title": "Callgate", "version": version("callgate")}
SERVER_INFO_RAW = jsonrpc.encoded(SERVER_INFO)
_DISCOVER_TTL_MS = 2000
_WITH_TASKS = "2025-11-25"  # the one revision that has them as a core capability


def capabilities(snapshot: Snapshot, caller: Caller, scope: str | None, revision: str) -> dict[str, object]:
    """The capabilities object for one endpoint, in a revision of the protocol."""
    merged: dict[str, object] = {"tools": {"listChanged": True}}
    for upstream in resolve.visible_upstreams(snapshot, caller, scope):
        state = snapshot.states.get(upstream.id)
        if state is not None:
            _merge(merged, state)
            if revision == _WITH_TASKS:
                _merge_tasks(merged, tasks.core(state))
    if eras.era_of(revision) != eras.MODERN:
        _drop_extension(merged, eras.TASKS)
    return merged


def _merge_tasks(merged: dict[str, object], offered: dict[str, msgspec.Raw] | None) -> None:
    """The tasks of 2025-11-25: an upstream of the same era has to make them. Lists are made here, as it declares."""
    if offered is not None:
        known = merged.setdefault("tasks", {"requests": {"tools": {"call": {}}}})
        if isinstance(known, dict):
            known.update({name: {} for name in ("list", "cancel") if name in offered})


def _drop_extension(merged: dict[str, object], name: str) -> None:
    extensions = merged.get("extensions")
    if isinstance(extensions, dict) and extensions.pop(name, None) is not None and not extensions:
        del merged["extensions"]


def _merge(merged: dict[str, object], state: UpstreamState) -> None:
    offered = jsonrpc.members(state.capabilities)
    if "prompts" in offered:
        merged["prompts"] = {"listChanged": True}
    if "resources" in offered:
        subscribe = bytes(jsonrpc.members(offered["resources"]).get("subscribe", b"")) == b"true"
        before = merged.get("resources")
        already = isinstance(before, dict) and before.get("subscribe", False)
        merged["resources"] = {"listChanged": True, "subscribe": bool(subscribe or already)}
    for plain in ("completions", "logging"):
        if plain in offered:
            merged[plain] = {}
    if "extensions" in offered:
        known = merged.setdefault("extensions", {})
        if isinstance(known, dict):
            named = jsonrpc.members(offered["extensions"])
            if not tasks.extension(state):
                named.pop(eras.TASKS, None)
            known.update(named)


def instructions(snapshot: Snapshot, caller: Caller, scope: str | None) -> str:
    """The upstreams' instructions; each under its name where there are several."""
    parts = []
    for upstream in resolve.visible_upstreams(snapshot, caller, scope):
        definition = snapshot.by_upstream.get(upstream.id, {}).get(("instructions", ""))
        state = snapshot.states.get(upstream.id)
        if state is None or not state.instructions or (definition is not None and not definition.usable):
            continue
        parts.append(state.instructions if scope else f"## {upstream.name}\n{state.instructions}")
    return "\n\n".join(parts)


def negotiated(wanted: str) -> str:
    """The revision to answer an `initialize` with: the client's if we speak it, else our latest."""
    return wanted if wanted in eras.LEGACY_VERSIONS else eras.LATEST_LEGACY


def initialize_result(snapshot: Snapshot, caller: Caller, scope: str | None, revision: str) -> bytes:
    """The result of `initialize`."""
    fields: dict[str, object] = {
        "protocolVersion": revision,
        "capabilities": capabilities(snapshot, caller, scope, revision),
        "serverInfo": SERVER_INFO,
    }
    text = instructions(snapshot, caller, scope)
    if text:
        fields["instructions"] = text
    return jsonrpc.encoded(fields)


def discover_result(snapshot: Snapshot, caller: Caller, scope: str | None) -> bytes:
    """The result of `server/discover`."""
    fields: dict[str, object] = {
        "resultType": "complete",
        "supportedVersions": list(eras.MODERN_VERSIONS),
        "capabilities": capabilities(snapshot, caller, scope, eras.LATEST_MODERN),
        "_meta": {eras.SERVER_INFO_KEY: SERVER_INFO},
        "ttlMs": _DISCOVER_TTL_MS,
        "cacheScope": "private",
    }
    text = instructions(snapshot, caller, scope)
    if text:
        fields["instructions"] = text
    return jsonrpc.encoded(fields)
