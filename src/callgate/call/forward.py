"""forward: what goes upstream. Time limits, size caps and cancellation are the exchange's, set from the upstream.

The upstream's own tool name, the params without the client's envelope, and `Mcp-Param-*` values made afresh from the
arguments (never the client's headers). Fail closed: arguments that cannot be read carry no mirrored header.
"""

import msgspec

from callgate.call.model import Request, Target
from callgate.upstreams.exchange import Sent
from callgate.wire import eras, headers, jsonrpc


def sent(request: Request, target: Target) -> Sent:
    """One request as the upstream gets it."""
    return Sent(
        method=request.method,
        params=target.params,
        name=target.name,
        progress=bool(request.progress_token),
        log_level=request.log_level or _default_level(request),
        mirrored=_mirrored(target),
    )


def _default_level(request: Request) -> str | None:
    """A handshake-era client that set no level gets what there is (2025-11-25, logging), a modern one nothing."""
    return "debug" if request.era == eras.LEGACY else None


def _mirrored(target: Target) -> tuple[tuple[str, str], ...]:
    definition = target.definition
    if definition is None or b"x-mcp-header" not in definition.offered:
        return ()
    schema = jsonrpc.members(definition.offered).get("inputSchema")
    if not schema:
        return ()
    try:
        paths = headers.mirrored_paths(msgspec.json.decode(schema))
        arguments = msgspec.json.decode(jsonrpc.members(target.params).get("arguments") or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return ()
    return tuple(headers.mirrored_values(paths, arguments).items())
