"""The structural diff of schemas: what a change means for a reviewer, and that none is passed over."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.fingerprints.diff import Change, changes

Json = dict[str, Any]


def tool(properties: Json | None = None, **members: Any) -> bytes:
    schema = {"type": "object", "properties": properties or {}, **members}
    return json.dumps({"name": "t", "inputSchema": schema}).encode()


def one(before: bytes, after: bytes) -> Change:
    [found] = changes(before, after)
    return found


def told(before: bytes, after: bytes) -> tuple[str, str, str]:
    found = one(before, after)
    return found.path.removeprefix("/inputSchema"), found.kind, found.severity


@pytest.mark.parametrize(
    ("schema", "severity"),
    [
        ({"type": "string"}, "medium"),
        ({"type": "integer"}, "low"),
        ({"type": "string", "enum": ["a"]}, "low"),
        ({"type": "array", "items": {"type": "string"}}, "medium"),
        ({}, "medium"),
        (True, "medium"),
        (False, "low"),
    ],
)
def test_a_new_parameter_weighs_by_what_it_takes(schema: Any, severity: str) -> None:
    assert told(tool(), tool({"x": schema})) == ("/properties/x", "parameter_added", severity)


def test_a_new_parameter_with_a_telling_name_matters() -> None:
    assert told(tool(), tool({"session_id": {"type": "integer"}}))[2] == "medium"


def test_a_new_required_parameter_is_told_once_and_weighs_most() -> None:
    found = one(tool(), tool({"x": {"type": "integer"}}, required=["x"]))
    assert (found.kind, found.severity) == ("parameter_added", "high")
    assert found.what == 'The parameter "x" is new and required: a model has to fill it.'
    assert found.after == '{"type": "integer"}'


def test_the_text_of_a_new_parameter_is_in_sight_however_long_it_is() -> None:
    text = "y" * 9000 + " send the keys"
    found = one(tool(), tool({"x": {"description": text}}))
    assert any("send the keys" in part.text for part in found.parts)


@pytest.mark.parametrize(
    ("before", "after", "kind", "severity"),
    [
        ({"type": "string"}, {"type": ["string", "null"]}, "type_widened", "medium"),
        ({"type": "integer"}, {"type": "number"}, "type_widened", "medium"),
        ({"type": "integer"}, {}, "type_widened", "medium"),
        ({}, {"type": "integer"}, "type_narrowed", "low"),
        ({"type": "integer"}, {"type": "string"}, "type_changed", "medium"),
        ({"type": "integer"}, {"type": ["integer"]}, "changed", "info"),
        ({"type": "integer"}, {"type": 1}, "type_changed", "medium"),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, "enum_value_added", "low"),
        ({"enum": ["a"]}, {"enum": ["a", "read the keys"]}, "enum_value_added", "medium"),
        ({"enum": ["a", "b"]}, {"enum": ["b"]}, "enum_value_removed", "low"),
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}, "changed", "info"),
        ({"enum": ["a"]}, {}, "constraint_loosened", "medium"),
        ({"const": 1}, {"const": 2}, "const_changed", "medium"),
        ({"default": 1}, {"default": 2}, "default_changed", "medium"),
        ({}, {"default": "x; y"}, "default_changed", "medium"),
        ({}, {"examples": [1]}, "examples_changed", "low"),
        ({}, {"examples": ["do this now"]}, "examples_changed", "medium"),
        ({"maxLength": 10}, {"maxLength": 20}, "constraint_loosened", "medium"),
        ({"maxLength": 10}, {"maxLength": 5}, "constraint_tightened", "low"),
        ({"minimum": 1}, {"minimum": 2}, "constraint_tightened", "low"),
        ({"minimum": 1}, {}, "constraint_loosened", "low"),
        ({"minimum": 1}, {"minimum": 1.0}, "changed", "info"),
        ({"minimum": 1}, {"minimum": "a"}, "constraint_changed", "medium"),
        ({}, {"pattern": "^a$"}, "constraint_tightened", "low"),
        ({"pattern": "^a$"}, {"pattern": "a"}, "constraint_changed", "medium"),
        ({"format": "uri"}, {}, "constraint_loosened", "medium"),
        ({"uniqueItems": True}, {"uniqueItems": False}, "constraint_loosened", "low"),
        ({"additionalProperties": False}, {}, "constraint_loosened", "medium"),
        ({}, {"additionalProperties": False}, "constraint_tightened", "low"),
        ({}, {"additionalProperties": True}, "changed", "info"),
        ({}, {"not": {"type": "null"}}, "constraint_tightened", "low"),
        ({"description": "a"}, {"description": "b"}, "description_changed", "medium"),
        ({"title": "a"}, {}, "title_changed", "medium"),
        ({"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, "reference_changed", "medium"),
        ({"$ref": "#/$defs/a"}, {"$ref": "https://x.example/s.json"}, "reference_changed", "high"),
        ({"anyOf": [{"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, "branch_added", "medium"),
        ({"oneOf": [{"type": "null"}, {}]}, {"oneOf": [{"type": "null"}]}, "branch_removed", "low"),
        ({"anyOf": [{}, {"type": "null"}]}, {"anyOf": [{"type": "null"}, {}]}, "changed", "info"),
        ({"x-odd": 1}, {"x-odd": 2}, "changed", "low"),
        ({"x-odd": 1}, {"x-odd": "do this now"}, "changed", "medium"),
        ({"$comment": "a"}, {"$comment": "model: do this"}, "changed", "medium"),
        ({"items": {}}, {"items": True}, "changed", "low"),
        ({"$defs": {}}, {"$defs": {"a": {}}}, "definition_added", "low"),
        ({"$defs": {"a": {}}}, {}, "definition_removed", "low"),
        (True, {}, "changed", "low"),
    ],
)  # fmt: skip
def test_each_keyword_has_its_meaning(before: Any, after: Any, kind: str, severity: str) -> None:
    found = told(tool({"p": before}), tool({"p": after}))
    assert found[1:] == (kind, severity)
    assert found[0].startswith("/properties/p")


def test_becoming_required_and_optional() -> None:
    loose, strict = tool({"a": {}, "b": {}}, required=["a"]), tool({"a": {}, "b": {}}, required=["a", "b"])
    assert told(loose, strict) == ("/required/1", "parameter_became_required", "medium")
    assert told(strict, loose) == ("/required/1", "parameter_became_optional", "low")
    assert told(tool({"a": {}}, required=["a"]), tool())[1] == "parameter_removed"
    assert told(tool(required=["a"]), tool(required=["a", "a"]))[1:] == ("changed", "info")
    assert told(tool(), tool(required=[]))[1:] == ("changed", "info")


def test_nested_members_are_named_by_their_way() -> None:
    def nested(inner: Json) -> bytes:
        return tool({"a": {"type": "array", "items": {"type": "object", "properties": {"b": inner}}}})

    found = one(nested({"type": "integer"}), nested({"type": "string"}))
    assert found.path == "/inputSchema/properties/a/items/properties/b/type"
    assert found.what == 'The parameter "a.b" takes another type.'


def test_results_weigh_less_but_for_their_texts() -> None:
    def result(schema: Json) -> bytes:
        return json.dumps({"outputSchema": {"properties": schema}}).encode()

    found = one(result({}), result({"session_token": {"type": "string"}}))
    assert (found.kind, found.severity) == ("member_added", "low")
    assert one(result({"a": {"description": "x"}}), result({"a": {"description": "y"}})).severity == "medium"


def test_a_reference_that_leads_in_a_circle_is_a_text_like_any_other() -> None:
    before = tool({"a": {"$ref": "#/properties/a"}}, **{"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}})
    after = tool({"a": {"$ref": "#"}}, **{"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}})
    assert told(before, after)[1] == "reference_changed"


@pytest.mark.parametrize("key", ["items", "anyOf", "unknown"])
def test_what_lies_deeper_than_the_walk_goes_is_told_too(key: str) -> None:
    def deep(leaf: Any) -> bytes:
        value: Any = {"default": leaf}
        for _ in range(90):
            value = {key: [value]} if key == "anyOf" else {key: value}
        return tool({"p": value})

    assert one(deep(1), deep(2)).after == "2"
    assert changes(deep(1), deep(1)) == ()


NAMES = st.sampled_from(
    ["type", "properties", "required", "enum", "anyOf", "items", "additionalProperties", "$defs", "$ref", "minimum",
     "pattern", "description", "default", "a", "b"]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b", "string", "1", "#/a", "two words"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)


@given(VALUES, VALUES, st.sampled_from(["inputSchema", "outputSchema", "annotations", "description", "_meta"]))
def test_whatever_stands_where_a_schema_should_differences_are_told_and_nothing_breaks(
    old: Any, new: Any, member: str
) -> None:
    before, after = (json.dumps({"name": "t", member: value}, sort_keys=True).encode() for value in (old, new))
    found = changes(before, after)
    assert (found == ()) is (before == after)
    assert all(change.path.startswith(f"/{member}") and change.what for change in found)
