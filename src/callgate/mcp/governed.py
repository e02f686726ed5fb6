"""A POSTed message as the request that the machine takes; the same for both edges. Pure.

Fail closed: a name that is no string is `invalid_params`; capabilities that cannot be relayed are not passed on.
"""

from functools import lru_cache

import msgspec

from callgate import clock, ids
from callgate.call import tasks
from callgate.call.model import Request
from callgate.errors import Refused
from callgate.mcp.incoming import Posted
from callgate.model.caller import Caller
from callgate.web.paths import Endpoint
from callgate.wire import eras, jsonrpc

_NAMED = {**eras.NAME_MEMBERS, tasks.RESULT: "taskId"}
_MODERN_ONLY = frozenset({eras.TASKS})
RELAYED_CAPABILITIES = frozenset({"roots", "sampling", "elicitation", "extensions", "experimental", "tasks"})


def governed(
    posted: Posted, caller: Caller, endpoint: Endpoint, durability: str, level: str | None, address: str
) -> Request:
    """The request. `level` is the session's log level; modern clients say theirs in each request.

    Raises `Refused("invalid_params")`.
    """
    member = _NAMED.get(posted.method)
    name = jsonrpc.text(posted.params.get(member, b"")) if member else ""
    if name is None:
        raise Refused("invalid_params", f"params.{member} must be a string.")
    return Request(
        id=ids.new_id("cal"),
        caller=caller,
        era=posted.era,
        method=posted.method,
        params=posted.params,
        name=name,
        at=clock.now_us(),
        size=posted.size,
        scope=endpoint.scope,
        session=posted.session.id if posted.session is not None else None,
        capabilities=relayed(posted.capabilities, posted.era),
        meta=posted.meta,
        progress_token=bytes(posted.meta.get("progressToken", b"")),
        log_level=level or jsonrpc.text(posted.meta.get(eras.LOG_LEVEL_KEY, b"")),
        durability=durability,
        address=address,
        client_name=posted.session.client if posted.session is not None else "",
    )


@lru_cache(maxsize=1024)
def relayed(capabilities: bytes, era: str) -> bytes:
    """What a client declared and this gateway can relay: the intersection is what upstreams are told. The extension
    for tasks is not one of the handshake era."""
    declared = jsonrpc.members(capabilities)
    if era == eras.LEGACY and tasks.declared(capabilities):
        declared["extensions"] = msgspec.Raw(jsonrpc.joined(eras.without(declared["extensions"], _MODERN_ONLY)))
    return jsonrpc.joined({key: value for key, value in declared.items() if key in RELAYED_CAPABILITIES})
