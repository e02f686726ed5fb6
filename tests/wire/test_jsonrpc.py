"""Envelopes over raw bytes: what is understood is exact, what is not is refused, nothing else is raised."""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.wire import jsonrpc

T = TypeVar("T")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "x"]),
    st.one_of(st.just("2.0"), JSON),
    max_size=6,
)
PIECES = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"null", b"1", b'"id"', b'"method"', b"\xff", b" "]
    ),
    max_size=30,
).map(b"".join)


def allowing(codes: str, work: Callable[[], T]) -> T | None:
    """What `work` gives, None for a refusal with one of these codes; anything else goes through."""
    try:
        return work()
    except Refused as refused:
        if refused.code not in codes.split():
            raise
        return None


@given(st.binary(max_size=50) | PIECES | MEMBERS.map(lambda value: json.dumps(value).encode()))
@example(b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"\xff":1}}')
@example(b'{"jsonrpc":"2.0","id":1e999,"method":"a"}')
@example(b'{"jsonrpc":"2.0","id":"\xff","method":"a"}')
@example(b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}')
@example(b"\xff")
def test_any_bytes_are_a_message_or_a_refusal(raw: bytes) -> None:
    message = allowing("parse_error invalid_request body_too_deep", lambda: jsonrpc.parse(raw))
    if message is None:
        return
    assert [message.is_request, message.is_notification, message.is_response].count(True) == 1
    for part in (message.params, message.result, message.error):
        for value in (allowing("invalid_params", functools.partial(jsonrpc.members, part)) or {}).values():
            jsonrpc.text(value)


