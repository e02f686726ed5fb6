"""The two eras of MCP: which revisions each has, and what differs in messages.

Modern = 2026-07-28: stateless, a per-request envelope in `_meta`. Legacy = 2024-11-05 to 2025-11-25: `initialize`.
Source: specification 2026-07-28, /basic/versioning; changelog; the older revisions' lifecycle pages.
"""

from types import MappingProxyType

import msgspec

from callgate.wire import jsonrpc

MODERN = "modern"
LEGACY = "legacy"
MODERN_VERSIONS = ("2026-07-28",)
LEGACY_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
LATEST_MODERN = MODERN_VERSIONS[0]
LATEST_LEGACY = LEGACY_VERSIONS[0]
# A handshake-era request without the header is taken for this one (2025-06-18, transports, protocol version header).
DEFAULT_LEGACY = "2025-03-26"

META = "io.modelcontextprotocol/"
VERSION_KEY = META + "protocolVersion"
CAPABILITIES_KEY = META + "clientCapabilities"
CLIENT_INFO_KEY = META + "clientInfo"
LOG_LEVEL_KEY = META + "logLevel"
SERVER_INFO_KEY = META + "serverInfo"
SUBSCRIPTION_KEY = META + "subscriptionId"
TASKS = META + "tasks"  # the extension
RELATED_TASK = META + "related-task"
ENVELOPE_KEYS = frozenset({VERSION_KEY, CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY})

# `_meta` keys in which clients tell their own vendor about themselves; they never travel upstream.
CLIENT_PRIVATE_KEYS = frozenset({"x-codex-turn-metadata", "callId", "claudecode/toolUseId"})

INPUT_METHODS = frozenset({"tools/call", "prompts/get", "resources/read"})  # may answer `input_required`
NAME_MEMBERS = MappingProxyType(
    {
        "tools/call": "name",
        "prompts/get": "name",
        "resources/read": "uri",
        "tasks/get": "taskId",
        "tasks/update": "taskId",
        "tasks/cancel": "taskId",
    }
)
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
_MODERN_NAMES = tuple(name.encode() for name in _MODERN_ONLY)


def era_of(version: str) -> str | None:
    """The era a revision belongs to, None when it is unknown."""
    if version in MODERN_VERSIONS:
        return MODERN
    return LEGACY if version in LEGACY_VERSIONS else None


def without(meta: bytes | msgspec.Raw, keys: frozenset[str]) -> dict[str, msgspec.Raw]:
    """The members of a `_meta` object but for some keys."""
    return {key: value for key, value in jsonrpc.members(meta).items() if key not in keys}


def result_for(era: str, value: bytes, extra: dict[str, bytes] | None = None) -> bytes:
    """A result value as the client's era expects it.

    Modern results carry `resultType`; legacy ones carry none of the modern members. All else stays as it was.
    """
    if extra is None and _fits(era, value):
        return value
    fields: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(value))
    if era == MODERN:
        fields.setdefault("resultType", b'"complete"')
    else:
        for key in _MODERN_ONLY:
            fields.pop(key, None)
    fields.update(extra or {})
    return jsonrpc.joined(fields)


def _fits(era: str, value: bytes) -> bool:
    """Whether a value surely needs no change; cheap, and the usual case."""
    if era == MODERN:
        return value.startswith(b'{"resultType":"complete"')
    return value[:1] == b"{" and b"\\u" not in value and not any(name in value for name in _MODERN_NAMES)


def result_kind(value: bytes | msgspec.Raw) -> str:
    """`resultType` of a result, `complete` when it has none."""
    return jsonrpc.text(jsonrpc.members(value).get("resultType", b"")) or "complete"
