"""Large answers as they stream in: whatever the chunks, the pieces are exactly the value of `result`."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.upstreams.nesting import Nesting
from callgate.upstreams.results import ResultStream

_TEXTS = st.text(st.sampled_from('ab"\\{}[]:,\n é\U0001f600\x00'), max_size=12)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
_JSON: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4), max_leaves=20
)
_VALUES = st.lists(_JSON, max_size=4) | st.dictionaries(_TEXTS, _JSON, max_size=4)
_EXTRAS = st.dictionaries(st.sampled_from(["x", "y", "_", "jsonrpc"]), _SCALARS, max_size=3)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def stream(own_id: bytes, first: bytes, rest: list[bytes]) -> bytes | None:
    reader = ResultStream(own_id)
    if not reader.begin(first):
        return None
    pieces = [reader.feed(b""), *(reader.feed(chunk) for chunk in rest)]
    pieces.append(reader.finish())
    return b"".join(pieces)


@settings(max_examples=400, deadline=None)
@given(
    value=_VALUES,
    before=_EXTRAS,
    after=_EXTRAS,
    id_first=st.booleans(),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_the_pieces_of_any_response_in_any_chunks_are_the_result(
    value: Any,
    before: dict[str, Any],
    after: dict[str, Any],
    id_first: bool,
    ascii_only: bool,
    indent: int | None,
    cuts: list[int],
) -> None:
    members = {**before, **({"id": 7} if id_first else {}), "result": "@", **({} if id_first else {"id": 7})}
    members.update({key: extra for key, extra in after.items() if key not in members})
    text = json.dumps(members, ensure_ascii=ascii_only, indent=indent)
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    head, _, tail = text.partition('"@"')
    message = head.encode() + raw + tail.encode()
    first = len(head.encode()) + 1
    rest = chunks(message[first:], cuts)
    # a result that is no object is no MCP result: it is read whole, and judged
    assert stream(b"7", message[:first], rest) == (raw if isinstance(value, dict) else None)


@settings(max_examples=300, deadline=None)
@given(value=_VALUES, cuts=st.lists(st.integers(0, 10_000), max_size=12), tail=st.binary(max_size=20))
def test_the_end_of_a_value_is_found_in_any_chunks(value: Any, cuts: list[int], tail: bytes) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    nesting, seen = Nesting(), 0
    for chunk in chunks(raw + tail, cuts):
        end = nesting.feed(chunk)
        if end >= 0:
            assert seen + end == len(raw)
            return
        seen += len(chunk)
    pytest.fail("the end was not found")


def test_a_byte_at_a_time_is_the_same() -> None:
    raw = json.dumps({"a": ['\\" ]}', "\\\\", {"b": "\\"}], "c": "}"}).encode()
    message = b'{"jsonrpc":"2.0","id":1,"result":' + raw + b"}"
    first = message.index(raw) + 1
    assert stream(b"1", message[:first], [bytes([byte]) for byte in message[first:]]) == raw


@pytest.mark.parametrize(
    "message",
    [
        b'{"result":{"a":1},"id":2}',
        b'{"result":{"a":1},"id":"1"}',
        b'{"result":{"a":1}}',
        b'{"result":{"a":1},"id":1,"result":{"b":2}}',
        b'{"result":{"a":1},"id":1,"error":{"code":1}}',
        b'{"result":{"a":1},"id":1,"method":"x"}',
        b'{"result":{"a":1},"id":1}{"more":1}',
        b'{"result":{"a":1},"id":1',
        b'{"result":{"a":1]},"id":1}',
        b'{"result":{"a":[1,2},"id":1}',
        b'{"id":1,"result":{"a":1',
        b'{"id":1,"result":{"a":1},',
        b'{"id":1,"result":{"a":1},"x":"' + b"y" * 20_000 + b'"}',
        b'{"id":3,"result":{"a":1}}',
    ],
)
def test_what_is_no_answer_to_our_request_is_refused(message: bytes) -> None:
    with pytest.raises(Refused) as caught:
        stream(b"1", message, [])
    assert caught.value.code == "upstream_invalid"


def test_members_after_the_result_cannot_slip_into_it() -> None:
    """A value followed by more members must not be cut at the last brace: they would travel to the client as ours."""
    raw = b'{"a":1}'
    message = b'{"jsonrpc":"2.0","result":' + raw + b',"x":{"y":[1,"}"]},"id":1}'
    assert stream(b"1", message, []) == raw


@pytest.mark.parametrize(
    "head",
    [
        b'{"id":1,"result":"text',
        b'{"id":1,"result":[{}',
        b'{"id":1,"x":{},"result":{',
        b'{"id":1,"error":{',
        b'{"method":"x","params":{',
        b"[",
        b"<html>",
    ],
)
def test_other_shapes_are_left_to_be_read_whole(head: bytes) -> None:
    assert not ResultStream(b"1").begin(head)


@pytest.mark.parametrize("opener", [b"[", b'{"a":'])
def test_nesting_without_end_is_refused(opener: bytes) -> None:
    nesting = Nesting()
    with pytest.raises(Refused, match="nested deeper"):
        nesting.feed(opener * 600)


def special_from(value: str, cuts: list[int]) -> int | None:
    """How many bytes of the value were handed on before it was known to be special; None when it never was."""
    reader = ResultStream(b"7")
    assert reader.begin(b'{"id":7,"result":' + value[:1].encode())
    seen = 0
    for chunk in (b"", *chunks(value[1:].encode() + b"}", cuts)):
        size = len(reader.feed(chunk))
        if reader.special:
            return seen
        seen += size
    reader.finish()
    return seen if reader.special else None


_FILLERS = st.lists(
    st.sampled_from(
        [
            '"a":[{"requestState":"x"},"\\"requestState\\": "]',
            '"b":"inputRequests\\":"',
            '"c":{"resultType":"task","d":["e"]}',
            '"f":"' + "g" * 100 + '"',
        ]
    ),
    max_size=5,
)
_CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(
    before=_FILLERS, after=_FILLERS, cuts=_CUTS,
    telling=st.sampled_from(
        ['"requestState":"s"', '"inputRequests" : {}', '"resultType":"input_required"', '"resultType" : "task"']
    ),
)  # fmt: skip
def test_what_is_no_plain_result_is_noticed_before_the_member_that_says_so_is_handed_on(
    before: list[str], after: list[str], cuts: list[int], telling: str
) -> None:
    value = "{" + ",".join([*before, telling, *after]) + "}"
    found = special_from(value, cuts)
    assert found is not None
    assert found <= len("{" + ",".join([*before, ""]).removeprefix(","))


@given(parts=_FILLERS, cuts=_CUTS)
def test_a_plain_result_stays_plain_whatever_stands_deeper_in_it(parts: list[str], cuts: list[int]) -> None:
    assert special_from("{" + ",".join(parts) + "}", cuts) is None
    assert special_from("{" + ",".join(['"resultType":"complete"', *parts]) + "}", cuts) is None
