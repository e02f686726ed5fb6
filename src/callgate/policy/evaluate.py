"""The decision on one call.

Fail closed: an error while a rule is evaluated is a deny that names the rule, and so is a matching rule with an effect
that cannot be carried out.
"""

import re
from collections import Counter

import msgspec

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.rule import Decision, Rule
from callgate.policy.combine import carried_out, combined
from callgate.policy.compile import Candidate, CompiledRules, Settled
from callgate.policy.contents import hold, told
from callgate.policy.expr import Activation, Condition, NoAnswer, activation
from callgate.policy.facts import Facts, values

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
        settled = rules.settled(caller, upstream, tool, public)
    except _ERRORS:
        return Decision("deny", None, "", "The rules could not be evaluated.", rules.version, failed=True)
    if not settled.open:
        return settled.decision
    judged = _Judged(settled)
    given = _Given(facts, caller, settled.open)
    for candidate in settled.open:
        rule = candidate.rule
        try:
            stop = judged.add(candidate, caller, given)
        except NoAnswer as why:
            return _failed(rule, f"The rule “{rule.title}” could not be evaluated. {why}", rules.version, judged.seen)
        except _ERRORS:
            return _failed(rule, f"The rule “{rule.title}” could not be evaluated.", rules.version, judged.seen)
        if stop:
            break
    decision = combined(judged.matched, rules.version, rules.default, tuple(judged.results))
    return msgspec.structs.replace(decision, seen=told(judged.seen)) if judged.seen else decision


class _Judged:
    """What the rules say so far: those that match, those that look at the answer, and what was found."""

    __slots__ = ("matched", "results", "seen")

    def __init__(self, settled: Settled) -> None:
        self.matched = list(settled.matched)
        self.results = list(settled.decision.results)
        self.seen: Counter[str] = Counter()

    def add(self, candidate: Candidate, caller: Caller, given: "_Given") -> bool:
        """Judge one more rule; says whether no other one matters. Raises `NoAnswer`."""
        rule = candidate.rule
        if not candidate.holds(caller, given.facts):
            return False
        if candidate.results:
            self.results.append(rule)
        if not candidate.calls or not given.satisfy(candidate.condition) or not given.inside(candidate, self.seen):
            return False
        if not carried_out(rule):
            raise NoAnswer("It asks for what this gateway cannot do.")
        self.matched.append(rule)
        return rule.effect == "deny" and rule.limit is None


class _Given:
    """The values of one decision, put together when the first condition asks."""

    __slots__ = ("_activation", "_caller", "_candidates", "facts")

    def __init__(self, facts: Facts | None, caller: Caller, candidates: tuple[Candidate, ...]) -> None:
        self.facts = facts
        self._caller = caller
        self._candidates = candidates
        self._activation: Activation | None = None

    def satisfy(self, condition: Condition | None) -> bool:
        """Whether a condition holds. Raises `NoAnswer`."""
        if condition is None:
            return True
        facts = self.facts
        if facts is None:
            raise NoAnswer("Nothing is known of the request.")
        if facts.arguments is None and condition.members:
            return False
        if self._activation is None:
            asked = tuple([one.condition for one in self._candidates if one.condition is not None and one.calls])
            self._activation = activation(values(facts, self._caller, asked))
        return condition.holds(self._activation)

    def inside(self, candidate: Candidate, seen: Counter[str]) -> bool:
        """Whether its conditions on what arguments hold do hold; what they find is counted. Raises `NoAnswer`."""
        if not candidate.inside:
            return True
        if self.facts is None or self.facts.arguments is None:
            return False  # nobody calls yet
        return hold(candidate.rule, bytes(self.facts.arguments), seen, result=False)


def _failed(rule: Rule, why: str, version: int, seen: Counter[str]) -> Decision:
    return Decision("deny", rule.id, rule.title, why, version, failed=True, seen=told(seen))
