"""What a person let a client do: a token with `mcp:read` alone calls only tools that say they change nothing.

The client is told which scope it lacks and can ask for it (2026-07-28, /basic/authorization, "Step-Up Authorization").
Fail closed: a tool that does not say so, or in a form that is not readable, counts as one that changes something.
"""

from callgate.call.model import Target
from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.oauth import SCOPES, WRITE
from callgate.policy.facts import annotations


def reads_only(caller: Caller) -> bool:
    """Whether the token is good for reading alone."""
    return caller.scope is not None and WRITE not in caller.scope


def changes(target: Target) -> bool:
    """Whether this calls a tool that does not say that it only reads."""
    definition = target.definition
    if definition is None or definition.kind != "tool":
        return False
    return annotations(definition.offered).get("readOnlyHint") is not True


def check(caller: Caller, target: Target) -> None:
    """Raise `Refused("insufficient_scope")` for a call that the token is not good for."""
    if not reads_only(caller) or not changes(target):
        return
    raise Refused(
        "insufficient_scope",
        "This tool may change something, and you let this client only read; allow it more and call again.",
        {"scope": " ".join(SCOPES)},
    )
