"""Notifications of the upstream on their way to the client, pure.

Progress gets the client's own token back; log messages pass as the client's era and level allow; the rest belongs to
other streams and is dropped here. Fail closed: what cannot be read is dropped.
"""

import msgspec

from callgate.call.model import Relay, Request
from callgate.errors import Refused
from callgate.wire import eras, jsonrpc

PROGRESS = "notifications/progress"
LOG = "notifications/message"


def relayed(request: Request, method: str, raw: bytes) -> Relay | None:
    """What the client is told, or None. `raw` is the upstream's whole message."""
    try:
        return _relayed(request, method, bytes(jsonrpc.members(raw).get("params", b"")))
    except Refused:
        return None


def _relayed(request: Request, method: str, params: bytes) -> Relay | None:
    if method == PROGRESS:
        return _progress(request, params)
    if method == LOG:
        return Relay(method, params) if _wanted(request, params) else None
    return Relay(method, params) if request.era == eras.LEGACY and not method.endswith("list_changed") else None


def _progress(request: Request, params: bytes) -> Relay | None:
    if not request.progress_token:
        return None
    fields: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(params))
    fields["progressToken"] = request.progress_token
    return Relay(PROGRESS, jsonrpc.joined(fields))


def _wanted(request: Request, params: bytes) -> bool:
    """Modern clients get log messages only from the level they asked for in this request; others get all."""
    if request.era == eras.LEGACY and request.log_level is None:
        return True
    level = jsonrpc.text(jsonrpc.members(params).get("level", b""))
    if level not in eras.LOG_LEVELS or request.log_level not in eras.LOG_LEVELS:
        return False
    return eras.LOG_LEVELS.index(level) >= eras.LOG_LEVELS.index(request.log_level)
