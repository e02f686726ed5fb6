"""What a change brings in, told apart from what was there."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from callgate.model.finding import Finding
from callgate.scanner.drift import drift_findings

TEXT = "Returns the rows of a table that was given. It can sort the rows by name."
BAD = "A bad thing."


def definition(description: str = TEXT, *names: str, **members: Any) -> bytes:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    return json.dumps({"name": "rows", "description": description, "inputSchema": schema, **members}).encode()


def scan(kind: str, raw: bytes) -> Sequence[Finding]:
    """Finds one thing in one kind of text."""
    text = json.loads(raw)
    at = text.find("bad")
    return [Finding("r", 1, "c", "high", "", at, at + 3, why="Bad.")] if at >= 0 and kind == "instructions" else []


def seen(old: bytes, new: bytes) -> list[tuple[str, str]]:
    return [(one.rule, one.severity) for one in drift_findings("tool", old, new, scan)]


def test_added_text_is_read_alone_and_weighs_more() -> None:
    (one,) = drift_findings("tool", definition(), definition(f"{TEXT} {BAD}"), scan)
    assert (one.rule, one.severity, one.path) == ("r", "critical", "/description")
    assert f"{TEXT} {BAD}"[one.start : one.end] == "bad"
    assert one.why.startswith("Added since")


def test_what_stood_there_before_is_not_reported_again() -> None:
    assert seen(definition(BAD), definition(BAD)) == []
    assert seen(definition(f"{BAD} {TEXT}"), definition(f"{TEXT} {BAD} Well.")) == []


def test_many_added_texts_are_all_read() -> None:
    many = {f"p{at}": {"description": f"Text {at}."} for at in range(300)} | {"last": {"description": BAD}}
    new = definition(inputSchema={"type": "object", "properties": many})
    assert ("r", "critical") in seen(definition(), new)


def test_new_parameters_with_sensitive_names() -> None:
    assert seen(definition(TEXT, "a"), definition(TEXT, "a", "chat_history")) == [
        ("structure.context_parameter", "high")
    ]
    assert seen(definition(TEXT, "a"), definition(TEXT, "a", "api_key", "page")) == [
        ("structure.secret_parameter", "medium")
    ]
    chat = "Answers in a chat with the user."
    assert seen(definition(chat), definition(chat, "chat_history")) == [("drift.sensitive_parameter", "low")]
    assert seen(definition(TEXT, "api_key"), definition(TEXT, "api_key", "b")) == []


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [
        ({"readOnlyHint": True}, {"readOnlyHint": False}, ["medium"]),
        ({"readOnlyHint": True}, {}, ["medium"]),
        ({"readOnlyHint": False}, {"readOnlyHint": True}, ["low"]),
        ({"destructiveHint": False}, {"destructiveHint": True}, ["medium"]),
        ({"destructiveHint": True}, {"destructiveHint": False}, ["low"]),
        ({"idempotentHint": True}, {"idempotentHint": False}, []),
        ({}, {"readOnlyHint": True}, []),
    ],
)
def test_annotations_that_flip(before: dict[str, bool], after: dict[str, bool], severity: list[str]) -> None:
    found = seen(definition(annotations=before), definition(annotations=after))
    assert found == [("drift.annotation", one) for one in severity]


def test_jumps_of_script_language_and_length() -> None:
    assert seen(definition(), definition(f"{TEXT} Возвращает строки таблицы.")) == [("drift.script", "medium")]
    german = "Gibt alle Zeilen einer Tabelle zurück und sortiert sie danach noch einmal neu."
    assert seen(definition(), definition(f"{TEXT} {german}")) == [("drift.language", "low")]
    assert seen(definition(), definition(TEXT + " It is sorted by the name of the row." * 20)) == [
        ("drift.length", "low")
    ]
    long = TEXT + " It is sorted by the name of the row." * 200
    assert seen(definition(), definition(long)) == [("drift.length", "medium")]
    assert seen(definition("Short."), definition("Короткий текст без языка.")) == []
    assert seen(definition("Строки таблицы по имени и дате."), definition("Строки таблицы по дате и имени.")) == []


@pytest.mark.parametrize("new", [b"", b"[" * 100_000, b"\xff", b'"bad"'])
def test_what_cannot_be_read_is_added_text(new: bytes) -> None:
    assert isinstance(drift_findings("tool", definition(), new, lambda _kind, _raw: []), list)
