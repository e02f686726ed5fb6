"""Conditions: what is refused at save and where, what they say of a call, and which members of `args` they read."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.policy.expr import MAX_LENGTH, VARIABLES, Condition, NoAnswer, activation, condition
from callgate.policy.members import ALL, members

GIVEN: dict[str, object] = {
    "args": {
        "force": True, "amount": 2000, "half": 0.5, "name": "prod-1", "none": None, "list": [1, 2, 3],
        "deep": {"a": {}},
    },
    "person.email": "ana@acme.test",
    "person.roles": ["member"],
    "person.teams": ["sre", "web"],
    "agent.name": "bot",
    "client.name": "",
    "tool.name": "delete_row",
    "tool.public_name": "db__delete_row",
    "tool.title": "",
    "tool.annotations": {"readOnlyHint": False, "destructiveHint": True},
    "tool.risk": "",
    "upstream.name": "db",
    "upstream.kind": "http",
    "upstream.auth_mode": "shared",
    "request.address": "10.1.2.3",
    "result": {"isError": False},
    "request.method": "tools/call",
    "request.time": datetime(2026, 11, 23, 22, 30, tzinfo=UTC),
}  # fmt: skip


def holds(text: str, **args: object) -> bool:
    return condition(text).holds(activation({**GIVEN, "args": {**GIVEN["args"], **args}}))  # type: ignore[dict-item]


def test_every_variable_can_be_asked_for() -> None:
    assert set(GIVEN) == set(VARIABLES)


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("args.force == true", True),
        ("args.force", None),
        ("args.amount > 1000 && 'sre' in person.teams", True),
        ("args.amount > 1999.5", True),
        ("args.half < 1", True),
        ("args.name.startsWith('prod-') && tool.annotations.destructiveHint == true", True),
        ("args.name.matches('^staging')", False),
        ("has(args.missing) && args.missing == 1", False),
        ("args.none == null", True),
        ("args.list.exists(x, x == 3)", True),
        ("args.list.all(x, x > 1)", False),
        ("size(args) > 100", False),
        ("person.email.endsWith('@acme.test')", True),
        ("person.email.upperAscii() == 'ANA@ACME.TEST'", True),
        ("request.time.getHours('Europe/Zurich') == 23", True),
        ("request.time.getDayOfWeek() == 1", True),
        ("upstream.auth_mode == 'shared' && tool.name.contains('delete')", True),
        ("true", True),
    ],
)
def test_what_a_condition_says(text: str, true: bool | None) -> None:
    if true is None:
        with pytest.raises(Refused, match="true or false"):
            condition(text)
    else:
        assert holds(text) is true


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("person.emial == 1", "line 1, column 7: undeclared reference to 'person.emial'; did you mean `person.email`"),
        ("true &&\n tool.nmae == 'x'", "line 2, column 6: undeclared reference to 'tool.nmae'; did you mean `tool."),
        ("reslt.ok == true", "undeclared reference to 'reslt.ok'; did you mean `result`?"),
        ("args.force ==", "line 1, column 14: Syntax error"),
        ("args.force = true", "line 1, column"),
        ("1 + 'a' == 2", "found no matching overload"),
        ("person.email == 1", "found no matching overload"),
        ("lower(person.email) == 'x'", "undeclared reference to 'lower'"),
        ("args.amount", "of type dyn: compare it"),
        ("person.email", "of type string: use it in a comparison"),
        ("", "line 1, column 1"),
        ("(" * 40 + "true" + ")" * 40, "recursion limit"),
        ("true" + " " * MAX_LENGTH, "at most 4,000 characters"),
    ],
)  # fmt: skip
def test_a_bad_condition_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        condition(text)
    assert says in caught.value.detail
    assert "<input>" not in caught.value.detail
    assert not re.search(r"\[[A-Z_]+\]$", caught.value.detail)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("args.missing == 1", "does not have"),
        ("args.deep.a.b == 1", "does not have"),
        ("args.name > 1", "unlike types"),
        ("args.amount / 0 == 1", "no answer"),
        ("args.list[7] == 1", ""),
        ("args.name.matches('(')", ""),
        ("args.force", ""),
    ],
)
def test_what_has_no_answer_says_why_and_quotes_nothing(text: str, says: str) -> None:
    if text == "args.force":
        text = "args.name == 'x' || args.canary_4711 == 1"
    with pytest.raises(NoAnswer) as caught:
        holds(text)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "prod-1" not in str(caught.value)


def test_a_loop_within_loops_ends_without_an_answer() -> None:
    many = list(range(3000))
    with pytest.raises(NoAnswer, match="steps"):
        holds("args.many.all(x, args.many.all(y, args.many.all(z, x + y + z >= 0)))", many=many)


def test_a_number_that_does_not_fit_and_a_broken_character_have_no_answer() -> None:
    for value in (2**70, -(2**70), "\ud800"):
        with pytest.raises(NoAnswer):
            holds("args.odd == 1", odd=value)


def test_a_regular_expression_that_would_blow_up_elsewhere_does_not() -> None:
    assert holds("!args.name.matches('(a+)+$')", name="a" * 20_000 + "!")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("args.force == true", {"force"}),
        ("args['force'] == true", {"force"}),
        ("args.a.b.c == 1 && has(args.z)", {"a", "z"}),
        ("person.email == 'args'", set()),
        ("args.l.exists(x, x.args == 1)", {"l"}),
        ("[1].exists(y, args.q == y)", {"q"}),
        ("{'a': args.m}.a == 1", {"m"}),
        ("args.x[args.y] == 1", {"x", "y"}),
        ("[args.a, args.b].size() == 2", {"a", "b"}),
        ("args.a.all(i, i.b.all(j, j > args.c))", {"a", "c"}),
        ("(args.f ? args.g : args.h) == 1", {"f", "g", "h"}),
        ("size(args) > 1", ALL),
        ("'k' in args", ALL),
        ("args == {}", ALL),
        ("args[person.email] == 1", ALL),
        ("args.exists(k, k == 'a')", ALL),
        ("[args].size() == 1", ALL),
    ],
)
def test_the_members_that_a_condition_reads(text: str, read: set[str]) -> None:
    assert Condition(text).members == read


@given(st.binary(max_size=60))
def test_what_is_no_syntax_tree_reads_everything(noise: bytes) -> None:
    assert members(noise, "args") == ALL


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_tree_never_reads_less(at: int, byte: int) -> None:
    whole = bytearray(condition("args.force == true && args.list.exists(x, x == 1)")._expression.serialize())
    whole[at % len(whole)] = byte
    found = members(bytes(whole), "args")  # it may read another name, where a name was hit; it never raises
    assert isinstance(found, frozenset)
