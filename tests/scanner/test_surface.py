"""The surface of a definition: every string and every name in it, whatever its shape, and at a bounded price."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.scanner.surface import MAX_CHARACTERS, MAX_DEPTH, MAX_LEAVES, Leaf, surface

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
KINDS = st.sampled_from(["tool", "prompt", "resource", "template", "instructions", "unheard-of"])


def roles(kind: str, definition: object) -> dict[str, str]:
    return {leaf.path: leaf.role for leaf in surface(kind, json.dumps(definition).encode()).leaves if not leaf.key}


def names(kind: str, definition: object) -> dict[str, str]:
    return {leaf.path: leaf.role for leaf in surface(kind, json.dumps(definition).encode()).leaves if leaf.key}


def test_each_text_of_a_tool_has_its_role() -> None:
    tool = {
        "name": "t",
        "title": "T",
        "description": "d",
        "annotations": {"title": "a"},
        "_meta": {"m": "n"},
        "icons": [{"src": "i"}],
        "x-note": {"deep": ["x"]},
        "inputSchema": {
            "description": "s",
            "properties": {
                "a/b": {
                    "title": "p",
                    "$comment": "c",
                    "default": {"k": "v"},
                    "enum": ["e"],
                    "const": "c",
                    "examples": ["x"],
                    "pattern": "^p$",
                    "items": {"anyOf": [{"description": "q"}]},
                }
            },
            "required": ["r"],
        },
    }
    below = "/inputSchema/properties/a~1b"
    assert roles("tool", tool) == {
        "/name": "name",
        "/title": "title",
        "/description": "description",
        "/annotations/title": "annotation",
        "/_meta/m": "meta",
        "/icons/0/src": "icon",
        "/x-note/deep/0": "other",
        "/inputSchema/description": "param_text",
        f"{below}/title": "param_text",
        f"{below}/$comment": "param_text",
        f"{below}/default/k": "default",
        f"{below}/enum/0": "enum",
        f"{below}/const": "const",
        f"{below}/examples/0": "example",
        f"{below}/pattern": "pattern",
        f"{below}/items/anyOf/0/description": "param_text",
        "/inputSchema/required/0": "other",
    }
    assert names("tool", tool) == {
        "/_meta/m": "meta",
        "/x-note": "other",
        "/x-note/deep": "other",
        below: "param_name",
        f"{below}/default/k": "default",
    }


def test_prompts_resources_templates_and_instructions_have_roles() -> None:
    prompt = {"name": "p", "arguments": [{"name": "a", "description": "b", "odd": "c"}]}
    assert roles("prompt", prompt) == {
        "/name": "name",
        "/arguments/0/name": "param_name",
        "/arguments/0/description": "param_text",
        "/arguments/0/odd": "other",
    }
    assert roles("resource", {"uri": "u", "mimeType": "m"}) == {"/uri": "uri", "/mimeType": "other"}
    assert roles("template", {"uriTemplate": "u"}) == {"/uriTemplate": "uri"}
    assert surface("instructions", b'"Be kind"').leaves == (Leaf("", "instructions", "Be kind"),)


def test_a_parameter_that_is_called_like_a_keyword_is_a_parameter() -> None:
    schema = {"properties": {"description": {"type": "string"}, "*": {"default": "x"}}}
    assert names("tool", {"inputSchema": schema}) == {
        "/inputSchema/properties/description": "param_name",
        "/inputSchema/properties/*": "param_name",
    }
    assert "/*" in names("tool", {"*": 1})


def test_a_member_given_twice_is_read_twice() -> None:
    raw = b'{"description":"hidden","description":"shown"}'
    assert [leaf.text for leaf in surface("tool", raw).leaves] == ["hidden", "shown"]


@pytest.mark.parametrize("raw", [b"{", b"", b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b"[" * 100_000])
def test_what_is_no_json_is_one_text(raw: bytes) -> None:
    read = surface("tool", raw)
    assert [leaf.path for leaf in read.leaves] == [""]
    assert read.cut.endswith(".")


def test_half_characters_are_replaced_and_said() -> None:
    read = surface("tool", b'{"description":"a\\ud800b","\\udc00":"c"}')
    assert [leaf.text for leaf in read.leaves] == ["a\ufffdb", "\ufffd", "c"]
    assert "half characters" in read.cut


@given(KINDS, JSON)
def test_no_string_and_no_odd_name_is_missed(kind: str, definition: object) -> None:
    read = surface(kind, json.dumps(definition).encode())
    texts = {leaf.text for leaf in read.leaves}
    todo = [definition]
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            assert read.cut or node in texts
        elif isinstance(node, dict):
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)


@given(KINDS, st.binary(max_size=80))
def test_no_bytes_make_it_fail(kind: str, raw: bytes) -> None:
    surface(kind, raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a":' * (MAX_DEPTH + 9) + b"1" + b"}" * (MAX_DEPTH + 9), "levels"),
        (json.dumps({"a": ["x"] * (MAX_LEAVES + 9)}).encode(), "texts"),
        (json.dumps({"a": "x" * (MAX_CHARACTERS + 9)}).encode(), "characters"),
        (json.dumps({"k" * 9000: {"k" * 9000: ["x"] * 9000}}).encode(), "names"),
        (b'{"a":[' + b"0," * 250_001 + b"0]}", "values"),
    ],
)
def test_past_a_limit_it_says_what_was_not_read(raw: bytes, why: str) -> None:
    read = surface("tool", raw)
    assert why in read.cut
    assert len(read.leaves) <= MAX_LEAVES
    assert sum(len(leaf.text) for leaf in read.leaves) <= MAX_CHARACTERS
