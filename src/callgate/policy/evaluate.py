"""The decision on one call.

Fail closed: an error while a rule is evaluated is a deny that names the rule, and so is a matching rule with an effect
that cannot be carried out.
"""

import re

import msgspec

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.rule import EFFECTS, Decision, Rule
from callgate.policy.compile import Candidate, CompiledRules
from callgate.policy.expr import Activation, Condition, NoAnswer, activation
from callgate.policy.facts import Facts, values

_CARRIED_OUT = frozenset({"deny", "require_approval", "redact", "allow"})
_ERRORS = (Refused, TypeError, ValueError, AttributeError, LookupError, RecursionError, re.error)


def decide(
    rules: CompiledRules, caller: Caller, upstream: str, tool: str, public: str, facts: Facts | None = None
) -> Decision:
    """The decision of the enforced rules, with a word on what the shadow rules would make of it."""
    decision = _enforced(rules, caller, upstream, tool, public, facts)
    if rules.shadowed is None:
        return decision
    other = _enforced(rules.shadowed, caller, upstream, tool, public, facts)
    if _same(decision, other):
        return decision
    return msgspec.structs.replace(decision, shadow=f"{'failed' if other.failed else other.effect}:{other.rule or ''}")


def _same(one: Decision, other: Decision) -> bool:
    """Whether two decisions have the same consequences for a call."""
    if (one.effect, one.failed) != (other.effect, other.failed):
        return False
    return one.effect == "deny" or (one.redact, one.approvals, one.limits) == (
        other.redact, other.approvals, other.limits,
    )  # fmt: skip


def _enforced(
    rules: CompiledRules, caller: Caller, upstream: str, tool: str, public: str, facts: Facts | None
) -> Decision:
    """The strictest matching rule names the decision; none means the default.

    `tool` is the upstream's own name and `public` the public one; both are empty for what is no tool. `facts` are for
    conditions; where nobody has called yet, a rule that asks for arguments says nothing. Every condition is evaluated,
    unless a rule denies: one that fails beside a weaker effect must not go unseen.
    """
    try:
        candidates = rules.matching(caller, upstream, tool, public)
    except _ERRORS:
        return Decision("deny", None, "", "The rules could not be evaluated.", rules.version, failed=True)
    matched: list[Rule] = []
    given = _Given(facts, caller, candidates)
    for candidate in candidates:
        rule = candidate.rule
        try:
            if not candidate.holds(caller, facts) or not given.satisfy(candidate.condition):
                continue
        except NoAnswer as why:
            return _failed(rule, f"The rule “{rule.title}” could not be evaluated. {why}", rules.version)
        except _ERRORS:
            return _failed(rule, f"The rule “{rule.title}” could not be evaluated.", rules.version)
        if rule.effect not in _CARRIED_OUT or (rule.effect == "redact" and rule.redact is None):
            return _failed(rule, "This rule asks for what this gateway cannot do.", rules.version)
        matched.append(rule)
        if rule.effect == "deny" and rule.limit is None:
            break
    return _decision(matched, rules)


def _decision(matched: list[Rule], rules: CompiledRules) -> Decision:
    """What rules that match say together. One with a limit says nothing until the limit is reached (call/limiting)."""
    limits = tuple(rule for rule in matched if rule.limit is not None)
    if limits:
        matched = [rule for rule in matched if rule.limit is None]
    if not matched:
        return Decision(rules.default, ruleset=rules.version, limits=limits)
    named = min(matched, key=lambda rule: EFFECTS.index(rule.effect))
    return Decision(
        named.effect, named.id, named.title, named.message, rules.version,
        redact=tuple(rule for rule in matched if rule.effect == "redact"),
        approvals=tuple(rule for rule in matched if rule.effect == "require_approval"),
        limits=limits,
    )  # fmt: skip


class _Given:
    """The values of one decision, put together when the first condition asks."""

    __slots__ = ("_activation", "_caller", "_candidates", "_facts")

    def __init__(self, facts: Facts | None, caller: Caller, candidates: tuple[Candidate, ...]) -> None:
        self._facts = facts
        self._caller = caller
        self._candidates = candidates
        self._activation: Activation | None = None

    def satisfy(self, condition: Condition | None) -> bool:
        """Whether a condition holds. Raises `NoAnswer`."""
        if condition is None:
            return True
        facts = self._facts
        if facts is None:
            raise NoAnswer("Nothing is known of the request.")
        if facts.arguments is None and condition.members:
            return False
        if self._activation is None:
            conditions = (one.condition for one in self._candidates if one.condition is not None)
            self._activation = activation(values(facts, self._caller, tuple(conditions)))
        return condition.holds(self._activation)


def _failed(rule: Rule, why: str, version: int) -> Decision:
    return Decision("deny", rule.id, rule.title, why, version, failed=True)
