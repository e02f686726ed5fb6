"""Reading an answer: the same events come out however the message is laid out and its bytes are cut."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.upstreams import answer
from callgate.upstreams.answer import EventStream, JsonBody, MessageReader
from callgate.upstreams.exchange import Answered, Ended, Event, Piece
from callgate.wire import jsonrpc

OWN = b"7"
SMALL = 96  # stands in for the 256 KB from which a result is streamed

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=16,
)
RESULTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=5)
CUTS = st.lists(st.integers(0, 4000), max_size=12)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer, "STREAM_FROM", SMALL)
        yield


class Seen:
    """What a reader tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.others: list[bytes] = []
        self.reader = MessageReader(OWN, self.events.append, self._other)

    def _other(self, message: jsonrpc.Message, raw: bytes) -> None:
        assert not message.is_response
        self.others.append(raw)

    @property
    def value(self) -> bytes:
        """The result, whole or in pieces; checks that it is the last event."""
        *pieces, end = self.events
        if isinstance(end, Ended):
            assert all(isinstance(piece, Piece) for piece in pieces)
            return b"".join(piece.data for piece in pieces if isinstance(piece, Piece))
        assert isinstance(end, Answered)
        assert not pieces
        return end.raw


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[start:end] for start, end in itertools.pairwise(borders)]


def read_json(chunks: list[bytes]) -> Seen:
    seen = Seen()
    body = JsonBody(seen.reader)
    for chunk in chunks:
        body.feed(chunk)
    body.finish()
    return seen


def read_events(chunks: list[bytes]) -> Seen:
    seen = Seen()
    stream = EventStream(seen.reader, 1 << 20)
    for chunk in chunks:
        stream.feed(chunk)
    return seen


