"""A wrapped URI names its upstream, and gives back exactly what was wrapped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.wire.uris import unwrapped, wrapped

URIS = st.text(min_size=1, max_size=20) | st.sampled_from(["ui://", "gw+", "ui://gw+a/", "gw+a:"]).flatmap(
    lambda start: st.text(max_size=10).map(lambda rest: start + rest)
)


@given(URIS.filter(lambda uri: uri != "ui://"))
def test_what_was_wrapped_comes_back(uri: str) -> None:
    assert unwrapped(wrapped("files", uri)) == ("files", uri)


@given(URIS)
def test_apps_keep_the_scheme_that_their_hosts_ask_for(uri: str) -> None:
    assert wrapped("files", uri).startswith("ui://") is uri.startswith("ui://")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("file:///notes", None),
        ("ui://view", None),
        ("", None),
        ("gw+files:ui://view", ("files", "ui://view")),
        ("gw+files", ("files", "")),
        ("ui://gw+files/view/a", ("files", "ui://view/a")),
        ("ui://gw+files", ("files", "")),
        ("ui://gw+files/", ("files", "")),
    ],
)
def test_only_the_form_says_what_is_wrapped(uri: str, found: object) -> None:
    assert unwrapped(uri) == found
