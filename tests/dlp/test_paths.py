"""Paths in rules that redact: which places they mean, and that text copies follow."""

import json
from typing import Any

import pytest

from callgate.dlp.paths import compiled
from callgate.dlp.redact import Redaction
from callgate.dlp.walk import redacted_json
from callgate.errors import Refused


@pytest.mark.parametrize(
    ("path", "pointer", "holds"),
    [
        ("$.a", "/a", True),
        ("$.a", "/a/b", False),
        ("$.a", "/b/a", False),
        ("$.a.b[0].c", "/a/b/0/c", True),
        ("$.a[*].c", "/a/17/c", True),
        ("$.a[*].c", "/a/c", False),
        ("$.*.c", "/anything/c", True),
        ("$..c", "/c", True),
        ("$..c", "/a/1/c", True),
        ("$..c", "/a/1/cc", False),
        ("$['a/b']['~']", "/a~1b/~0", True),
        ('$["a.b"]', "/a.b", True),
        ("$.a.b", "/axb", False),
        ("$.größe", "/größe", True),
        ("$..[0]", "/x/0", True),
    ],
)
def test_which_places_a_path_means(path: str, pointer: str, holds: bool) -> None:
    assert bool(compiled(path).fullmatch(pointer)) is holds


@pytest.mark.parametrize(
    "path",
    ["", "$", "a", "$a", "$.", "$.a.", "$[", "$[-1]", "$[0:2]", "$[?@.a]", "$.a b", "$..", "$.a" * 60, "$['a\\'b']"],
)
def test_what_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="no path"):
        compiled(path)


def shown(value: Any, *paths: str) -> Any:
    how = Redaction(paths=tuple(compiled(path) for path in paths))
    return json.loads(redacted_json(json.dumps(value).encode(), how)[0])


def test_places_are_replaced_whole_and_all_else_stays() -> None:
    value = {"rows": [{"id": 1, "who": {"name": "Ana", "vip": True}}, {"id": 2, "who": "Bo"}], "who": "Eve"}
    found = shown(value, "$.rows[*].who")
    assert found["who"] == "Eve"
    assert [row["id"] for row in found["rows"]] == [1, 2]
    assert "Ana" not in json.dumps(found)
    assert found["rows"][0]["who"]["vip"] is False
    assert shown(value, "$.rows[1]")["rows"][0] == value["rows"][0]


def test_a_text_copy_of_structured_content_follows_its_paths() -> None:
    content = {"owner": "Ana", "other": {"owner": "Bo"}}
    result = {"content": [{"type": "text", "text": json.dumps(content)}], "structuredContent": content}
    found = shown(result, "$.structuredContent.owner")
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    assert found["structuredContent"]["owner"] != "Ana"
    assert found["structuredContent"]["other"]["owner"] == "Bo"


def test_a_redaction_by_paths_alone_looks_for_nothing_else() -> None:
    assert shown({"a": "ana@acme.test", "b": "bo@acme.test"}, "$.a")["b"] == "bo@acme.test"
