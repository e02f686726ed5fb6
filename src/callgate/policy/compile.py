"""Rules compiled for look-up: per tool and caller the few rules that match, strictest first.

What a rule says of who, what and where does not change while a rule set lasts, so it is looked at once: a second call
of the same person pays for conditions alone, however many rules there are. The index is filled as tools are called
and thrown away with the rule set. Fail closed: see `evaluate`.
"""

import re
from collections.abc import Callable, Iterable

from callgate.model.caller import Caller
from callgate.model.rule import EFFECTS, SHADOW, Match, Rule
from callgate.policy.combine import carried_out, combined
from callgate.policy.contents import looks_inside
from callgate.policy.details import Detail, details
from callgate.policy.expr import Condition, NoAnswer, condition
from callgate.policy.facts import Facts
from callgate.policy.globs import pattern
from callgate.policy.phases import CALL, RESULT, phase

Test = Callable[[Caller], bool]
_RANK = {effect: rank for rank, effect in enumerate(EFFECTS)}
_MAX_INDEX = 20_000  # tools, and as many pairs of a tool and a caller
_SPECIAL = re.compile(r"[*?\[]")  # what makes a text a pattern


class Candidate:
    """A rule that matches a tool; whether it matches a caller is left to its tests, and the rest to its details and
    its condition."""

    __slots__ = ("calls", "condition", "details", "inside", "results", "rule", "tests", "unless", "unless_details")

    def __init__(
        self, rule: Rule, tests: tuple[Test, ...], unless: tuple[Test, ...] | None, condition: Condition | None = None
    ) -> None:
        self.rule = rule
        self.tests = tests
        self.unless = unless  # what the exception asks of a caller; None where it says nothing of this tool
        self.condition = condition
        self.inside = looks_inside(rule)
        when = phase(rule) if condition is not None or not rule.when else CALL
        self.calls = when != RESULT  # judged before the upstream sees the call
        self.results = when != CALL and (
            self.inside or rule.effect != "redact" or when == RESULT
        )  # and on the way back
        self.details = details(rule.match)
        self.unless_details: Detail | None = None
        if unless is not None and rule.match.unless is not None:
            self.unless_details = details(rule.match.unless)

    @property
    def settled(self) -> bool:
        """Whether nothing of a call can change what it says."""
        if self.details is not None or self.unless_details is not None or not carried_out(self.rule):
            return False
        return not self.calls or (self.condition is None and not self.inside)

    def matches(self, caller: Caller) -> bool:
        """Whether the rule may apply to this caller: its exception does not, or is left to details."""
        for test in self.tests:
            if not test(caller):
                return False
        return self.unless is None or self.unless_details is not None or not self._excepted(caller)

    def _excepted(self, caller: Caller) -> bool:
        return self.unless is not None and all(test(caller) for test in self.unless)

    def holds(self, caller: Caller, facts: Facts | None) -> bool:
        """Whether the rule applies to this request, but for its condition. Raises `NoAnswer`."""
        if self.details is None and self.unless_details is None:
            return True
        if facts is None:
            raise NoAnswer("Nothing is known of the request.")
        if self.details is not None and not self.details(facts):
            return False
        return not (self.unless_details is not None and self._excepted(caller) and self.unless_details(facts))


class Settled:
    """What the rules say of a tool and a caller before anything is known of a call.

    `decision` is what the rules without conditions say; where `open` holds others, they are judged for each call and
    put together with `matched`.
    """

    __slots__ = ("decision", "matched", "open")

    def __init__(self, candidates: Iterable[Candidate], version: int, default: str) -> None:
        matched: list[Rule] = []
        results: list[Rule] = []
        waiting: list[Candidate] = []
        for one in candidates:
            if not one.settled:
                waiting.append(one)
                continue
            if one.results:
                results.append(one.rule)
            if one.calls:
                matched.append(one.rule)
        self.matched = tuple(matched)
        self.decision = combined(matched, version, default, tuple(results))
        # a deny that asks nothing is the end of it
        self.open = () if self.decision.effect == "deny" and self.decision.rule is not None else tuple(waiting)


