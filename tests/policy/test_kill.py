"""Kill switches: what they are rules for, and that no two of them share an id."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.kill import is_switch, switch
from callgate.policy.model import check

NAMES = st.sampled_from(["", "bot", "everything", "a-b", "a_b", "a-b@x.org", "a.b@x.org", "x" * 32, "x" * 31 + "y"])
WHAT = st.tuples(NAMES, NAMES, NAMES)


@given(WHAT, WHAT)
def test_each_switch_has_an_id_of_its_own(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    first, second = switch(*one, reason="r"), switch(*other, reason="r")
    assert (first.id == second.id) is (one == other)
    for rule in (first, second):
        assert is_switch(check(rule))
        assert re.fullmatch(r"kill-[a-z0-9-]{1,59}", rule.id)


@pytest.mark.parametrize("names", [("bot", "", ""), ("", "bot", ""), ("", "", "bot@x.org"), ("a", "b", "c@x.org")])
def test_a_switch_matches_just_what_it_names(names: tuple[str, str, str]) -> None:
    match = switch(*names, reason="r").match
    assert (match.upstream, match.agent, match.person) == tuple((name,) if name else () for name in names)