@given(st.integers() | st.text(max_size=8), st.text(max_size=8), st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_a_request_comes_back_as_it_was_made(id_: int | str, method: str, params: dict[str, Any]) -> None:
    raw_id, raw = jsonrpc.encoded(id_), json.dumps(params).encode()
    message = jsonrpc.parse(jsonrpc.request(raw_id, method, raw))
    assert message.is_request
    assert (bytes(message.id), message.method, bytes(message.params)) == (raw_id, method, raw)


def test_each_kind_of_message_is_told_from_the_others() -> None:
    assert jsonrpc.parse(jsonrpc.notification("n")).is_notification
    assert bytes(jsonrpc.parse(jsonrpc.notification("n", b"[ ]")).params) == b"[ ]"
    answer = jsonrpc.parse(jsonrpc.result(b'"7"', b"null"))
    assert answer.is_response
    assert bytes(answer.result) == b"null"
    failed = jsonrpc.parse(jsonrpc.error(b"7", jsonrpc.error_value(-32601, "No.", {"x": 1})))
    assert failed.is_response
    assert json.loads(bytes(failed.error)) == {"code": -32601, "message": "No.", "data": {"x": 1}}
    assert json.loads(jsonrpc.error(b"", jsonrpc.error_value(1, "x"))) == {
        "jsonrpc": "2.0", "error": {"code": 1, "message": "x"},
    }  # fmt: skip


@pytest.mark.parametrize("id_", [b"7", b"-1", b"1.5", b"9007199254740993", b'"7"', b'""', b'"\\u0041"'])
def test_an_id_keeps_its_type_and_its_lexeme(id_: bytes) -> None:
    assert bytes(jsonrpc.parse(jsonrpc.request(id_, "ping")).id) == id_


@pytest.mark.parametrize(
    ("raw", "code", "why"),
    [
        (b"", "parse_error", "JSON"),
        (b"{", "parse_error", "JSON"),
        (b'{"jsonrpc":"2.0","id":1,"method":"a"} x', "parse_error", "JSON"),
        (b"[]", "invalid_request", "Batches"),
        (b' [{"jsonrpc":"2.0"}]', "invalid_request", "Batches"),
        (b"null", "invalid_request", "not a valid"),
        (b'"x"', "invalid_request", "not a valid"),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', "invalid_request", "not a valid"),
        (b'{"id":1,"method":"a"}', "invalid_request", "`jsonrpc`"),
        (b'{"jsonrpc":"1.0","id":1,"method":"a"}', "invalid_request", "`jsonrpc`"),
        (b'{"jsonrpc":"2.0","id":null,"method":"a"}', "invalid_request", "`id`"),
        (b'{"jsonrpc":"2.0","id":[1],"method":"a"}', "invalid_request", "`id`"),
        (b'{"jsonrpc":"2.0","id":true,"method":"a"}', "invalid_request", "`id`"),
        (b'{"jsonrpc":"2.0"}', "invalid_request", "`method`"),
        (b'{"jsonrpc":"2.0","id":1}', "invalid_request", "`method`"),
        (b'{"jsonrpc":"2.0","result":{}}', "invalid_request", "`method`"),
    ],
)
def test_what_is_no_single_message_is_refused_with_the_reason(raw: bytes, code: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        jsonrpc.parse(raw)
    assert caught.value.code == code


def nested(depth: int, inner: bytes = b"1") -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b"[" * (depth - 1) + inner + b"]" * (depth - 1) + b"}"


def test_nesting_is_counted_to_the_level() -> None:
    assert jsonrpc.parse(nested(128)).is_request
    with pytest.raises(Refused) as caught:
        jsonrpc.parse(nested(129))
    assert caught.value.code == "body_too_deep"


def test_brackets_in_strings_and_many_siblings_are_no_nesting() -> None:
    assert jsonrpc.parse(nested(3, b'"' + b"[" * 500 + b'\\"{{{"')).is_request
    assert jsonrpc.parse(nested(3, b",".join([b"{}"] * 500))).is_request


@pytest.mark.parametrize("unit", [b'\\"', b"\\", b'"\\', b"x"])
def test_a_string_without_an_end_costs_no_more_than_its_length(unit: bytes) -> None:
    # quadratic work on this would take hours: the test ends, or the suite's time-out tells
    body = b"[" * 100 + b"]" * 100 + b"[" * 100 + b'"' + unit * (2_000_000 // len(unit))
    with pytest.raises(Refused):
        jsonrpc.parse(body)


def test_a_million_brackets_are_refused() -> None:
    with pytest.raises(Refused) as caught:
        jsonrpc.parse(b"[" * 1_000_000)
    assert caught.value.code == "body_too_deep"
    with pytest.raises(Refused):
        jsonrpc.parse(b"[" * 100_000, max_depth=200_000)
    with pytest.raises(Refused):
        jsonrpc.members(b'{"a":' + b"[" * 100_000)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_members_keep_their_order_and_their_bytes(value: dict[str, Any]) -> None:
    raw = json.dumps(value).encode()
    found = jsonrpc.members(raw)
    assert list(found) == list(value)
    assert json.loads(jsonrpc.joined(found)) == value
    assert {key: bytes(each) for key, each in found.items()} == {
        key: json.dumps(each).encode() for key, each in value.items()
    }


def test_number_lexemes_survive_a_round_of_members() -> None:
    raw = b'{"a":9007199254740993,"b":1.0,"c":{"d": 1e2}}'
    assert jsonrpc.joined(jsonrpc.members(raw)) == raw
    assert jsonrpc.joined({"a": b"1.0", "b": msgspec.Raw(b"null")}) == b'{"a":1.0,"b":null}'


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"{", b'{"a"}', b'{"\xff":1}'])
def test_what_is_no_object_has_no_members(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        jsonrpc.members(raw)
    assert caught.value.code == "invalid_params"


def test_an_absent_value_has_no_members_and_no_text() -> None:
    assert jsonrpc.members(b"") == {}
    assert jsonrpc.text(b"") is None


@pytest.mark.parametrize("raw", [b"1", b"null", b'"\\ud800"', b'"\xff"', b'"', b"{}"])
def test_what_is_no_string_has_no_text(raw: bytes) -> None:
    assert jsonrpc.text(raw) is None
    assert jsonrpc.text(b'"\\u00e4"') == "ä"
