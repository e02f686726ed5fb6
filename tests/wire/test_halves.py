"""Halves of surrogate pairs in an upstream's texts: kept as the bytes they are, and never in what decides anything."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.wire import halves, jsonrpc

HALF = b'"cut \\ud83d"'
TEXTS = st.text(st.sampled_from('a"\\,:{}[] \ud83d\ude00\udc00é😀'), max_size=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def raw(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent).encode("ascii")


@given(st.dictionaries(st.text('ab":,{}', max_size=4), VALUES, max_size=4), st.sampled_from([None, 1]))
def test_members_with_any_text_are_found_with_their_bytes(value: dict[str, Any], indent: int | None) -> None:
    value = json.loads(raw(value))  # two halves side by side are one character
    found = jsonrpc.members(raw(value, indent))
    assert {key: json.loads(bytes(each)) for key, each in found.items()} == value
    if indent is None:
        assert {key: bytes(each) for key, each in found.items()} == {key: raw(each) for key, each in value.items()}


@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 1]))
def test_elements_with_any_text_are_found_with_their_bytes(value: list[Any], indent: int | None) -> None:
    found = [json.loads(bytes(each)) for each in jsonrpc.elements(raw(value, indent))]
    assert found == json.loads(raw(value))


@given(VALUES)
def test_masking_keeps_the_length_and_takes_every_surrogate_away(value: object) -> None:
    masked = halves.masked(raw(value))
    assert len(masked) == len(raw(value))
    json.loads(masked).__repr__().encode("utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'"\\ud83d\\ude00"', b'"\\u0041\\u0041"'),
        (b'"\\\\ud83d"', b'"\\\\ud83d"'),
        (b'"\\uD7ff\\"\\uDFFF"', b'"\\uD7ff\\"\\u0041"'),
    ],
)
def test_only_real_escapes_of_surrogates_are_masked(text: bytes, expected: bytes) -> None:
    assert halves.masked(text) == expected


def test_an_upstreams_answer_with_a_half_is_read_and_a_clients_request_with_one_is_not() -> None:
    body = b'{"jsonrpc":"2.0", "id" : 7, "result": {"content":[{"text":' + HALF + b"}]}}"
    message = jsonrpc.parse(body, lenient=True)
    assert message.is_response
    assert (bytes(message.id), bytes(message.result)) == (b"7", b'{"content":[{"text":' + HALF + b"}]}")
    with pytest.raises(Refused) as caught:
        jsonrpc.parse(body)
    assert caught.value.code == "parse_error"


def test_bytes_that_are_no_utf8_pass_in_an_upstreams_values_alone() -> None:
    body = b'{"jsonrpc":"2.0","id":7,"result":{"a":"caf\xe9"}}'
    assert bytes(jsonrpc.parse(body, lenient=True).result) == b'{"a":"caf\xe9"}'
    with pytest.raises(Refused):
        jsonrpc.parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":"\\ud83d","result":{}}',
        b'{"jsonrpc":"2.0","id":7,"method":"a\\ud83d","params":{}}',
        b'{"jsonrpc":"2.0\\ud83d","id":7,"result":{}}',
        b'{"jsonrpc":"2.0","id":7,"result":{"a":"\\ud83d"}',
        b'{"jsonrpc":"2.0","id":7,"result":{"a":"\\ud83d"}} x',
        b'{"jsonrpc":"2.0","id":7,"result":{"a":"\\ud83d\\x"}}',
        b'{"jsonrpc":"2.0","id":7,"\\ud83d":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":7,"method":1,"params":"\\ud83d"}',
        b'["\\ud83d"]',
        b'"\\ud83d"',
        b"{",
    ],
)
def test_a_half_in_what_decides_something_or_beside_another_fault_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        jsonrpc.parse(body, lenient=True)


def test_a_request_and_a_notification_of_an_upstream_may_hold_halves_in_their_params() -> None:
    asked = jsonrpc.parse(
        b'{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":' + HALF + b"}", lenient=True
    )
    assert (asked.is_request, asked.method, bytes(asked.id), bytes(asked.params)) == (
        True, "elicitation/create", b'"q"', HALF,
    )  # fmt: skip
    told = jsonrpc.parse(b'{"jsonrpc":"2.0","method":"n","params":' + HALF + b"}", lenient=True)
    assert told.is_notification


def test_an_unpaired_half_in_the_last_place_of_a_list_is_found() -> None:
    assert [bytes(each) for each in jsonrpc.elements(b"[ " + HALF + b" ]")] == [HALF]
    assert [bytes(each) for each in jsonrpc.elements(b"[]")] == []


@pytest.mark.parametrize("text", [b"{}", b"1", b"[", b'["\\ud83d"', b'{"a":"\\ud83d"}', b"[" * 100_000])
def test_what_is_no_array_has_no_elements(text: bytes) -> None:
    with pytest.raises(Refused) as caught:
        jsonrpc.elements(text)
    assert caught.value.code == "invalid_params"
