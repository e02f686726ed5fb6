"""How a refusal looks to a client: a tool result for policy outcomes, a JSON-RPC error for protocol faults. Pure.

A policy outcome is `isError: true`, text only (a sentence, then one line of JSON), machine fields in
`_meta["callgate/decision"]`, and no `structuredContent`, which clients would check against the tool's output schema.
"""

from callgate.errors import Refused
from callgate.model.oauth import SCOPES
from callgate.wire import eras, jsonrpc

_TOOL_RESULTS = ("tools/call", "tasks/result")  # what an agent reads
DECISION_KEY = "callgate/decision"
# Modern servers say some JSON-RPC errors with an HTTP status (2026-07-28, streamable HTTP); others stay 200.
_MODERN_STATUS = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404}


def refusal_result(refused: Refused, era: str) -> bytes:
    """The tool result that tells an agent why, and what it can do."""
    machine: dict[str, object] = {"code": refused.code, **refused.data}
    line = jsonrpc.encoded(machine).decode()
    fields: dict[str, object] = {
        "content": [{"type": "text", "text": f"{refused.sentence}\n{line}"}],
        "isError": True,
        "_meta": {DECISION_KEY: machine},
    }
    if era == eras.MODERN:
        fields["resultType"] = "complete"
    return jsonrpc.encoded(fields)


def error_message(id_: bytes, refused: Refused, era: str = eras.MODERN) -> bytes:
    """The JSON-RPC error response of a refusal. Older revisions have a code of their own for a missing resource."""
    data = {"code": refused.code, **refused.data}
    missing = refused.code == "unknown_resource" and era == eras.LEGACY
    return jsonrpc.error(id_, jsonrpc.error_value(-32002 if missing else refused.kind.rpc, refused.sentence, data))


def refusal(id_: bytes, method: str, refused: Refused, era: str) -> tuple[int, bytes]:
    """HTTP status and JSON-RPC response for a refused request."""
    if refused.kind.policy and method in _TOOL_RESULTS:
        return 200, jsonrpc.result(id_, refusal_result(refused, era))
    return error_status(refused, era), error_message(id_, refused, era)


def challenge(metadata: str, refused: Refused) -> bytes:
    """`WWW-Authenticate` for a client that has to sign in, or to ask for more (RFC 9728, section 5.1; RFC 6750)."""
    parts = [f'Bearer resource_metadata="{metadata}"', f'scope="{" ".join(SCOPES)}"']
    if refused.code == "insufficient_scope":
        parts.append('error="insufficient_scope"')
    elif refused.code != "auth_required":
        parts.append('error="invalid_token"')
    return ", ".join(parts).encode("latin-1", "replace")


def error_status(refused: Refused, era: str) -> int:
    """The HTTP status of a refusal that is answered as a JSON-RPC error."""
    kind = refused.kind
    if era == eras.MODERN:
        return _MODERN_STATUS.get(kind.rpc, 200) if kind.http == 200 else kind.http
    # handshake-era clients read the error of a request that was understood only from a 200
    return 200 if kind.rpc in (-32601, -32602) else kind.http


def relayed_status(code: int, era: str) -> int:
    """The HTTP status for a JSON-RPC error that an upstream answered."""
    return _MODERN_STATUS.get(code, 200) if era == eras.MODERN else 200


def relayed_error(raw: bytes, era: str) -> bytes:
    """An upstream's error value in the client's era: “not found” is -32602 in modern, -32002 in older revisions."""
    fields = jsonrpc.members(raw)
    if era == eras.MODERN and bytes(fields.get("code", b"")) == b"-32002":
        return jsonrpc.joined({**fields, "code": b"-32602"})
    return raw


def code_of(error: bytes) -> int:
    """The code of a raw JSON-RPC error value, 0 when it has none."""
    try:
        return int(bytes(jsonrpc.members(error).get("code", b"0")))
    except ValueError:
        return 0
