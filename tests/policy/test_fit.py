"""What is redacted stays what the tool promises: whatever the schema asks of it, and its text copy with it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.dlp.redact import Redaction
from callgate.dlp.walk import redacted_json
from callgate.errors import Refused
from callgate.policy.fit import fitted
from callgate.policy.schemas import valid

SECRET = "ana@acme.test"


def offered(field: dict[str, Any]) -> bytes:
    schema = {"type": "object", "required": ["who"], "properties": {"who": field, "n": {"type": "integer"}}}
    return json.dumps({"name": "t", "outputSchema": schema}).encode()


def result(value: Any) -> bytes:
    content = {"who": value, "n": 9007199254740993}
    return json.dumps(
        {"content": [{"type": "text", "text": json.dumps(content)}], "structuredContent": content}
    ).encode()


def shown(field: dict[str, Any], value: Any) -> Any:
    """After redaction of the member `who`."""
    before = result(value)
    after, _ = redacted_json(before, Redaction(members=frozenset({"who"})))
    found = json.loads(fitted(offered(field), before, after))
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    schema = json.dumps(json.loads(offered(field))["outputSchema"]).encode()
    assert valid(schema, found["structuredContent"])
    assert found["structuredContent"]["n"] == 9007199254740993
    return found["structuredContent"]["who"]


@pytest.mark.parametrize(
    "field",
    [
        {"type": "string"},
        {"type": "string", "format": "email"},
        {"type": "string", "maxLength": 13},
        {"type": "string", "minLength": 13, "maxLength": 13},
        {"type": "string", "pattern": "^[a-z@.]+$"},
        {"type": ["string", "null"], "pattern": "^ana@acme.test$"},
        {"enum": [SECRET, "other"]},
    ],
)
def test_a_text_is_replaced_by_one_that_fits(field: dict[str, Any]) -> None:
    value = shown(field, SECRET)
    if "enum" not in field:
        assert value != SECRET


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"type": "string", "format": "uri"}, "https://acme.test/ana"),
        ({"type": "string", "format": "date-time"}, "2026-11-23T10:00:00Z"),
        ({"type": "string", "format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000"),
        ({"type": "string", "format": "ipv4"}, "10.1.2.3"),
        ({"type": "integer", "minimum": 1000}, 4711),
        ({"type": "object", "properties": {"id": {"type": "string", "pattern": "^[0-9]{4}$"}}}, {"id": "4711"}),
        ({"type": "array", "items": {"type": "string", "format": "email"}}, [SECRET, SECRET]),
    ],
)
def test_other_formats_types_and_nested_places(field: dict[str, Any], value: Any) -> None:
    assert shown(field, value) != value


@pytest.mark.parametrize("field", [{"const": SECRET}, {"type": "string", "pattern": "^ana@acme.test$"}])
def test_what_cannot_be_made_to_fit_is_withheld(field: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        shown(field, SECRET)
    assert caught.value.code == "result_withheld"


def test_what_was_not_valid_before_is_not_our_business() -> None:
    before = result(7)
    after, _ = redacted_json(before, Redaction(members=frozenset({"who"})))
    assert fitted(offered({"type": "string"}), before, after) == after
    assert fitted(b'{"name":"t"}', before, after) == after
    assert fitted(b'{"name":"t","outputSchema":{"$ref":"https://x.example/"}}', before, after) == after


@given(st.text(min_size=1, max_size=30), st.sampled_from(["email", "uri", "date", "hostname", "uuid", ""]))
def test_whatever_stood_there_is_gone(value: str, form: str) -> None:
    field: dict[str, Any] = {"type": "string", **({"format": form} if form else {})}
    marked = f"canary{value}canary"
    before = result(marked)
    after, _ = redacted_json(before, Redaction(members=frozenset({"who"})))
    assert marked not in json.dumps(json.loads(fitted(offered(field), before, after)))


def test_what_takes_too_many_looks_is_withheld() -> None:
    """Thousands of places that a placeholder breaks, each of which asks for a look at all of it."""
    field = {"type": "array", "items": {"type": "string", "pattern": "^[0-9]{37}$"}}
    with pytest.raises(Refused):
        shown(field, ["1" * 37] * 20_000)


def answered(otherwise: dict[str, Any], **members: Any) -> dict[str, Any]:
    """An answer whose schema asks more of the rest once `who` is another than it was; `members` beside the content."""
    schema = {"type": "object", "if": {"properties": {"who": {"const": SECRET}}}, "else": otherwise}
    content = {"who": SECRET, "n": 9, "b": True}
    before = json.dumps({**members, "structuredContent": content}).encode()
    after, _ = redacted_json(before, Redaction(members=frozenset({"who"})))
    tool = json.dumps({"name": "t", "outputSchema": schema}).encode()
    found: dict[str, Any] = json.loads(fitted(tool, before, after))
    assert valid(json.dumps(schema).encode(), found["structuredContent"])
    assert found["structuredContent"]["who"] != SECRET
    return found


def test_what_the_schema_asks_of_the_rest_is_kept_as_well() -> None:
    assert answered({"properties": {"n": {"multipleOf": 4}}})["structuredContent"]["n"] == 0
    assert answered({"properties": {"b": {"const": False}}})["structuredContent"]["b"] is False
    assert answered({"properties": {"b": {"type": "null"}}})["structuredContent"]["b"] is None


def test_what_no_stand_in_can_mend_is_refused() -> None:
    with pytest.raises(Refused):
        answered({"required": ["of", "the", "whole"]})


def test_texts_that_are_no_copy_stay() -> None:
    texts = ["{broken", "[1]", "plain", '{"other": 1}']
    content = [{"type": "text", "text": text} for text in texts]
    found = answered({"properties": {"n": {"multipleOf": 4}}}, content=content)
    assert [block["text"] for block in found["content"]] == texts
    assert "content" not in answered({"properties": {"n": {"multipleOf": 4}}})
