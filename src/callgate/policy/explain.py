"""Why the rules decide a call as they do: which matched, which almost did, and on what the others failed. Pure.

It looks at each rule by itself, with the same tests that decide; `evaluate.decide` has the last word on the decision.
Fail closed: a condition without an answer is shown as failed, which is what it does to a call.
"""

from collections import Counter
from collections.abc import Iterator

import msgspec

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.rule import Match, Rule
from callgate.policy.compile import CALLER, caller_test, matches_tool, matches_upstream
from callgate.policy.contents import hold, looks_inside
from callgate.policy.details import NAMES, detail
from callgate.policy.expr import NoAnswer, activation, condition
from callgate.policy.facts import Facts, values
from callgate.policy.phases import RESULT, phase

MATCHED, MISSED, FAILED, UNKNOWN = "matched", "missed", "failed", "unknown"


class Verdict(msgspec.Struct, frozen=True):
    """One rule against one call. `missed` names what did not match: a list of the match such as `tool` or `label`,
    `unless` (the exception holds), `when` or `contents`; `why` is a sentence where a condition failed."""

    rule: Rule
    outcome: str  # matched | missed | failed | unknown (arguments or the answer would tell)
    missed: tuple[str, ...] = ()
    why: str = ""

    @property
    def almost(self) -> bool:
        """Whether one thing alone kept the rule from matching."""
        return self.outcome == MISSED and len(self.missed) == 1


def explain(rules: tuple[Rule, ...], caller: Caller, facts: Facts) -> tuple[Verdict, ...]:
    """Every rule with its verdict: what matched first, then by how little was missing."""
    order = (FAILED, MATCHED, UNKNOWN, MISSED)
    found = [_verdict(rule, caller, facts) for rule in rules]
    return tuple(sorted(found, key=lambda one: (order.index(one.outcome), len(one.missed))))


def _verdict(rule: Rule, caller: Caller, facts: Facts) -> Verdict:
    why, outcome = "", MATCHED
    missed: list[str] = []
    try:
        missed += _missed(rule.match, caller, facts)
        exception = rule.match.unless
        if exception is not None and not list(_missed(exception, caller, facts)):
            missed.append("unless")
        held = _conditions(rule, caller, facts)
        if held is None:
            outcome = UNKNOWN
        else:
            missed += held
    except (NoAnswer, Refused) as error:
        why, outcome = str(error), FAILED
    return Verdict(rule, MISSED if missed else outcome, tuple(missed), why)


def _conditions(rule: Rule, caller: Caller, facts: Facts) -> tuple[str, ...] | None:
    """The conditions that do not hold; None where arguments or the answer would tell. Raises `NoAnswer`, `Refused`."""
    if phase(rule) == RESULT:
        return None
    missed: list[str] = []
    asked = condition(rule.when) if rule.when else None
    inside = looks_inside(rule)
    if facts.arguments is None and (inside or (asked is not None and asked.members)):
        return None
    if asked is not None and not asked.holds(activation(values(facts, caller, (asked,)))):
        missed.append("when")
    if inside and facts.arguments is not None and not hold(rule, bytes(facts.arguments), Counter(), result=False):
        missed.append("contents")
    return tuple(missed)


def _missed(match: Match, caller: Caller, facts: Facts) -> Iterator[str]:
    """The lists of a match that do not have this call in them."""
    tool = facts.definition if facts.definition is not None and facts.definition.kind == "tool" else None
    if not matches_upstream(match, facts.upstream.name):
        yield "upstream"
    if not matches_tool(match, tool.name if tool else "", tool.public_name if tool else ""):
        yield "tool"
    for name in CALLER:
        test = caller_test(match, name)
        if test is not None and not test(caller):
            yield name
    for name in NAMES:
        asked = detail(match, name)
        if asked is not None and not asked(facts):
            yield name
