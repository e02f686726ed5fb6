"""record: the intent before `forward`, the outcome before the answer.

Only ids of the catalogue, enumerations, counts and keyed hashes go in (promise 4): a name that the catalogue does not
know is recorded as a keyed hash and its length.
"""

from collections.abc import Callable

from callgate import clock
from callgate.call.model import Request, Target
from callgate.model.event import Intent, Outcome
from callgate.model.rule import Decision

METHODS = frozenset(
    {
        "tools/call",
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "tasks/get",
        "tasks/result",
        "tasks/update",
        "tasks/cancel",
    }
)
Mac = Callable[[str, bytes], bytes]  # (tenant, data) → keyed hash
UNDECIDED = Decision(effect="deny")


def intent(
    request: Request, target: Target | None, decision: Decision, replica: str, mac: Mac, continues: str | None = None
) -> Intent:  # fmt: skip
    """The record of what is about to be done, or was refused. `target` is None when the name is unknown."""
    caller = request.caller
    definition = target.definition if target is not None else None
    hidden = b"" if definition is not None else request.name.encode("utf-8", "surrogatepass")
    return Intent(
        id=request.id,
        at=request.at,
        tenant=caller.tenant,
        replica=replica,
        person=caller.person,
        agent=caller.agent,
        client=caller.client,
        token=caller.token,
        method=request.method if request.method in METHODS else "other",
        upstream=target.upstream.id if target is not None else None,
        definition=definition.id if definition is not None else None,
        fingerprint=definition.fingerprint if definition is not None else None,
        decision=decision.effect,
        rule=decision.rule,
        ruleset=decision.ruleset,
        era=request.era,
        args_bytes=request.size,
        args_hash="",
        unknown_name=mac(caller.tenant, hidden).hex() if hidden else "",
        unknown_name_length=len(hidden),
        continues=continues,
        shadow=decision.shadow,
        seen=decision.seen,
    )


def outcome(request: Request, kind: str, code: str = "", size: int = 0, sent_at: int = 0) -> Outcome:
    """The record of how a call ended. `sent_at`: when the upstream was asked, microseconds, 0 = never."""
    now = clock.now_us()
    return Outcome(
        id=request.id,
        at=now,
        tenant=request.caller.tenant,
        outcome=kind,
        code=code,
        result_bytes=size,
        duration_us=max(0, now - request.at),
        upstream_us=max(0, now - sent_at) if sent_at else 0,
        durability=request.durability,
    )
