"""What this gateway says of itself: `initialize` and `server/discover`, for one upstream or all of them. Pure.

Capabilities are the union of what the visible upstreams offer and this gateway relays; nothing else is promised.
Source: 2025-11-25 lifecycle; 2026-07-28 /server/discover.
"""

from importlib.metadata import version

from callgate.call import resolve
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.definition import BLOCKED
from callgate.wire import eras, jsonrpc

SERVER_INFO = {"name": "callgate", "title": "Callgate", "version": version("callgate")}
SERVER_INFO_RAW = jsonrpc.encoded(SERVER_INFO)
_DISCOVER_TTL_MS = 2000


def capabilities(snapshot: Snapshot, caller: Caller, scope: str | None) -> dict[str, object]:
    """The capabilities object for one endpoint."""
    merged: dict[str, object] = {"tools": {"listChanged": True}}
    for upstream in resolve.visible_upstreams(snapshot, caller, scope):
        state = snapshot.states.get(upstream.id)
        if state is not None:
            _merge(merged, state.capabilities)
    return merged


def _merge(merged: dict[str, object], raw: bytes) -> None:
    offered = jsonrpc.members(raw)
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
            known.update(jsonrpc.members(offered["extensions"]))


def instructions(snapshot: Snapshot, caller: Caller, scope: str | None) -> str:
    """The upstreams' instructions; each under its name where there are several."""
    parts = []
    for upstream in resolve.visible_upstreams(snapshot, caller, scope):
        definition = snapshot.by_upstream.get(upstream.id, {}).get(("instructions", ""))
        state = snapshot.states.get(upstream.id)
        if state is None or not state.instructions or (definition is not None and definition.status == BLOCKED):
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
        "capabilities": capabilities(snapshot, caller, scope),
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
        "capabilities": capabilities(snapshot, caller, scope),
        "_meta": {eras.SERVER_INFO_KEY: SERVER_INFO},
        "ttlMs": _DISCOVER_TTL_MS,
        "cacheScope": "private",
    }
    text = instructions(snapshot, caller, scope)
    if text:
        fields["instructions"] = text
    return jsonrpc.encoded(fields)