class CompiledRules:
    """One version of a tenant's rules."""

    __slots__ = ("_index", "_settled", "conditional", "default", "rules", "shadowed", "version")

    def __init__(
        self, rules: tuple[Rule, ...], version: int, default: str = "allow", shadowed: "CompiledRules | None" = None
    ) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: (_RANK.get(rule.effect, -1), rule.id)))
        self.version = version
        self.default = default  # what is decided where no rule matches
        self.shadowed = shadowed  # the set as it would be if its shadow rules were enforced; None where it has none
        self.conditional = any(_asks(rule) for rule in (shadowed.rules if shadowed is not None else rules))
        self._index: dict[tuple[object, ...], tuple[Candidate, ...]] = {}
        self._settled: dict[tuple[object, ...], Settled] = {}

    def candidates(self, upstream: str, tool: str, public: str) -> tuple[Candidate, ...]:
        """The rules that may apply to a tool, strictest first."""
        key = (upstream, tool, public)
        found = self._index.get(key)
        if found is None:
            found = self._keep(key, tuple(_candidates(self.rules, upstream, tool, public)))
        return found

    def matching(self, caller: Caller, upstream: str, tool: str, public: str) -> tuple[Candidate, ...]:
        """The rules that apply to a tool and a caller but for what they ask of a call, strictest first."""
        return tuple(one for one in self.candidates(upstream, tool, public) if one.matches(caller))

    def settled(self, caller: Caller, upstream: str, tool: str, public: str) -> Settled:
        """What can be said of a tool and a caller once and for all."""
        key = (upstream, tool, public, caller.email, caller.roles, caller.teams, caller.agent, caller.client)
        found = self._settled.get(key)
        if found is None:
            if len(self._settled) >= _MAX_INDEX:
                self._settled.clear()
            matching = self.matching(caller, upstream, tool, public)
            found = self._settled[key] = Settled(matching, self.version, self.default)
        return found

    def _keep(self, key: tuple[object, ...], found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if len(self._index) >= _MAX_INDEX:
            self._index.clear()
        self._index[key] = found
        return found


def _asks(rule: Rule) -> bool:
    """Whether a rule has to know more of a request than names."""
    matches = (rule.match, rule.match.unless)
    return (
        bool(rule.when)
        or looks_inside(rule)
        or phase(rule) != CALL
        or any(one is not None and details(one) is not None for one in matches)
    )


EMPTY = CompiledRules((), 0)


def compile_rules(rules: Iterable[Rule], version: int, default: str = "allow") -> CompiledRules:
    """Compile a rule set; rules must have passed `model.check`. Shadow rules stand in a set of their own."""
    every = tuple(rules)
    enforced = tuple(rule for rule in every if rule.mode != SHADOW)
    shadowed = CompiledRules(every, version, default) if len(enforced) < len(every) else None
    return CompiledRules(enforced, version, default, shadowed)


def _candidates(rules: tuple[Rule, ...], upstream: str, tool: str, public: str) -> Iterable[Candidate]:
    for rule in rules:
        if not matches_target(rule.match, upstream, tool, public):
            continue
        exception = rule.match.unless
        unless = None
        if exception is not None and matches_target(exception, upstream, tool, public):
            unless = _tests(exception)
        yield Candidate(rule, _tests(rule.match), unless, condition(rule.when) if rule.when else None)


def matches_target(match: Match, upstream: str, tool: str, public: str) -> bool:
    """Whether a match names this upstream and this tool."""
    return matches_upstream(match, upstream) and matches_tool(match, tool, public)


def matches_upstream(match: Match, upstream: str) -> bool:
    return not match.upstream or any(pattern(glob)(upstream) for glob in match.upstream)


def matches_tool(match: Match, tool: str, public: str) -> bool:
    """Whether a match names this tool; without a tool, one that names tools says nothing of it."""
    if not match.tool:
        return True
    if not tool and not public:
        return False
    return any(pattern(glob)(tool) or (public != "" and pattern(glob)(public) is not None) for glob in match.tool)


# what a match asks of a caller: name of the list, the caller's values
CALLER: dict[str, Callable[[Caller], tuple[str, ...]]] = {
    "person": lambda caller: (caller.email,),
    "role": lambda caller: caller.roles,
    "team": lambda caller: caller.teams,
    "agent": lambda caller: (caller.agent or "",),
    "client": lambda caller: (caller.client or "",),
}


def caller_test(match: Match, name: str) -> Test | None:
    """What the list of this name asks of a caller; None where it asks nothing."""
    globs: tuple[str, ...] = getattr(match, name)
    if name == "person":
        globs = tuple(glob.lower() for glob in globs)  # addresses are kept in lower case
    return _any_of(globs, CALLER[name]) if globs else None


def _tests(match: Match) -> tuple[Test, ...]:
    return tuple(test for name in CALLER if (test := caller_test(match, name)) is not None)


def _any_of(globs: tuple[str, ...], values: Callable[[Caller], tuple[str, ...]]) -> Test:
    plain = frozenset(glob for glob in globs if not _SPECIAL.search(glob))
    patterns = tuple(pattern(glob) for glob in globs if glob not in plain)
    if not patterns:
        return lambda caller: not plain.isdisjoint(values(caller))
    return lambda caller: any(value in plain or any(matches(value) for matches in patterns) for value in values(caller))
