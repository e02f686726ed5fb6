"""Sealed tokens: they open for their purpose and key file alone, and only as they were given out."""

from hypothesis import given
from hypothesis import strategies as st

from callgate.credentials.sealer import Sealer

ONE, TWO = b"1" * 32, b"2" * 32
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.binary(max_size=300))
def test_what_is_sealed_opens_and_is_safe_in_a_url(data: bytes) -> None:
    sealer = Sealer([ONE], "session")
    text = sealer.seal(data)
    assert sealer.open(text) == data
    assert set(text) <= set(ALPHABET)
    assert text != sealer.seal(data)


TOKEN = Sealer([ONE], "session").seal(b"payload")


@given(st.data())
def test_no_other_spelling_of_a_token_opens(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "=+/ \n\u00e9").filter(lambda char: char != TOKEN[place]))
    assert Sealer([ONE], "session").open(TOKEN[:place] + other + TOKEN[place + 1 :]) is None


@given(st.text(max_size=200))
def test_nonsense_opens_as_none(text: str) -> None:
    assert Sealer([ONE], "session").open(text) is None


def test_another_purpose_or_key_file_opens_nothing() -> None:
    text = Sealer([ONE], "session").seal(b"x")
    assert Sealer([ONE], "cursor").open(text) is None
    assert Sealer([TWO], "session").open(text) is None
    for odd in (text[:-1], text + "A", text + "=", "=" + text, ""):
        assert Sealer([ONE], "session").open(odd) is None


def test_a_new_key_at_the_front_seals_and_the_old_one_still_opens() -> None:
    old = Sealer([ONE], "session").seal(b"old")
    both = Sealer([TWO, ONE], "session")
    assert both.open(old) == b"old"
    assert Sealer([TWO], "session").open(both.seal(b"new")) == b"new"
