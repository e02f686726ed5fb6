"""Trying a rule set: stored tests, and what it would make of calls that were recorded. Pure.

Both ask `evaluate.decide`, so that a trial cannot differ from the call path. Fail closed: a test whose tool or person
does not exist fails; a recorded call of which something is gone is counted as not replayable, never as unchanged.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from callgate.model.caller import Caller
from callgate.model.entry import Entry
from callgate.model.rule import Decision
from callgate.model.ruleset import RuleTest
from callgate.policy.compile import CompiledRules
from callgate.policy.evaluate import decide
from callgate.policy.expr import condition
from callgate.policy.facts import Facts

EXAMPLES = 20
_ORDER = ("deny", "require_approval", "redact", "allow")


class Failure(msgspec.Struct, frozen=True):
    """A test that a rule set does not pass; `why` is a sentence."""

    test: str
    why: str


def failures(
    rules: CompiledRules, tests: Iterable[RuleTest], find: Callable[[RuleTest], tuple[Caller, Facts] | str]
) -> tuple[Failure, ...]:
    """The tests that fail. `find` gives who calls and what, or a sentence that says what does not exist."""
    found = []
    for test in tests:
        known = find(test)
        why = known if isinstance(known, str) else _why(test, decided(rules, *known))
        if why:
            found.append(Failure(test.id, why))
    return tuple(found)


def decided(rules: CompiledRules, caller: Caller, facts: Facts) -> Decision:
    """What the rules say of a call of a tool."""
    tool = facts.definition
    name, public = (tool.name, tool.public_name) if tool is not None and tool.kind == "tool" else ("", "")
    return decide(rules, caller, facts.upstream.name, name, public, facts)


def _why(test: RuleTest, got: Decision) -> str:
    by = f"by the rule {got.rule}" if got.rule else "by default"
    if got.effect != test.expect:
        return f"expected {test.expect}, but it is {got.effect} {by}" + (f": {got.message}" if got.failed else "")
    if test.rule and got.rule != test.rule:
        return f"it is {got.effect} as expected, but {by} and not by {test.rule}"
    return ""


class Change(msgspec.Struct, frozen=True):
    """One recorded call that would be decided otherwise."""

    call: str
    before: str
    after: str
    rule: str | None
    person: str
    tool: str


class Simulation(msgspec.Struct):
    """What a rule set would make of recorded calls. `unknown` are calls that depend on arguments, which nobody kept;
    `gone` those whose person, tool or server is no longer there."""

    calls: int = 0
    changed: int = 0
    unknown: int = 0
    gone: int = 0
    by_change: Counter[str] = msgspec.field(default_factory=Counter)
    by_rule: Counter[str] = msgspec.field(default_factory=Counter)
    by_person: Counter[str] = msgspec.field(default_factory=Counter)
    by_tool: Counter[str] = msgspec.field(default_factory=Counter)
    unknown_by_rule: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[Change] = msgspec.field(default_factory=list)


Replayed = tuple[Decision, tuple[str, ...]]


class Replay:
    """A rule set against recorded calls, page by page. Calls of the same kind are judged once, unless a rule looks at
    the time."""

    def __init__(self, rules: CompiledRules, find: Callable[[Entry], tuple[Caller, Facts] | None]) -> None:
        self.found = Simulation()
        self._rules = rules
        self._find = find
        self._timeless = not any("request.time" in rule.when for rule in rules.rules)
        self._known: dict[tuple[object, ...], Replayed | None] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Judge one more page."""
        for entry in entries:
            if entry.kind == "call" and entry.method == "tools/call" and _was_decided(entry):
                self._one(entry)

    def _one(self, entry: Entry) -> None:
        found = self.found
        found.calls += 1
        replayed = self._judged(entry)
        if replayed is None:
            found.gone += 1
            return
        decision, unknown = replayed
        if unknown:
            found.unknown += 1
            found.unknown_by_rule.update(unknown)
        elif decision.effect != entry.decision:
            self._changed(entry, decision)

    def _changed(self, entry: Entry, decision: Decision) -> None:
        found, person, tool = self.found, entry.person or "", entry.definition or ""
        found.changed += 1
        found.by_change[f"{entry.decision} → {decision.effect}"] += 1
        found.by_rule[decision.rule or entry.rule or ""] += 1
        found.by_person[person] += 1
        found.by_tool[tool] += 1
        if len(found.examples) < EXAMPLES:
            one = Change(entry.id, entry.decision or "", decision.effect, decision.rule or entry.rule, person, tool)
            found.examples.append(one)

    def _judged(self, entry: Entry) -> Replayed | None:
        key = (entry.person, entry.agent, entry.client, entry.definition)
        if self._timeless and key in self._known:
            return self._known[key]
        known = self._find(entry)
        judged = None if known is None else self._judge(*known)
        self._known[key] = judged
        return judged

    def _judge(self, caller: Caller, facts: Facts) -> Replayed:
        decision = decided(self._rules, caller, facts)
        return decision, tuple(self._undecided(caller, facts, decision))

    def _undecided(self, caller: Caller, facts: Facts, decision: Decision) -> Iterable[str]:
        """Rules that would be stricter than the decision, and depend on arguments."""
        tool = facts.definition
        name, public = (tool.name, tool.public_name) if tool is not None else ("", "")
        for candidate in self._rules.matching(caller, facts.upstream.name, name, public):
            rule = candidate.rule
            stricter = _ORDER.index(rule.effect) < _ORDER.index(decision.effect) if rule.effect in _ORDER else False
            if stricter and rule.limit is None and rule.when and condition(rule.when).members:
                yield rule.id


def _was_decided(entry: Entry) -> bool:
    """Whether rules decided: a call that was refused before says nothing of them."""
    return entry.decision in _ORDER and (entry.rule is not None or entry.decision != "deny")
