"""Explanations: the same tests as the decision, one rule at a time."""

import json

from hypothesis import given

from callgate.model.caller import Caller
from callgate.model.rule import Match, Rule
from callgate.policy.compile import compile_rules
from callgate.policy.evaluate import decide
from callgate.policy.explain import Verdict, explain
from callgate.policy.facts import Facts
from tests.policy.test_conditions import ANA, ARGS, SETS, facts


def one(rule: Rule, given_facts: Facts | None = None, caller: Caller = ANA) -> Verdict:
    (found,) = explain((rule,), caller, given_facts or facts({"force": True}))
    return found


def test_what_did_not_match_is_named() -> None:
    match = Match(upstream=("db",), tool=("read*",), role=("admin",), team=("sre",))
    found = one(Rule("r", "T", "deny", match))
    assert (found.outcome, found.missed, found.almost) == ("missed", ("tool", "role"), False)
    found = one(Rule("r", "T", "deny", Match(tool=("db__drop",), person=("Bo@acme.test",))))
    assert (found.missed, found.almost) == (("person",), True)
    assert one(Rule("r", "T", "deny", Match(upstream=("prod-*",)))).missed == ("upstream",)


def test_an_exception_that_holds_is_named() -> None:
    found = one(Rule("r", "T", "deny", Match(unless=Match(team=("sre",)))))
    assert (found.outcome, found.missed, found.almost) == ("missed", ("unless",), True)


def test_a_condition_matches_misses_fails_or_waits_for_arguments() -> None:
    def outcome(when: str, args: object) -> str:
        return one(Rule("r", "T", "deny", when=when), facts(args)).outcome

    assert outcome("args.force == true", {"force": True}) == "matched"
    assert outcome("args.force == true", {"force": False}) == "missed"
    assert outcome("args.force == true", {}) == "failed"
    assert outcome("args.force == true", None) == "unknown"
    assert outcome("agent.name == 'bot'", None) == "matched"
    assert outcome("from.the.future()", {}) == "failed"
    assert "has()" in one(Rule("r", "T", "deny", when="args.gone == 1")).why


def test_what_matched_comes_first_and_then_what_almost_did() -> None:
    rules = (
        Rule("far", "T", "deny", Match(tool=("x",), role=("x",))),
        Rule("near", "T", "deny", Match(role=("x",))),
        Rule("odd", "T", "allow", when="args.gone == 1"),
        Rule("hit", "T", "allow"),
    )
    assert [found.rule.id for found in explain(rules, ANA, facts({}))] == ["odd", "hit", "near", "far"]


@given(SETS, ARGS)
def test_an_explanation_agrees_with_the_decision(rules: list[Rule], args: object) -> None:
    given_facts = facts(args)
    decision = decide(compile_rules(rules, 1), ANA, "db", "drop", "db__drop", given_facts)
    verdicts = {found.rule.id: found.outcome for found in explain(tuple(rules), ANA, given_facts)}
    if decision.rule is None:
        assert set(verdicts.values()) <= {"missed"}
    else:
        assert verdicts[decision.rule] == ("failed" if decision.failed else "matched")
    if "failed" in verdicts.values():
        assert decision.effect == "deny"
    assert json.dumps(verdicts)
