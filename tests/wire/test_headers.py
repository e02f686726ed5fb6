"""The `Mcp-*` headers: a value survives its coding, and any difference from the body is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.errors import Refused
from callgate.wire import headers, jsonrpc

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ODD = st.sampled_from(["=?base64?", "?=", "=?base64?eA==?=", " a", "a ", "\r\n", "\t", "ä", "\x7f"])


@given(st.one_of(TEXT, ODD, st.lists(TEXT | ODD, max_size=3).map("".join)))
def test_any_value_survives_as_one_line_of_printable_ascii(value: str) -> None:
    coded = headers.encode_value(value)
    assert all(" " <= char <= "~" for char in coded)
    assert coded == coded.strip()
    assert headers.decode_value(coded) == value


def test_plain_values_go_as_they_are() -> None:
    assert headers.encode_value("files__read_file") == "files__read_file"
    assert headers.encode_value("") == ""
    assert headers.encode_value("Zürich") == "=?base64?WsO8cmljaA==?="


@pytest.mark.parametrize(
    "value",
    ["=?base64?!!?=", "=?base64?eA?=", "=?base64?eB==?=", "=?base64?/w==?=", "=?base64?eA==?==?=", "=?base64?=?="],
)
def test_a_broken_sentinel_means_nothing(value: str) -> None:
    assert headers.decode_value(value) is None


@given(TEXT)
def test_decoding_never_fails(value: str) -> None:
    headers.decode_value(value)
    headers.decode_value(f"=?base64?{value}?=")


def test_half_a_surrogate_pair_is_coded_but_matches_nothing() -> None:
    assert headers.decode_value(headers.encode_value("\ud800")) is None


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "mcp-param-x"])
def test_a_routing_header_that_came_twice_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=name) as caught:
        headers.check_duplicates([name, "accept", name])
    assert caught.value.code == "header_mismatch"


def test_other_headers_may_come_twice() -> None:
    headers.check_duplicates(["accept", "mcp-name", "accept", "mcp-method"])


def modern(**changes: str | None) -> dict[str, str]:
    fields = {"version": "2026-07-28", "method": "tools/call", "name": "a__b", **changes}
    names = {"version": "mcp-protocol-version", "method": "mcp-method", "name": "mcp-name"}
    return {names[key]: value for key, value in fields.items() if value is not None}


def check(given: dict[str, str], method: str = "tools/call", params: bytes = b'{"name":"a__b"}') -> None:
    headers.check_modern(given, "2026-07-28", method, jsonrpc.members(params))


def test_headers_that_say_what_the_body_says_pass() -> None:
    check(modern())
    check(modern(name=headers.encode_value("zürich")), params='{"name":"zürich"}'.encode())
    check(modern(method="resources/read", name="file:///a"), "resources/read", b'{"uri":"file:///a"}')
    check(modern(method="prompts/get", name="p"), "prompts/get", b'{"name":"p"}')
    check(modern(method="tools/list", name=None), "tools/list", b"{}")


@pytest.mark.parametrize(
    "given",
    [
        modern(version=None),
        modern(version="2025-11-25"),
        modern(method=None),
        modern(method="tools/list"),
        modern(name=None),
        modern(name="a__c"),
        modern(name="A__B"),
        modern(name="=?base64?!!?="),
    ],
)
def test_a_missing_or_different_header_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        check(given)
    assert caught.value.code == "header_mismatch"


@pytest.mark.parametrize("params", [b"{}", b'{"name":7}', b'{"name":"\\ud800"}', b'{"uri":"a__b"}'])
def test_a_body_without_the_name_matches_no_header_not_even_a_broken_one(params: bytes) -> None:
    for name in ("a__b", "=?base64?!!?=", ""):
        with pytest.raises(Refused):
            check(modern(name=name), params=params)


SCHEMA = {
    "type": "object",
    "x-mcp-header": "Root",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "force": {"type": "boolean", "x-mcp-header": "Force"},
        "ratio": {"type": "number", "x-mcp-header": "Ratio"},
        "odd": {"type": "string", "x-mcp-header": "no good"},
        "number": {"type": "string", "x-mcp-header": 7},
        "list": {"type": "array", "items": {"type": "string", "x-mcp-header": "Item"}},
        "deep": {"type": "object", "properties": {"er": {"type": "string", "x-mcp-header": "Deeper"}}},
        "any": True,
    },
    "anyOf": [{"properties": {"x": {"type": "string", "x-mcp-header": "Any"}}}],
}
PATHS = headers.mirrored_paths(SCHEMA)


def test_only_primitive_properties_with_a_token_are_mirrored() -> None:
    assert PATHS == {("region",): "Region", ("count",): "Count", ("force",): "Force", ("deep", "er"): "Deeper"}


@pytest.mark.parametrize("schema", [None, True, [], {}, {"properties": []}, {"properties": {"a": None}}])
def test_a_schema_without_annotations_mirrors_nothing(schema: object) -> None:
    assert headers.mirrored_paths(schema) == {}


def test_arguments_are_mirrored_as_the_specification_writes_them() -> None:
    arguments = {"region": "Zürich", "count": 42, "force": True, "deep": {"er": "x"}}
    assert headers.mirrored_values(PATHS, arguments) == {
        "mcp-param-region": "=?base64?WsO8cmljaA==?=",
        "mcp-param-count": "42",
        "mcp-param-force": "true",
        "mcp-param-deeper": "x",
    }


@pytest.mark.parametrize(
    "arguments", [{}, None, [], {"region": None, "count": 2**53, "deep": "x"}, {"region": ["x"], "deep": {}}]
)
def test_what_is_absent_or_no_primitive_has_no_header(arguments: object) -> None:
    assert headers.mirrored_values(PATHS, arguments) == {}
    headers.check_mirrored({}, PATHS, arguments)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "region": TEXT,
            "count": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
            "force": st.booleans(),
            "deep": st.fixed_dictionaries({}, optional={"er": TEXT}),
        },
    )
)
def test_headers_made_from_arguments_pass_the_check_on_them(arguments: dict[str, object]) -> None:
    headers.check_mirrored(headers.mirrored_values(PATHS, arguments), PATHS, arguments)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ({"region": "a"}, {}),
        ({"region": "a"}, {"mcp-param-region": "b"}),
        ({"region": "42"}, {"mcp-param-region": "42.0"}),
        ({"region": "a"}, {"mcp-param-region": "=?base64?!!?="}),
        ({}, {"mcp-param-region": "a"}),
        ({"count": 42}, {"mcp-param-count": "43"}),
        ({"count": 42}, {"mcp-param-count": "4_2"}),
        ({"count": 42}, {"mcp-param-count": " 42"}),
        ({"count": 42}, {"mcp-param-count": "x"}),
        ({"count": 42}, {"mcp-param-count": "=?base64?!!?="}),
        ({"force": True}, {"mcp-param-force": "1"}),
        ({"force": False}, {"mcp-param-force": "False"}),
    ],
)
def test_a_mirrored_header_that_differs_is_refused(arguments: object, given: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        headers.check_mirrored(given, PATHS, arguments)
    assert caught.value.code == "header_mismatch"


@pytest.mark.parametrize("written", ["42", "42.0", "4.2e1"])
def test_a_number_may_be_written_in_another_way(written: str) -> None:
    headers.check_mirrored({"mcp-param-count": written}, PATHS, {"count": 42})
    headers.check_mirrored({"mcp-param-count": written}, PATHS, {"count": 42.0})


def test_raw_members_are_compared_as_text() -> None:
    with pytest.raises(Refused):
        headers.check_modern(modern(), "2026-07-28", "tools/call", {"name": msgspec.Raw(b"7")})
