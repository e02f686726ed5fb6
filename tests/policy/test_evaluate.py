"""The decision on one call: strictest first, and an error is a deny."""

from collections.abc import Sequence
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from callgate.model.caller import Caller
from callgate.model.rule import Decision, Match, Rule
from callgate.policy.compile import EMPTY, Candidate, CompiledRules, compile_rules
from callgate.policy.evaluate import decide

NAMES = st.sampled_from(["a", "b", "ab", "prod-a", "prod-b"])
GLOBS = st.lists(st.sampled_from(["a", "b*", "prod-*", "*b", "*", "?"]), max_size=2).map(tuple)
MATCHES = st.builds(Match, upstream=GLOBS, tool=GLOBS, role=GLOBS, team=GLOBS, agent=GLOBS, client=GLOBS)


def with_exception(match: Match, exception: Match | None) -> Match:
    return msgspec.structs.replace(match, unless=None if exception == Match() else exception)


RULES = st.lists(
    st.builds(
        Rule,
        id=st.uuids().map(str),
        title=st.just("T"),
        effect=st.sampled_from(["deny", "allow"]),
        match=st.builds(with_exception, MATCHES, st.none() | MATCHES),
    ),
    max_size=6,
)
SETS = st.lists(NAMES, max_size=2).map(tuple)
CALLERS = st.builds(
    Caller,
    tenant=st.just("default"),
    person=st.just("per_1"),
    email=NAMES,
    roles=SETS,
    teams=SETS,
    agent=st.none() | NAMES,
    client=st.none() | NAMES,
    token=st.just("tok_1"),
)
ANA = Caller("default", "per_1", "ana@acme.test", ("member",), ("sre",), None, None, "tok_1")


def alone(rule: Rule, caller: Caller, upstream: str, tool: str) -> bool:
    """Whether a rule matches, judged in a set of its own."""
    return decide(compile_rules([rule], 1), caller, upstream, tool, f"{upstream}__{tool}").rule == rule.id


@given(RULES, CALLERS, NAMES, NAMES)
def test_one_matching_deny_is_enough(rules: list[Rule], caller: Caller, upstream: str, tool: str) -> None:
    matching = [rule for rule in rules if alone(rule, caller, upstream, tool)]
    decision = decide(compile_rules(rules, 7), caller, upstream, tool, f"{upstream}__{tool}")
    effects = {rule.effect for rule in matching}
    assert decision.effect == ("deny" if "deny" in effects else "allow")
    assert decision.ruleset == 7
    if matching:
        assert decision.rule in {rule.id for rule in matching if rule.effect == decision.effect}
    else:
        assert decision.rule is None


@given(RULES, CALLERS, NAMES, NAMES, st.randoms())
def test_the_order_of_the_rules_does_not_matter(
    rules: list[Rule], caller: Caller, upstream: str, tool: str, random: Random
) -> None:
    mixed = list(rules)
    random.shuffle(mixed)
    args = (caller, upstream, tool, f"{upstream}__{tool}")
    assert decide(compile_rules(rules, 1), *args) == decide(compile_rules(mixed, 1), *args)


@given(RULES, CALLERS, NAMES, NAMES)
def test_one_more_deny_never_opens_anything(rules: list[Rule], caller: Caller, upstream: str, tool: str) -> None:
    args = (caller, upstream, tool, f"{upstream}__{tool}")
    more = [*rules, Rule("zz-more", "T", "deny", Match(tool=("a*",)))]
    if decide(compile_rules(rules, 1), *args).effect == "deny":
        assert decide(compile_rules(more, 1), *args).effect == "deny"


@given(MATCHES, MATCHES, CALLERS, NAMES, NAMES)
def test_an_exception_takes_out_just_what_it_matches(
    match: Match, exception: Match, caller: Caller, upstream: str, tool: str
) -> None:
    def matches(each: Match) -> bool:
        return alone(Rule("r", "T", "deny", each), caller, upstream, tool)

    expected = matches(match) and not (exception != Match() and matches(exception))
    assert matches(with_exception(match, exception)) is expected


def test_without_rules_a_trusted_tool_is_allowed() -> None:
    assert decide(EMPTY, ANA, "u", "t", "u__t") == Decision("allow")


def test_the_decision_carries_the_rules_title_and_message() -> None:
    rule = Rule("r", "No prod", "deny", Match(upstream=("u",)), message="Ask the platform team.")
    assert decide(compile_rules([rule], 3), ANA, "u", "t", "u__t") == Decision(
        "deny", "r", "No prod", "Ask the platform team.", 3
    )


def test_an_effect_that_cannot_be_carried_out_is_a_deny_even_beside_an_allow() -> None:
    for effect in ("redact", "shout", ""):
        rules = [Rule("r", "T", effect), Rule("a", "A", "allow")]
        decision = decide(compile_rules(rules, 1), ANA, "u", "t", "u__t")
        assert (decision.effect, decision.rule) == ("deny", "r")


def test_an_approval_is_asked_for_when_no_rule_denies() -> None:
    rules = [Rule("r", "T", "require_approval"), Rule("a", "A", "allow")]
    assert decide(compile_rules(rules, 1), ANA, "u", "t", "u__t").effect == "require_approval"


class Broken(CompiledRules):
    """Rules one of which fails while it is evaluated."""

    __slots__ = ("tests",)

    def candidates(self, upstream: str, tool: str, public: str) -> tuple[Candidate, ...]:
        def fails(_: Caller) -> bool:
            raise ValueError("planted")

        found: Sequence[Candidate] = [Candidate(rule, (fails,), None) for rule in self.rules]
        return tuple(found)


class Unusable(CompiledRules):
    """Rules that cannot be looked up at all."""

    __slots__ = ()

    def candidates(self, upstream: str, tool: str, public: str) -> tuple[Candidate, ...]:
        raise LookupError


def test_a_rule_that_fails_denies() -> None:
    decision = decide(Broken((Rule("r", "T", "allow"),), 2), ANA, "u", "t", "u__t")
    assert (decision.effect, decision.failed, decision.ruleset) == ("deny", True, 2)
    assert "planted" not in decision.message


def test_rules_that_cannot_be_looked_up_deny() -> None:
    decision = decide(Unusable((), 2), ANA, "u", "t", "u__t")
    assert (decision.effect, decision.rule) == ("deny", None)