@st.composite
def layouts(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A value, and a response that holds it: members in any order, in any spacing."""
    value = json.dumps(
        draw(RESULTS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1]))
    ).encode()
    gap = draw(st.sampled_from([b"", b" ", b"\n  "]))
    members = [b'"jsonrpc"%b:"2.0"' % gap, b'"id":%b%b' % (gap, OWN), b'"result"%b:%b%b' % (gap, gap, value)]
    if draw(st.booleans()):
        members.append(b'"extra":"a}b\\"c,"')
    ordered = draw(st.permutations(members))
    return value, gap + b"{" + gap + (gap + b"," + gap).join(ordered) + gap + b"}" + gap


@given(layouts(), CUTS)
def test_a_json_body_gives_its_result_unchanged(case: tuple[bytes, bytes], places: list[int]) -> None:
    value, raw = case
    assert read_json(cut(raw, places)).value == value
    assert read_json([raw[at : at + 1] for at in range(len(raw))]).value == value


@given(
    layouts(),
    CUTS,
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
    st.sampled_from([b"data:", b"data: "]),
    st.lists(st.sampled_from([b": note", b"event: message", b"id: 9", b"retry: 5"]), max_size=4),
    st.booleans(),
)
def test_an_event_stream_gives_its_result_unchanged(
    case: tuple[bytes, bytes], places: list[int], end: bytes, prefix: bytes, fields: list[bytes], mark: bool
) -> None:
    value, raw = case
    lines = [*fields, *(prefix + line for line in raw.split(b"\n")), b"", b""]
    notice = end.join([prefix + jsonrpc.notification("notifications/progress", b"{}"), b"", b""])
    wire = (b"\xef\xbb\xbf" if mark else b"") + notice + end.join(lines)
    for chunks in (cut(wire, places), [wire[at : at + 1] for at in range(len(wire))]):
        seen = read_events(chunks)
        assert json.loads(seen.value) == json.loads(value)
        if b"\n" not in raw:
            assert seen.value == value
        assert seen.others == [jsonrpc.notification("notifications/progress", b"{}")]


LONG = b'{"content":[{"type":"text","text":"' + b"x" * 300 + b'"}]}'


def response(value: bytes = LONG, own: bytes = OWN) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (own, value)


def test_a_long_result_comes_in_pieces_and_a_short_one_whole() -> None:
    assert isinstance(read_json([response()]).events[-1], Ended)
    assert read_json([response(b'{"a":1}')]).events == [Answered("result", b'{"a":1}')]


def test_an_error_comes_whole_however_long() -> None:
    error = b'{"code":1,"message":"%b"}' % (b"m" * 500)
    raw = b'{"jsonrpc":"2.0","id":7,"error":%b}' % error
    assert read_json(cut(raw, [10, 200, 300])).events == [Answered("error", error)]
    assert read_events([b"data: " + raw + b"\n\n"]).events == [Answered("error", error)]


def test_pieces_are_told_as_they_come_and_not_kept() -> None:
    seen = Seen()
    body = JsonBody(seen.reader)
    head, tail = b'{"jsonrpc":"2.0","id":7,"result":{"text":"', b'"}}'
    body.feed(head)
    for number in range(50):
        body.feed(b"y" * 100)
        told = sum(len(event.data) for event in seen.events if isinstance(event, Piece))
        assert told >= (number + 1) * 100 - SMALL
    body.feed(tail)
    body.finish()
    assert len(seen.value) == len(b'{"text":"') + 5000 + len(b'"}')


@pytest.mark.parametrize(
    "raw",
    [
        response(own=b"8"),
        response(own=b'"7"'),
        response(own=b"7.0"),
        b'{"jsonrpc":"2.0","result":%b,"id":8}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b,"id":8}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b,"result":{}}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b,"error":{"code":1}}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b,"method":"x"}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b}}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b} {"jsonrpc":"2.0","id":1,"result":{}}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b]' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":{"a":[}%b}' % LONG,
        b'{"jsonrpc":"2.0","id":7,"result":%b' % LONG[:-1],
        b"[" + response() + b"]",
        b"x" * 200,
        b"",
        b"{}",
        jsonrpc.notification("notifications/message", LONG),
    ],
)
def test_what_is_no_answer_to_this_request_is_refused_in_every_framing(raw: bytes) -> None:
    for chunks in (cut(raw, []), cut(raw, [5, 50, 150, 350]), [raw[at : at + 1] for at in range(len(raw))]):
        with pytest.raises(Refused) as caught:
            read_json(chunks)
        assert caught.value.code == "upstream_invalid"
        assert b"xx" not in caught.value.sentence.encode()


@settings(max_examples=300)
@given(st.binary(max_size=80), st.integers(0, 400), CUTS)
@example(b'},"id":8,"x":{"y":1', 60, [])
@example(b'"},"id":8,"result":{"y":"', 60, [])
def test_no_bytes_inside_a_result_can_make_it_another_message(junk: bytes, at: int, places: list[int]) -> None:
    """Smuggling: whatever an upstream writes, what is passed on as a value closes nothing around it."""
    raw = response()
    raw = raw[: at % len(raw)] + junk + raw[at % len(raw) :]
    try:
        value = read_json(cut(raw, places)).value
    except (Refused, AssertionError):
        return
    wrapped = b'{"jsonrpc":"2.0","id":"client","result":' + value + b"}"
    try:
        pairs = json.loads(wrapped.decode("utf-8", "replace"), object_pairs_hook=list)
    except ValueError:
        return  # no JSON at all: a client drops it
    assert [key for key, _ in pairs] == ["jsonrpc", "id", "result"]


def test_a_stream_remembers_where_to_go_on() -> None:
    seen = Seen()
    stream = EventStream(seen.reader, 1 << 20)
    stream.feed(b"id: 3\nretry: 50\ndata:\n\n")
    assert (stream.last_id, stream.retry_ms) == ("3", 50)
    stream.feed(b"data: " + response()[:200])
    stream.restarted(1 << 20)
    stream.feed(b"id: 4\ndata: " + response(b"{}") + b"\n\n")
    assert stream.last_id == "4"
    assert seen.events[-1] == Answered("result", b"{}")


def test_an_id_behind_a_large_event_counts_too() -> None:
    seen = Seen()
    stream = EventStream(seen.reader, 1 << 20)
    stream.feed(b"data: " + response())
    stream.feed(b"\r\nid: 5\r")
    stream.feed(b"\n\r\ndata: {}\r\n")
    assert stream.last_id == "5"
    assert seen.value == LONG


def test_a_line_without_end_beside_a_large_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "_MAX_FIELD", 100)
    stream = EventStream(Seen().reader, 1 << 20)
    stream.feed(b"data: " + response())
    stream.feed(b"\n")
    with pytest.raises(Refused, match="too long"):
        stream.feed(b": " + b"x" * 200)


def test_a_large_event_may_go_on_in_further_data_lines() -> None:
    value = b'{"a":"' + b"x" * 300 + b'",\n"b":\n1}'
    wire = b"data: " + response(value).replace(b"\n", b"\ndata: ") + b"\n\n"
    for places in ([], [310], [200, 310, 330, 335]):
        assert json.loads(read_events(cut(wire, places)).value) == json.loads(value)


def test_other_events_and_comments_say_nothing_however_long() -> None:
    seen = read_events([b"event: ping\ndata: x\n\n", b": " + b"c" * 500 + b"\n\n", b"data: " + response() + b"\n\n"])
    assert seen.value == LONG


def test_an_event_that_did_not_end_answers_nothing() -> None:
    assert read_events([b"data: " + response(b"{}") + b"\n"]).events == []
    assert not any(isinstance(event, Ended) for event in read_events([b"data: " + response() + b"\n"]).events)
