"""Server-sent events: what comes out does not depend on how the bytes were cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.wire.sse import COMMENT, SseEvent, SseParser, encode, one_line

MARK = b"\xef\xbb\xbf"
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from(
    [b"", b"", b"data: a", b"data:b", b"data", b"data:  c", b": note", b"event: ping", b"event:message", b"id: 7",
     b"id", b"id: a\0b", b"retry: 250", b"retry: soon", b"odd: x", "data: ä€😀".encode(), b"data: \xff", b"da"]
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.tuples(LINES, ENDS), max_size=14))
    return draw(st.sampled_from([b"", MARK])) + b"".join(line + end for line, end in lines) + draw(LINES)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[start:end] for start, end in itertools.pairwise(borders)]


def parsed(chunks: list[bytes], cap: int = 1 << 20) -> list[SseEvent]:
    parser = SseParser(cap)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def reference(raw: bytes) -> list[SseEvent]:
    """The events of a whole stream, by the letter of WHATWG HTML 9.2.6, but that ids and retries are told at once."""
    raw = raw.removeprefix(MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found = []
    for block in raw.split(b"\n\n")[:-1] if b"\n\n" in raw else []:
        event, data, id_, retry = "", [], None, None
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode("utf-8", "replace")
            elif name == b"id" and b"\0" not in value:
                id_ = value.decode("utf-8", "replace")
            elif name == b"retry" and value.isdigit():
                retry = int(value)
        if data or id_ is not None or retry is not None:
            found.append(SseEvent(event or "message", b"\n".join(data), id_, retry))
    return found


@given(streams(), st.lists(st.integers(0, 400), max_size=20))
def test_the_events_are_the_same_in_any_chunking(raw: bytes, places: list[int]) -> None:
    assert parsed(cut(raw, places)) == parsed([raw]) == parsed([raw[at : at + 1] for at in range(len(raw))])


@given(streams())
def test_the_events_are_those_of_the_specification(raw: bytes) -> None:
    assert parsed([raw]) == reference(raw)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_data_lines_are_joined_and_comments_left_out(end: bytes) -> None:
    raw = end.join([b": hello", b"event: x", b"data: 1", b": more", b"data: 2", b"id: 9", b"retry: 10", b"", b""])
    assert parsed([raw]) == [SseEvent("x", b"1\n2", "9", 10)]


def test_an_event_that_did_not_end_is_not_told() -> None:
    assert parsed([b"data: 1\n\ndata: 2\n"]) == [SseEvent("message", b"1")]


def test_an_event_name_alone_is_dropped() -> None:
    assert parsed([b"event: x\n\ndata: 1\n\n"]) == [SseEvent("message", b"1")]


def test_a_mark_in_the_middle_is_no_mark() -> None:
    assert parsed([b"data: 1\n\n" + MARK + b"data: 2\n\n"]) == [SseEvent("message", b"1")]


@pytest.mark.parametrize("raw", [b"data: " + b"x" * 200, b"data: x\n" * 200, b"data:\n" * 200, b": " + b"x" * 200])
def test_an_event_over_the_cap_is_refused_before_it_is_held(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        parsed([raw[at : at + 7] for at in range(0, len(raw), 7)], cap=100)
    assert caught.value.code == "upstream_too_large"


def test_the_cap_counts_one_event_not_the_stream() -> None:
    assert len(parsed([b"data: x\n\n" * 100], cap=100)) == 100


def test_an_open_line_can_be_taken_over() -> None:
    parser = SseParser()
    assert parser.open_line() == b""
    assert list(parser.feed(b"data: on")) == []
    assert list(parser.feed(b"e tw")) == []
    assert parser.open_line() == parser.open_line() == b"data: one tw"
    before = parser.has_data
    parser.drop_open_line()
    assert list(parser.feed(b"o\n\ndata: 3\nda")) == []
    assert (before, parser.has_data) == (False, True)
    assert list(parser.feed(b"ta: 4\n\n")) == [SseEvent("message", b"3\n4")]


@given(st.text(max_size=20))
def test_an_encoded_message_comes_back_as_it_was(text: str) -> None:
    message = text.encode("utf-8", "replace")
    assert parsed([COMMENT, encode(message)]) == [SseEvent("message", one_line(message))]


def test_line_breaks_between_json_tokens_become_blanks() -> None:
    assert one_line(b'{\r\n "a": 1\n}') == b'{   "a": 1 }'
    assert encode(b'{"a":1}') == b'event: message\ndata: {"a":1}\n\n'
