"""Properties of decisions over random rule sets: order, one more deny, shadow rules, lists against calls."""

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from callgate.model.caller import Caller
from callgate.model.definition import TRUSTED, Definition
from callgate.model.rule import Limit, Match, Rule
from callgate.model.upstream import Upstream
from callgate.policy.compile import compile_rules
from callgate.policy.facts import Facts
from callgate.policy.trial import decided

UPSTREAM = Upstream("ups_1", "default", "files", "http")
TOOL = Definition(
    id="def_1", tenant="default", upstream="ups_1", kind="tool", name="read", public_name="files__read",
    status=TRUSTED, raw=b'{"name":"read"}', core="c", full="f", approved_full="f",
)  # fmt: skip
GLOBS = st.lists(st.sampled_from(["read", "r*", "*", "write", "files"]), max_size=2).map(tuple)
MATCHES = st.builds(
    Match, tool=GLOBS, upstream=GLOBS, role=st.lists(st.sampled_from(["member", "x"]), max_size=1).map(tuple)
)
WHENS = st.sampled_from(
    ["", "args.n == 1", "args.missing == 1", "has(args.n)", "person.email == 'ana@acme.test'", "args.n < 'a'"]
)
RULES = st.lists(
    st.builds(
        Rule, id=st.uuids().map(str), title=st.just("T"), effect=st.sampled_from(["deny", "require_approval", "allow"]),
        match=MATCHES, when=WHENS,
    ),
    max_size=6,
)  # fmt: skip
ARGUMENTS = st.sampled_from([b"{}", b'{"n":1}', b'{"n":"x"}', b'{"n":1,"n":2}', b"[", None])
ANA = Caller("default", "per_1", "ana@acme.test", ("member",), (), None, None, "tok_1")


def facts(arguments: bytes | None) -> Facts:
    return Facts(UPSTREAM, TOOL, "tools/call", 1, arguments)


@given(RULES, ARGUMENTS, st.randoms())
def test_the_order_of_rules_does_not_matter(rules: list[Rule], arguments: bytes | None, random: Random) -> None:
    mixed = list(rules)
    random.shuffle(mixed)
    found = (decided(compile_rules(each, 1), ANA, facts(arguments)) for each in (rules, mixed))
    assert len({msgspec.json.encode(one) for one in found}) == 1


@given(RULES, ARGUMENTS, MATCHES, WHENS)
def test_one_more_deny_never_allows_more(rules: list[Rule], arguments: bytes | None, match: Match, when: str) -> None:
    order = ("allow", "require_approval", "deny")
    before = decided(compile_rules(rules, 1), ANA, facts(arguments))
    after = decided(compile_rules([*rules, Rule("zz", "T", "deny", match, when=when)], 1), ANA, facts(arguments))
    assert order.index(after.effect) >= order.index(before.effect)


@given(RULES, RULES, ARGUMENTS)
def test_shadow_rules_never_change_a_decision(rules: list[Rule], more: list[Rule], arguments: bytes | None) -> None:
    shadow = [msgspec.structs.replace(one, id=f"s-{one.id}", mode="shadow") for one in more]
    before = decided(compile_rules(rules, 1), ANA, facts(arguments))
    after = decided(compile_rules([*rules, *shadow], 1), ANA, facts(arguments))
    assert msgspec.structs.replace(after, shadow="") == before
    enforced = decided(compile_rules([*rules, *more], 1), ANA, facts(arguments))
    if enforced.effect != before.effect:
        assert after.shadow.partition(":")[0] in (enforced.effect, "failed")


@given(RULES, ARGUMENTS.filter(lambda one: one is not None))
def test_what_a_list_denies_no_call_gets(rules: list[Rule], arguments: bytes | None) -> None:
    """And what every argument would deny is left out of the list: a list is a call without arguments."""
    compiled = compile_rules(rules, 1)
    listed, called = decided(compiled, ANA, facts(None)), decided(compiled, ANA, facts(arguments))
    if listed.effect == "deny":
        assert called.effect == "deny"
    if not any("args" in rule.when for rule in rules):
        assert listed == called


@given(RULES, ARGUMENTS)
def test_a_rule_that_has_no_answer_never_lets_a_call_through(rules: list[Rule], arguments: bytes | None) -> None:
    failing = Rule("zz", "T", "allow", when="args.missing == 1")
    found = decided(compile_rules([*rules, failing], 1), ANA, facts(arguments or b"{}"))
    assert found.effect == "deny"


@given(RULES, ARGUMENTS, st.sampled_from(["deny", "require_approval"]))
def test_a_limit_says_nothing_until_it_is_reached(rules: list[Rule], arguments: bytes | None, effect: str) -> None:
    limit = Rule("zz", "T", effect, limit=Limit("rate", 1))
    before = decided(compile_rules(rules, 1), ANA, facts(arguments))
    after = decided(compile_rules([*rules, limit], 1), ANA, facts(arguments))
    assert msgspec.structs.replace(after, limits=()) == before
    assert after.effect == "deny" or after.limits == (limit,)
