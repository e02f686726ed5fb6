"""Oddities of rule sets: each is named, and what is in order is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.model.rule import Match, Redact, Rule
from callgate.policy.compile import compile_rules
from callgate.policy.evaluate import decide
from callgate.policy.globs import pattern
from callgate.policy.lint import Inventory, _glob_covers, lint
from tests.policy.test_conditions import ANA, ARGS, SETS, facts

THERE = Inventory(
    frozenset({"db", "prod-db"}),
    (("db", "drop", "db__drop", frozenset({"table"})), ("prod-db", "read", "prod-db__read", frozenset())),
    frozenset({"ana@acme.test"}),
    frozenset({"sre"}),
    frozenset({"bot"}),
)


def kinds(*rules: Rule) -> list[tuple[str, str]]:
    return [(one.rule, one.kind) for one in lint(rules, THERE)]


@pytest.mark.parametrize(
    "match",
    [
        Match(upstream=("prod",)),
        Match(tool=("delete*",)),
        Match(upstream=("prod-*",), tool=("drop",)),
        Match(person=("bo@*",)),
        Match(role=("boss",)),
        Match(team=("web",)),
        Match(agent=("cat",)),
    ],
)
def test_a_rule_that_names_nothing_that_exists(match: Match) -> None:
    assert kinds(Rule("r", "T", "deny", match)) == [("r", "matches_nothing")]


@pytest.mark.parametrize(
    "match",
    [
        Match(),
        Match(upstream=("prod-*",), tool=("r*",)),
        Match(tool=("db__drop",), person=("Ana@Acme.Test",), role=("admin",), team=("s*",), agent=("b?t",)),
        Match(client=("anything",)),
    ],
)
def test_what_exists_is_in_order(match: Match) -> None:
    assert kinds(Rule("r", "T", "deny", match)) == []


def test_an_exception_that_swallows_its_rule() -> None:
    assert kinds(Rule("r", "T", "deny", Match(tool=("drop",), unless=Match(tool=("*",))))) == [("r", "swallowed")]
    assert kinds(Rule("r", "T", "deny", Match(tool=("drop",), unless=Match(tool=("dr*",))))) == [("r", "swallowed")]
    assert kinds(Rule("r", "T", "deny", Match(tool=("drop",), unless=Match(team=("sre",))))) == []


def test_shadows_repetitions_and_contradictions() -> None:
    wide, narrow = Match(tool=("*",)), Match(tool=("drop",), team=("sre",))
    assert kinds(Rule("d", "T", "deny", wide), Rule("a", "T", "allow", narrow)) == [("a", "shadowed")]
    assert kinds(Rule("d", "T", "deny", wide), Rule("e", "T", "deny", narrow)) == [("e", "redundant")]
    assert kinds(Rule("d", "T", "deny", narrow), Rule("e", "T", "deny", narrow)) == [("e", "redundant")]
    assert kinds(Rule("d", "T", "deny", narrow), Rule("a", "T", "allow", narrow)) == [
        ("a", "contradictory"), ("d", "contradictory"),
    ]  # fmt: skip
    # a condition or an exception on the wide one leaves room
    assert kinds(Rule("d", "T", "deny", wide, when="agent.name == 'x'"), Rule("a", "T", "allow", narrow)) == []
    loose = Match(tool=("*",), unless=Match(team=("sre",)))
    assert kinds(Rule("d", "T", "deny", loose), Rule("a", "T", "allow", narrow)) == []
    # redactions stand side by side
    both = [
        Rule(name, "T", "redact", wide, redact=Redact(action=action)) for name, action in (("x", "mask"), ("y", "hash"))
    ]
    assert kinds(*both, Rule("a", "T", "allow", wide)) == []


def test_a_condition_that_may_find_no_answer() -> None:
    assert kinds(Rule("r", "T", "deny", Match(tool=("drop",)), when="args.force == true")) == [("r", "may_fail")]
    for fine in ("has(args.force) && args.force == true", "args.table == 'x'", "'force' in args && args.force == true"):
        assert kinds(Rule("r", "T", "deny", Match(tool=("drop",)), when=fine)) == []
    assert kinds(Rule("r", "T", "deny", when="from.the.future()")) == [("r", "unreadable")]


@given(st.text("ab*?", max_size=5), st.text("ab*?", max_size=5), st.text("ab", max_size=5))
def test_a_glob_that_covers_matches_whatever_the_other_does(wide: str, narrow: str, text: str) -> None:
    if _glob_covers(wide, narrow) and pattern(narrow)(text):
        assert pattern(wide)(text)


@given(SETS, ARGS)
def test_a_shadowed_rule_never_names_a_decision(rules: list[Rule], args: object) -> None:
    shadowed = {one.rule for one in lint(rules, THERE) if one.kind in ("shadowed", "swallowed")}
    decision = decide(compile_rules(rules, 1), ANA, "db", "drop", "db__drop", facts(args))
    assert decision.failed or decision.rule not in shadowed
