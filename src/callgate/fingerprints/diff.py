"""What changed between two versions of a definition: paths with old and new values, invisible characters named. Pure.

Attacker-chosen text is never interpreted: control, format and private characters are shown by name, such as
⟨U+200B ZERO WIDTH SPACE⟩.
Fail closed: a version that cannot be read is compared as one opaque text.
"""

import json
import unicodedata
from typing import Any

import msgspec

_VISIBLE = frozenset("\n")
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
_MAX_TEXT = 4000


class Change(msgspec.Struct, frozen=True):
    """One difference. `kind`: added, removed, changed. `path` is a JSON Pointer (RFC 6901)."""

    path: str
    kind: str
    before: str | None = None
    after: str | None = None


def changes(before: bytes | None, after: bytes | None) -> tuple[Change, ...]:
    """Every difference between two raw definitions, by path, in the order of the paths."""
    old, new = _flat(before), _flat(after)
    found = []
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            found.append(Change(path, "added", None, visible(new[path])))
        elif path not in new:
            found.append(Change(path, "removed", visible(old[path]), None))
        elif old[path] != new[path]:
            found.append(Change(path, "changed", visible(old[path]), visible(new[path])))
    return tuple(found)


def visible(text: str) -> str:
    """A text in which nothing hides: every invisible or control character is named. Cut at 4,000 characters."""
    cut = text[:_MAX_TEXT]
    shown = "".join(char if _shows(char) else _named(char) for char in cut)
    return shown if len(text) <= _MAX_TEXT else f"{shown}… ({len(text)} characters)"


def _shows(char: str) -> bool:
    return char in _VISIBLE or unicodedata.category(char) not in _HIDDEN


def _named(char: str) -> str:
    name = unicodedata.name(char, "")
    return f"⟨U+{ord(char):04X}{' ' + name if name else ''}⟩"


def _flat(raw: bytes | None) -> dict[str, str]:
    """Leaves by JSON Pointer, without recursion; numbers keep their lexemes."""
    if raw is None:
        return {}
    try:
        value = json.loads(raw, parse_float=_Number, parse_int=_Number)
    except (ValueError, RecursionError):
        return {"": raw.decode("utf-8", "replace")}
    leaves: dict[str, str] = {}
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        path, node = todo.pop()
        if isinstance(node, dict) and node:
            todo.extend((f"{path}/{_token(key)}", sub) for key, sub in node.items())
        elif isinstance(node, list) and node:
            todo.extend((f"{path}/{number}", sub) for number, sub in enumerate(node))
        else:
            leaves[path] = node if isinstance(node, str) else json.dumps(node)
    return leaves


class _Number(str):
    """A number's lexeme."""

    __slots__ = ()


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
