"""Cutting what a child writes into lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.upstreams.process_errors import ExitInfo, ProcessError
from callgate.upstreams.process_streams import Lines, Tail, visible


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(1, 9)))
def test_it_does_not_matter_how_the_bytes_are_cut(lines: list[bytes], sizes: list[int]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    whole = Lines(1000).feed(text)
    cut, parts = Lines(1000), []
    for size in [*sizes, len(text) or 1]:
        parts += cut.feed(text[:size])
        text = text[size:]
    assert parts == whole


def test_a_line_at_the_cap_passes_and_one_over_it_does_not() -> None:
    assert Lines(5).feed(b"12345\n") == [b"12345"]
    with pytest.raises(ProcessError):
        Lines(5).feed(b"123456\n")
    with pytest.raises(ProcessError):
        Lines(5).feed(b"123456")
    slow = Lines(5)
    with pytest.raises(ProcessError):
        [slow.feed(b"1") for _ in range(6)]


@given(st.lists(st.binary(max_size=300), max_size=60))
def test_the_tail_is_bounded_and_shows_nothing_that_a_terminal_obeys(parts: list[bytes]) -> None:
    tail = Tail(1000)
    for part in parts:
        tail.feed(part)
    assert tail._size <= 1000
    assert all(char == "\n" or (char.isprintable() or char == "\u00a0") for char in tail.text())


def test_what_is_hidden_is_made_visible() -> None:
    assert visible("a\x1b]0;x\x07\u202e\u200b\x9bß\t") == "a\\x1b]0;x\\x07\\u202e\\u200b\\x9bß "


def test_endings_are_told_in_a_sentence() -> None:
    assert str(ExitInfo(code=3)) == "The server's process ended with code 3."
    assert str(ExitInfo(signal=9)) == "The server's process was ended by signal 9."
    assert str(ExitInfo()) == "The server's process has ended."
