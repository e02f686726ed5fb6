"""Public names: short enough and plain enough for every client, and never shared."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.wire.names import MAX_LENGTH, candidates, folded, plain

SLUGS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
NAMES = st.text(max_size=140) | st.text("ab._/-:", max_size=140)


@given(SLUGS, NAMES)
def test_every_candidate_is_a_name_that_clients_pass_on(upstream: str, name: str) -> None:
    found = list(candidates(upstream, name))
    assert found
    assert all(plain(each) for each in found)
    assert list(candidates(upstream, name)) == found


@given(SLUGS, NAMES, SLUGS, NAMES)
def test_two_tools_can_always_be_told_apart(upstream: str, name: str, other_upstream: str, other: str) -> None:
    if (upstream, name) == (other_upstream, other):
        return
    assert list(candidates(upstream, name))[-1] != list(candidates(other_upstream, other))[-1]


@given(SLUGS, st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True))
def test_a_plain_short_name_stays_as_it_is(upstream: str, name: str) -> None:
    assert next(candidates(upstream, name)) == f"{upstream}__{name}"


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "ä", "a b", "x" * 128, "x" * 63])
def test_an_odd_or_long_name_gets_a_suffix_at_once(name: str) -> None:
    first = next(candidates("files", name))
    assert first.startswith("files__")
    assert len(first) <= MAX_LENGTH
    assert first != f"files__{name}"


def test_names_that_clients_would_make_equal_differ() -> None:
    names = ["github/create", "github:create", "github_create", "GITHUB_CREATE"]
    assert len({next(candidates("gh", name)) for name in names}) == 4
    assert folded("gh__GITHUB_CREATE") == folded("gh__github_create")


def test_suffixes_grow_when_a_name_is_taken() -> None:
    found = list(itertools.islice(candidates("u", "a.b"), 4))
    assert len(set(found)) == 4
    assert [len(each) for each in found] == [15, 19, 23, 27]


@pytest.mark.parametrize(
    ("name", "expected"), [("", False), ("a", True), ("a" * 64, True), ("a" * 65, False), ("a.b", False)]
)
def test_what_plain_means(name: str, expected: bool) -> None:
    assert plain(name) is expected
