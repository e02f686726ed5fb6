"""When a rule is judged: before the upstream sees the call, on the way back, or both. Pure."""

from callgate.model.rule import Rule
from callgate.policy.expr import condition

CALL, RESULT, BOTH = "call", "result", "both"


def phase(rule: Rule) -> str:
    """The rule's own, or what its conditions and its effect say."""
    if rule.phase:
        return rule.phase
    if rule.injection is not None or rule.effect == "wrap" or reads_result(rule):
        return RESULT
    return BOTH if rule.dlp is not None or rule.egress is not None else CALL


def reads_result(rule: Rule) -> bool:
    """Whether its condition looks at the answer."""
    return bool(rule.when) and condition(rule.when).reads_result
