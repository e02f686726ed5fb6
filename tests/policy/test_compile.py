"""Rules compiled for look-up: globs, targets, exceptions, and the index."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.model.caller import Caller
from callgate.model.rule import Match, Rule
from callgate.policy import compile as compiling
from callgate.policy.compile import compile_rules
from callgate.policy.globs import pattern

CALLER = Caller(
    tenant="default", person="per_1", email="ana@acme.test", roles=("admin", "member"), teams=("platform",),
    agent="bot", client="codex", token="tok_1",
)  # fmt: skip
NOBODY = Caller(
    tenant="default", person="per_2", email="bo@acme.test", roles=(), teams=(), agent=None, client=None, token="tok_2"
)


def applies(match: Match, caller: Caller = CALLER, upstream: str = "prod-db", tool: str = "drop.table") -> bool:
    compiled = compile_rules([Rule("r", "T", "deny", match)], 1)
    return any(each.matches(caller) for each in compiled.candidates(upstream, tool, f"{upstream}__drop_table"))


@pytest.mark.parametrize(
    "match",
    [
        Match(),
        Match(upstream=("prod-*",)),
        Match(upstream=("x", "prod-??")),
        Match(tool=("drop.*",)),
        Match(tool=("prod-db__*",)),
        Match(tool=("prod-db__drop_table",)),
        Match(person=("*@acme.test",)),
        Match(person=("Ana@Acme.Test",)),
        Match(role=("admin",)),
        Match(team=("plat*",)),
        Match(agent=("bot",)),
        Match(client=("codex",)),
        Match(upstream=("prod-*",), tool=("drop*",), role=("member",), agent=("b?t",)),
        Match(role=("admin",), unless=Match(role=("auditor",))),
        Match(role=("admin",), unless=Match(tool=("read*",))),
        Match(role=("admin",), unless=Match(tool=("drop*",), team=("sre",))),
    ],
)
def test_a_rule_applies_when_every_list_has_a_glob_that_matches(match: Match) -> None:
    assert applies(match)


@pytest.mark.parametrize(
    "match",
    [
        Match(upstream=("prod",)),
        Match(upstream=("PROD-*",)),
        Match(tool=("table",)),
        Match(tool=("other__drop_table",)),
        Match(person=("bo@acme.test",)),
        Match(role=("auditor",)),
        Match(team=("sre",)),
        Match(agent=("bo",)),
        Match(client=("claude",)),
        Match(role=("admin",), agent=("none",)),
        Match(unless=Match(role=("admin",))),
        Match(unless=Match(tool=("drop*",))),
        Match(unless=Match(upstream=("prod-*",), team=("platform",))),
    ],
)
def test_a_rule_does_not_apply_when_one_list_matches_nothing_or_the_exception_holds(match: Match) -> None:
    assert not applies(match)


def test_a_list_of_roles_does_not_match_somebody_without_any() -> None:
    assert not applies(Match(role=("*",)), NOBODY)
    assert not applies(Match(agent=("bot",)), NOBODY)


def test_a_rule_that_names_tools_says_nothing_of_prompts_and_resources() -> None:
    assert not applies_to_no_tool(Match(tool=("*",)))
    assert applies_to_no_tool(Match(upstream=("prod-db",)))
    assert applies_to_no_tool(Match(unless=Match(tool=("*",))))


def applies_to_no_tool(match: Match) -> bool:
    return bool(compile_rules([Rule("r", "T", "deny", match)], 1).candidates("prod-db", "", ""))


def test_candidates_come_strictest_first_and_then_by_id() -> None:
    rules = [Rule(name, "T", effect) for name, effect in (("a", "allow"), ("c", "deny"), ("b", "deny"), ("z", "odd"))]
    found = compile_rules(rules, 1).candidates("u", "t", "u__t")
    assert [each.rule.id for each in found] == ["z", "b", "c", "a"]


def test_a_second_look_up_is_answered_from_the_index() -> None:
    compiled = compile_rules([Rule("r", "T", "deny")], 1)
    assert compiled.candidates("u", "t", "u__t") is compiled.candidates("u", "t", "u__t")


def test_the_index_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_MAX_INDEX", 3)
    compiled = compile_rules([Rule("r", "T", "deny")], 1)
    for number in range(10):
        assert compiled.candidates("u", f"t{number}", f"u__t{number}")
    assert len(compiled._index) <= 3


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_glob_means_what_it_means_in_a_shell(glob: str, text: str) -> None:
    assert bool(pattern(glob)(text)) is fnmatch.fnmatchcase(text, glob)


@given(st.text(max_size=20))
def test_a_star_matches_every_name(text: str) -> None:
    assert pattern("*")(text)
    assert pattern("***")(text)


@given(st.text(st.characters(exclude_characters="*?[]"), max_size=20))
def test_a_name_without_wildcards_matches_itself_and_no_longer_one(text: str) -> None:
    assert pattern(text)(text)
    assert not pattern(text)(text + "x")
    assert not pattern(text)("x" + text)


def test_a_glob_of_many_stars_stays_cheap() -> None:
    assert not pattern("*a" * 100 + "b")("a" * 2000)
