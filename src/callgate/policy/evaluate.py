"""The decision on one call.

Fail closed: an error while a rule is evaluated is a deny that names the rule.
"""

from callgate.model.caller import Caller
from callgate.model.rule import Decision
from callgate.policy.compile import CompiledRules

DEFAULT_EFFECT = "allow"  # for trusted tools; a tenant may set it to deny with the policy gate


def decide(rules: CompiledRules, caller: Caller, upstream: str, tool: str, public: str) -> Decision:
    """The strictest matching rule names the decision; none means the default.

    `tool` is the upstream's own name and `public` the public one; both are empty for what is no tool.
    """
    for candidate in rules.candidates(upstream, tool, public):
        rule = candidate.rule
        try:
            matches = candidate.matches(caller)
        except (TypeError, ValueError, AttributeError, LookupError):
            return Decision("deny", rule.id, rule.title, "This rule could not be evaluated.", rules.version)
        if matches:
            return Decision(rule.effect, rule.id, rule.title, rule.message, rules.version)
    return Decision(DEFAULT_EFFECT, ruleset=rules.version)
