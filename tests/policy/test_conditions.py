"""Rules with conditions: what they decide with and without arguments, and that a failure never lets a call through."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.definition import Definition
from callgate.model.rule import Decision, Match, Rule
from callgate.model.upstream import Upstream
from callgate.policy.compile import compile_rules
from callgate.policy.evaluate import decide
from callgate.policy.expr import NoAnswer
from callgate.policy.facts import Facts, arguments
from callgate.policy.members import ALL
from callgate.policy.model import check

ANA = Caller("default", "per_1", "ana@acme.test", ("member",), ("sre",), "bot", "codex", "tok_1")
DB = Upstream(id="ups_1", tenant="default", name="db", kind="http")
RAW = b'{"name":"drop","title":"Drop","annotations":{"destructiveHint":true},"inputSchema":{}}'
DROP = Definition("def_1", "default", "ups_1", "tool", "drop", "db__drop", "trusted", RAW, "c", "f", risk="high")


def facts(args: object = None, *, raw: bytes | None = None) -> Facts:
    given = raw if raw is not None else None if args is None else json.dumps(args).encode()
    return Facts(DB, DROP, "tools/call", 1_790_000_000_000_000, given)


def decided(rules: list[Rule], given: Facts | None) -> Decision:
    return decide(compile_rules(rules, 1), ANA, "db", "drop", "db__drop", given)


def deny(when: str, id_: str = "r") -> Rule:
    return Rule(id_, "No force", "deny", Match(), when=when)


def test_a_condition_on_arguments_decides() -> None:
    rules = [deny("args.force == true")]
    assert decided(rules, facts({"force": True})).effect == "deny"
    assert decided(rules, facts({"force": False})).effect == "allow"


@pytest.mark.parametrize(
    "when",
    [
        "tool.annotations.destructiveHint == true && tool.title == 'Drop' && tool.risk == 'high'",
        "tool.name == 'drop' && tool.public_name == 'db__drop' && upstream.name == 'db' && upstream.kind == 'http'",
        "person.email == 'ana@acme.test' && 'member' in person.roles && 'sre' in person.teams",
        "agent.name == 'bot' && client.name == 'codex' && request.method == 'tools/call'",
        "request.time > timestamp('2026-01-01T00:00:00Z')",
    ],
)
def test_a_condition_knows_who_what_and_when(when: str) -> None:
    assert decided([deny(when)], facts({})).effect == "deny"
    # known before anybody calls: so lists leave the tool out as calls refuse it
    assert decided([deny(when)], facts(None)).effect == "deny"


def test_before_a_call_a_rule_about_arguments_says_nothing() -> None:
    assert decided([deny("args.force == true")], facts(None)).effect == "allow"
    assert decided([deny("args.force == true"), deny("agent.name == 'bot'", "z")], facts(None)).rule == "z"


@pytest.mark.parametrize("effect", ["deny", "require_approval", "redact", "allow"])
def test_a_rule_without_an_answer_denies_whatever_its_effect(effect: str) -> None:
    rule = Rule("r", "Odd", effect, when="args.missing == 1")
    found = decided([rule], facts({}))
    assert (found.effect, found.rule, found.failed) == ("deny", "r", True)
    assert "Odd" in found.message
    assert "has()" in found.message


def test_a_weak_rule_without_an_answer_is_seen_beside_a_stricter_one() -> None:
    rules = [Rule("ask", "Ask", "require_approval"), Rule("odd", "Odd", "allow", when="args.missing == 1")]
    assert decided(rules, facts({})).failed
    assert not decided(rules, facts({"missing": 1})).failed


def test_without_facts_a_condition_denies() -> None:
    assert decided([Rule("r", "T", "allow", when="agent.name == 'x'")], None).failed


def test_a_condition_that_this_version_cannot_read_denies() -> None:
    found = decided([deny("from.the.future(args)")], facts({}))
    assert (found.effect, found.failed) == ("deny", True)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"force": false, "force": true}',
        b'{"force":false,"force":true}',
        b'{"force":false,"\\u0066orce":true}',
        b'{"x":{"a":1,"a":2},"force":false}',
        b'{"force":false',
        b"[]",
        b'{"force":"\\ud800"}',
    ],
)
def test_what_two_readers_can_read_differently_denies(raw: bytes) -> None:
    assert decided([deny("args.force == true && args.x.a == 1")], facts(raw=raw)).failed


LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)


@given(
    st.dictionaries(
        st.sampled_from(["force", "other", "é", "\n"]),
        st.recursive(LEAVES, lambda one: st.lists(one, max_size=3), max_leaves=5),
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)  # fmt: skip
def test_the_wanted_members_are_those_of_the_whole(args: dict[str, object], indent: int | None, ascii_: bool) -> None:
    for text in (json.dumps(args, indent=indent, ensure_ascii=ascii_), json.dumps(args, separators=(",", ":"))):
        raw = text.encode()
        assert arguments(raw, ALL) == args
        wanted = arguments(raw, frozenset({"force", "nothing"}))
        assert {name: value for name, value in wanted.items() if name == "force"} == (
            {"force": args["force"]} if "force" in args else {}
        )


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), min_size=1), st.sampled_from("abc"), st.booleans())
def test_a_member_given_twice_is_always_noticed(args: dict[str, int], again: str, tight: bool) -> None:
    separators = (",", ":") if tight else (", ", ": ")
    body = json.dumps(args, separators=separators)
    raw = f'{body[:-1]}{separators[0]}"{again}"{separators[1]}9}}'.encode()
    if again in args:
        with pytest.raises(NoAnswer):
            arguments(raw, frozenset({"a"}))
    else:
        assert arguments(raw, ALL) == {**args, again: 9}


WHENS = st.sampled_from(
    ["", "args.a == 1", "args.b == 1", "agent.name == 'bot'", "args.l.exists(x, x == 1)", "args.a > 'x'"]
)
MATCHES = st.sampled_from(
    [Match(), Match(tool=("drop",)), Match(tool=("other",)), Match(unless=Match(team=("sre",)))]
)  # fmt: skip
SETS = st.lists(
    st.builds(
        Rule,
        id=st.uuids().map(str), title=st.just("T"), effect=st.sampled_from(("deny", "require_approval", "allow")),
        when=WHENS, match=MATCHES,
    ),
    max_size=5,
)  # fmt: skip
ARGS = st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)) | st.just({"a": 1, "b": 1, "l": [1]})
_STRICT = {"deny": 0, "require_approval": 1, "allow": 2}


@given(SETS, ARGS, st.randoms())
def test_neither_order_nor_one_more_deny_opens_anything(rules: list[Rule], args: object, random: Random) -> None:
    mixed = list(rules)
    random.shuffle(mixed)
    found = decided(rules, facts(args))
    assert decided(mixed, facts(args)) == found
    more = decided([*rules, deny("args.a == 1", "zz")], facts(args))
    assert _STRICT[more.effect] <= _STRICT[found.effect]


@given(SETS, ARGS)
def test_what_a_list_leaves_out_no_call_gets(rules: list[Rule], args: object) -> None:
    if decided(rules, facts(None)).effect == "deny":
        assert decided(rules, facts(args)).effect == "deny"


@given(SETS, ARGS)
def test_a_rule_that_fails_never_lets_a_call_through(rules: list[Rule], args: object) -> None:
    if any(decided([rule], facts(args)).failed for rule in rules):
        assert decided(rules, facts(args)).effect == "deny"


def test_a_condition_is_checked_when_the_rule_is_saved() -> None:
    assert check(deny("args.force == true")).when == "args.force == true"
    with pytest.raises(Refused, match=r"Rule `r`: `when`, line 1, column 7: .*did you mean `person.email`"):
        check(deny("person.emial == 'x'"))
    for long in (Rule("r", "T", "deny", description="x" * 2001), Rule("r", "T", "deny", owner="x" * 201)):
        with pytest.raises(Refused, match="`description` holds 2000"):
            check(long)
