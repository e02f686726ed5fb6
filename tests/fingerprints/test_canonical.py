"""The canonical form and its hashes: what is the same keeps its hash, whatever differs changes it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.fingerprints.canonical import MAX_DEPTH, Uncanonical, canonical, fingerprint

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.from_regex(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,4})?(?:[eE][+-]?[0-9]{1,2})?", fullmatch=True)


class Number(str):
    """A number as it is written."""

    __slots__ = ()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | TEXT | NUMBERS.map(Number),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
SPACES = st.text(" \t\r\n", max_size=2)


def spelled(draw: st.DrawFn, value: Any) -> str:
    """One of the many ways to write a JSON value."""

    def gap() -> str:
        return draw(SPACES)

    def member(key: str, sub: Any) -> str:
        return f"{gap()}{spelled_string(draw, key)}{gap()}:{gap()}{spelled(draw, sub)}{gap()}"

    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return spelled_string(draw, value)
    if isinstance(value, dict):
        inner = [member(key, sub) for key, sub in draw(st.permutations(list(value.items())))]
        return "{" + (",".join(inner) or gap()) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{gap()}{spelled(draw, sub)}{gap()}" for sub in value) or gap()) + "]"
    return json.dumps(value)


def spelled_string(draw: st.DrawFn, text: str) -> str:
    return '"' + "".join(spelled_char(draw, char) for char in text) + '"'


def spelled_char(draw: st.DrawFn, char: str) -> str:
    short = json.dumps(char)[1:-1]
    ways = [short]
    if short == char:
        units = char.encode("utf-16-be")
        ways.append("".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2)))
    ways.append(json.dumps(char, ensure_ascii=False)[1:-1])
    if char == "/":
        ways.append("\\/")
    return draw(st.sampled_from(ways))


@st.composite
def twice_spelled(draw: st.DrawFn) -> tuple[Any, bytes, bytes]:
    value = draw(VALUES)
    return value, spelled(draw, value).encode(), spelled(draw, value).encode()


@given(twice_spelled())
def test_member_order_white_space_and_escapes_do_not_matter(case: tuple[Any, bytes, bytes]) -> None:
    _, one, other = case
    assert canonical(one) == canonical(other)


@given(twice_spelled())
def test_the_canonical_form_is_its_own_canonical_form(case: tuple[Any, bytes, bytes]) -> None:
    once = canonical(case[1])
    assert canonical(once) == once


@given(twice_spelled())
def test_the_canonical_form_means_the_same_as_the_text(case: tuple[Any, bytes, bytes]) -> None:
    value, raw, _ = case
    assert json.loads(canonical(raw), parse_int=Number, parse_float=Number) == value


@given(twice_spelled(), twice_spelled())
def test_hashes_are_equal_exactly_when_the_canonical_forms_are(
    one: tuple[Any, bytes, bytes], other: tuple[Any, bytes, bytes]
) -> None:
    same = canonical(one[1]) == canonical(other[1])
    assert (fingerprint("tool", "x", one[1]).full == fingerprint("tool", "x", other[1]).full) is same


@given(st.binary(max_size=60))
def test_any_bytes_get_a_fingerprint_and_what_is_no_json_is_quarantined(raw: bytes) -> None:
    observed = fingerprint("tool", "x", raw)
    assert len(observed.full) == len(observed.core) == 64
    try:
        json.loads(raw.decode("utf-8"))
    except ValueError:
        assert observed.quarantined


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"9007199254740993", b"9007199254740993"),
        (b"[1.0, 1, 1e0, -0, 0.10]", b"[1.0,1,1e0,-0,0.10]"),
        (b'{"b": null, "a": [], "c": {}}', b'{"a":[],"b":null,"c":{}}'),
        (b' "\\u0041\\/\\u007f" ', b'"A/\x7f"'),
        (b'"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\"', b'"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\"'),
        ('{"€": 1, "\\r": 2, "😀": 3, "\\ufb33": 4, "1": 5}'.encode(),
         '{"\\r":2,"1":5,"€":1,"😀":3,"\ufb33":4}'.encode()),
        (b'"\\ud83d\\ude00"', "\"😀\"".encode()),
        (b"true", b"true"),
    ],
)  # fmt: skip
def test_known_texts_have_the_form_of_rfc_8785_but_for_numbers(raw: bytes, expected: bytes) -> None:
    assert canonical(raw) == expected


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a": 1, "a": 1}', "twice"),
        (b'{"a": 1, "\\u0061": 2}', "twice"),
        (b'[{"x": {"b": 1, "b": 2}}]', "twice"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\udc00\\ud800"', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"01", "more text"),
        (b"1 2", "more text"),
        (b"+1", "not valid JSON"),
        (b".5", "not valid JSON"),
        (b"NaN", "not valid JSON"),
        (b"[1,]", "not valid JSON"),
        (b"[1", "not valid JSON"),
        (b"[1}", "not valid JSON"),
        (b'{"a"}', "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"{1:2}", "not valid JSON"),
        (b'{"a":1]', "not valid JSON"),
        (b'"a\nb"', "not valid JSON"),
        (b'"\\x"', "not valid JSON"),
        (b'"open', "not valid JSON"),
        (b"\x0b1", "not valid JSON"),
        (b"[" * 300 + b"]" * 300, "deeper"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "deeper"),
    ],
)
def test_what_cannot_be_read_for_certain_has_no_form_and_is_quarantined(raw: bytes, why: str) -> None:
    with pytest.raises(Uncanonical, match=why):
        canonical(raw)
    observed = fingerprint("tool", "x", raw)
    assert why in observed.quarantined
    assert observed.core == observed.full


def test_quarantined_bytes_are_hashed_as_they_are() -> None:
    one, other = fingerprint("tool", "x", b'{"a":1,"a":2}'), fingerprint("tool", "x", b'{"a":1, "a":2}')
    assert one.full != other.full


def test_nesting_up_to_the_limit_is_read_and_a_million_brackets_cost_no_stack() -> None:
    deep = b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH
    assert canonical(deep) == deep
    assert fingerprint("tool", "x", b"[" * 1_000_000).quarantined


def test_the_core_hash_covers_what_a_call_depends_on_and_the_full_hash_everything() -> None:
    base = {"name": "read", "description": "Reads.", "inputSchema": {"type": "object"}}
    plain = fingerprint("tool", "read", json.dumps(base).encode())
    titled = fingerprint("tool", "read", json.dumps({**base, "title": "Read", "_meta": None}).encode())
    changed = fingerprint("tool", "read", json.dumps({**base, "description": "Reads!"}).encode())
    assert plain.core == titled.core
    assert plain.full != titled.full
    assert plain.core != changed.core


@pytest.mark.parametrize(
    ("kind", "member"), [("prompt", "arguments"), ("resource", "uri"), ("template", "uriTemplate"), ("tool", "name")]
)
def test_each_kind_has_members_of_its_own_in_the_core(kind: str, member: str) -> None:
    one = fingerprint(kind, "x", json.dumps({member: "x"}).encode())
    other = fingerprint(kind, "x", json.dumps({member: "y"}).encode())
    assert one.core != other.core


def test_an_absent_member_is_not_a_null_one() -> None:
    assert (
        fingerprint("tool", "x", b'{"name":"x"}').core
        != fingerprint("tool", "x", b'{"name":"x","description":null}').core
    )


def test_instructions_are_one_text_with_one_hash() -> None:
    observed = fingerprint("instructions", "", b'"Be kind."')
    assert observed.core == observed.full
    assert not observed.quarantined


def test_an_unknown_kind_has_an_empty_core_but_a_full_hash() -> None:
    observed = fingerprint("future", "x", b'{"name":"x"}')
    assert observed.core != observed.full
