"""redact: what the rules replace in arguments before the upstream sees them, and in answers before the agent does.

The request itself stays as it came (a retry has to be the same); what is redacted is what is forwarded, so values that
are mirrored into headers are, too. Fail closed: what cannot be searched to its end is refused.
"""

import msgspec

from callgate.call.model import Target
from callgate.call.record import Mac
from callgate.errors import Refused
from callgate.model.rule import Decision
from callgate.policy.fit import fitted as fit
from callgate.policy.redact import CannotRedact, concerns, redacted
from callgate.wire import jsonrpc


def arguments(decision: Decision, target: Target, tenant: str, mac: Mac) -> Target:
    """The target with redacted arguments. Raises `Refused("rule_failed")`."""
    if not decision.redact or not (given := jsonrpc.members(target.params).get("arguments")):
        return target
    clean = _clean(decision, "call", bytes(given), tenant, mac)
    if clean is None:
        return target
    # also where nothing was found: of a member given twice only the one that was searched may go on
    return msgspec.structs.replace(
        target, params=jsonrpc.joined({**jsonrpc.members(target.params), "arguments": clean})
    )


def concerns_answer(decision: Decision) -> bool:
    """Whether an answer has to be looked through, and so gathered first."""
    return bool(decision.redact) and bool(concerns(decision.redact, "result"))


def answer(decision: Decision, raw: bytes, tenant: str, mac: Mac) -> bytes:
    """A result, an error or the params of a notice as the agent may see it. Raises `Refused("rule_failed")`."""
    clean = _clean(decision, "result", raw, tenant, mac) if decision.redact else None
    return raw if clean is None else clean


def _clean(decision: Decision, phase: str, raw: bytes, tenant: str, mac: Mac) -> bytes | None:
    """What the rules of a phase leave of a value; None where none of them redacts in it."""
    rules = concerns(decision.redact, phase)
    if not rules:
        return None
    try:
        return redacted(rules, raw, lambda data: mac(tenant, data))
    except CannotRedact:
        what = "arguments" if phase == "call" else "answer"
        raise Refused("rule_failed", f"The {what} cannot be searched for what a rule redacts.") from None


def fitted(target: Target, before: bytes, after: bytes) -> bytes:
    """A redacted result that still is what its tool promises. Raises `Refused("result_withheld")`."""
    return after if target.definition is None else fit(target.definition.offered, before, after)
