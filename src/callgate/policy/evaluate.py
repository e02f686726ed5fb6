"""The decision on one call.

Fail closed: an error while a rule is evaluated is a deny that names the rule, and so is a matching rule with an effect
that cannot be carried out.
"""

import re

from callgate.model.caller import Caller
from callgate.model.rule import Decision, Rule
from callgate.policy.compile import CompiledRules

DEFAULT_EFFECT = "allow"  # for trusted tools; a tenant may set it to deny with the policy gate
_CARRIED_OUT = frozenset({"deny", "require_approval", "allow"})
_ERRORS = (TypeError, ValueError, AttributeError, LookupError, RecursionError, re.error)


def decide(rules: CompiledRules, caller: Caller, upstream: str, tool: str, public: str) -> Decision:
    """The strictest matching rule names the decision; none means the default.

    `tool` is the upstream's own name and `public` the public one; both are empty for what is no tool.
    """
    try:
        candidates = rules.candidates(upstream, tool, public)
    except _ERRORS:
        return Decision("deny", None, "", "The rules could not be evaluated.", rules.version)
    for candidate in candidates:
        rule = candidate.rule
        try:
            matches = candidate.matches(caller)
        except _ERRORS:
            return _failed(rule, "This rule could not be evaluated.", rules.version)
        if matches:
            if rule.effect not in _CARRIED_OUT:
                return _failed(rule, "This rule asks for what this gateway cannot do.", rules.version)
            return Decision(rule.effect, rule.id, rule.title, rule.message, rules.version)
    return Decision(DEFAULT_EFFECT, ruleset=rules.version)


def _failed(rule: Rule, why: str, version: int) -> Decision:
    return Decision("deny", rule.id, rule.title, why, version)
