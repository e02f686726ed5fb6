"""Every string of a definition with its place and its role: what a model may read, nothing left out. Pure.

A definition is walked as it was listed, member by member, without recursion; member names are texts like any other,
except the words of MCP and JSON Schema themselves where they stand as such. A member given twice is read twice: which
one counts differs from parser to parser. Fail closed: what is cut short or cannot be read says so in `Surface.cut`,
and text that is no JSON is one opaque leaf.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

MAX_DEPTH = 256
MAX_LEAVES = 20_000
MAX_NODES = 250_000
MAX_CHARACTERS = 200_000  # of all leaves together: twice the largest definition known
MAX_PATHS = 4_000_000  # characters of all pointers together: a long name at each of 256 levels must cost nothing


class Leaf(msgspec.Struct, frozen=True):
    """A string, or the name of a member (`key`): `path` is its JSON Pointer (RFC 6901), `role` what it is there for."""

    path: str
    role: str
    text: str
    key: bool = False


class Surface(msgspec.Struct, frozen=True):
    """The leaves in the order of the document; `cut` says in a sentence why this is not all, "" where it is."""

    leaves: tuple[Leaf, ...]
    cut: str = ""


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# What a member of an object leads to, by the state of the object. A state without a table is a role: everything below
# it has that role. "*" is any other member.
_SCHEMA = {
    **dict.fromkeys(("title", "description", "$comment"), "param_text"),
    **dict.fromkeys(
        _names(
            "items additionalItems prefixItems contains additionalProperties propertyNames unevaluatedItems "
            "unevaluatedProperties allOf anyOf oneOf not if then else contentSchema"
        ),
        "schema",
    ),
    "properties": "parameters",
    "patternProperties": "patterns",
    **dict.fromkeys(("$defs", "definitions", "dependentSchemas", "dependencies"), "schemas"),
    **dict.fromkeys(("examples", "example"), "example"),
    **{word: word for word in ("default", "enum", "const", "pattern")},
    "*": "other",
}
_COMMON = {
    "name": "name",
    "title": "title",
    "description": "description",
    "annotations": "annotation",
    "_meta": "meta",
    "icons": "icon",
    "*": "other",
}
_TABLES: dict[str, dict[str, str]] = {
    "tool": {**_COMMON, "inputSchema": "schema", "outputSchema": "schema"},
    "prompt": {**_COMMON, "arguments": "argument"},
    "resource": {**_COMMON, "uri": "uri", "uriTemplate": "uri"},
    "schema": _SCHEMA,
    "parameters": {"*": "schema"},
    "patterns": {"*": "schema"},
    "schemas": {"*": "schema"},
    "argument": {"name": "param_name", "title": "param_text", "description": "param_text", "*": "other"},
}
_KEY_ROLES = {"parameters": "param_name", "patterns": "pattern"}
# Names that the specifications give: no text of anybody's where they stand as such
_WORDS: dict[str, frozenset[str]] = {
    "schema": frozenset(_SCHEMA.keys() - {"*"})
    | _names(
        "type required format minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems maxItems "
        "uniqueItems multipleOf minProperties maxProperties $schema $ref $id $anchor readOnly writeOnly deprecated "
        "nullable contentEncoding contentMediaType dependentRequired"
    ),
    "annotation": _names(
        "title readOnlyHint destructiveHint idempotentHint openWorldHint audience priority lastModified"
    ),
    **{
        kind: frozenset(_TABLES[kind].keys() - {"*"}) | {"execution", "mimeType", "size", "required"}
        for kind in ("tool", "prompt", "resource", "argument")
    },
    "icon": frozenset({"src", "mimeType", "sizes", "theme"}),
}
_KINDS = {"tool": "tool", "prompt": "prompt", "resource": "resource", "template": "resource", "instructions": ""}


class _Members(list[tuple[str, Any]]):
    """An object as its members, each as often as it was given."""

    __slots__ = ()


def surface(kind: str, raw: bytes) -> Surface:
    """Every string of a `tool`, `prompt`, `resource`, `template` (or any other kind, read as a resource), or the one
    string of `instructions`, from its raw JSON. Never raises."""
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_Members, parse_int=float, parse_float=float, parse_constant=float
        )
    except UnicodeDecodeError:
        return _opaque(kind, raw, "The definition is not valid UTF-8: it was read as one text.")
    except RecursionError:
        return _opaque(kind, raw, "The definition is nested too deeply: it was read as one text.")
    except ValueError:
        return _opaque(kind, raw, "The definition is not valid JSON: it was read as one text.")
    state = _KINDS.get(kind, "resource") or "instructions"
    walk = _Walk()
    walk.run(state, value)
    return Surface(tuple(walk.leaves), walk.cut)


def _opaque(kind: str, raw: bytes, cut: str) -> Surface:
    role = "instructions" if kind == "instructions" else "other"
    text = raw[: 4 * MAX_CHARACTERS].decode("utf-8", "replace")[:MAX_CHARACTERS]
    return Surface((Leaf("", role, text),), cut)


class _Walk:
    """One pass over a document: a stack of iterators, so that nothing is copied and depth costs no frames."""

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.cut = ""
        self._characters = MAX_CHARACTERS
        self._paths = MAX_PATHS
        self._nodes = MAX_NODES

    def run(self, state: str, value: Any) -> None:
        stack = [iter([("", state, value)])]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            path, state, value = node
            self._nodes -= 1
            self._paths -= len(path)
            if isinstance(value, str):
                self._leaf(path, state, value, key=False)
            elif isinstance(value, list) and len(stack) > MAX_DEPTH:
                self.cut = f"The definition is nested more than {MAX_DEPTH} levels deep: what lies below was not read."
            elif isinstance(value, list):
                stack.append(self._members(path, state, value) if isinstance(value, _Members) else _items(node))
            if self._spent():
                return

    def _spent(self) -> bool:
        if len(self.leaves) >= MAX_LEAVES:
            self.cut = f"The definition holds more than {MAX_LEAVES:,} texts: the rest was not read."
        elif self._characters <= 0:
            self.cut = f"The definition holds more than {MAX_CHARACTERS:,} characters: the rest was not read."
        elif self._paths <= 0:
            self.cut = "The names of nested members are too long: not all of the definition was read."
        elif self._nodes <= 0:
            self.cut = f"The definition holds more than {MAX_NODES:,} values: the rest was not read."
        else:
            return False
        return True

    def _members(self, path: str, state: str, members: _Members) -> Iterator[tuple[str, str, Any]]:
        table = _TABLES.get(state)
        words = _WORDS.get(state, frozenset())
        for name, value in members:
            below = f"{path}/{_token(name)}"
            if name not in words:
                self._leaf(below, _KEY_ROLES.get(state, "other" if table else state), name, key=True)
            yield below, table.get(name, table["*"]) if table else state, value

    def _leaf(self, path: str, state: str, text: str, *, key: bool) -> None:
        role = "other" if state in _TABLES and state != "instructions" else state
        if not _sound(text) or not _sound(path):
            self.cut = "The definition holds half characters (lone surrogates), which readers take differently."
            text, path = _mended(text), _mended(path)
        self.leaves.append(Leaf(path, role, text[: max(self._characters, 0)], key))
        self._characters -= len(text)


def _items(node: tuple[str, str, Any]) -> Iterator[tuple[str, str, Any]]:
    path, state, values = node
    for number, value in enumerate(values):
        yield f"{path}/{number}", state, value


def _sound(text: str) -> bool:
    """Whether a text can be written as UTF-8. ASCII, nearly always, is known without a look."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _mended(text: str) -> str:
    """Half characters replaced one by one: offsets stay."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
