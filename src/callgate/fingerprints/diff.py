"""What changed between two versions of a definition: paths with old and new values, invisible characters named. Pure.

Attacker-chosen text is never interpreted: whatever has no shape of its own is shown by name, such as
⟨U+200B ZERO WIDTH SPACE⟩, in paths too. A long text is cut around the first difference, never in front of it.
Fail closed: a version that cannot be read for certain (a member twice, say) is compared as one opaque text.
"""

import json
import re
import unicodedata
from typing import Any

import msgspec

_VISIBLE = frozenset(" \n")
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Zs"})
# Unicode's Default_Ignorable_Code_Point and blanks that are no spaces: letters and marks that draw nothing
_DRAWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_MAX_TEXT = 4000
_LEAD = 200  # characters shown in front of the first difference of long texts


class Change(msgspec.Struct, frozen=True):
    """One difference. `kind`: added, removed, changed. `path` is a JSON Pointer (RFC 6901)."""

    path: str
    kind: str
    before: str | None = None
    after: str | None = None


class _Leaf(msgspec.Struct, frozen=True):
    """A scalar or an empty container: its text, and whether it is a JSON string."""

    text: str
    string: bool


def changes(before: bytes | None, after: bytes | None) -> tuple[Change, ...]:
    """Every difference between two raw definitions, by path, in the order of the paths."""
    old, new = _flat(before), _flat(after)
    found = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was is None and now is not None:
            found.append(Change(visible(path), "added", None, visible(now.text)))
        elif was is not None and now is None:
            found.append(Change(visible(path), "removed", visible(was.text), None))
        elif was is not None and now is not None and was != now:
            found.append(Change(visible(path), "changed", *_both(was, now)))
    return tuple(found)


def visible(text: str, start: int = 0) -> str:
    """A text in which nothing hides: every invisible or control character is named. At most 4,000 characters of it,
    from `start` on; what was cut is said."""
    cut = text[start : start + _MAX_TEXT]
    shown = "".join(char if _shows(char) else _named(char) for char in cut)
    if start:
        shown = f"(from character {start + 1}) …{shown}"
    return shown if len(text) <= start + _MAX_TEXT else f"{shown}… ({len(text)} characters)"


def _both(was: _Leaf, now: _Leaf) -> tuple[str, str]:
    """Both sides of a change so that the difference is in sight."""
    if was.string != now.string:  # 1 became "1": quotes tell them apart
        return _typed(was), _typed(now)
    start = 0
    if max(len(was.text), len(now.text)) > _MAX_TEXT:
        pairs = zip(was.text, now.text, strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(was.text), len(now.text)))
        start = max(0, same - _LEAD)
    return visible(was.text, start), visible(now.text, start)


def _typed(leaf: _Leaf) -> str:
    return f'"{visible(leaf.text)}"' if leaf.string else visible(leaf.text)


def _shows(char: str) -> bool:
    if char in _VISIBLE:
        return True
    return unicodedata.category(char) not in _HIDDEN and _DRAWS_NOTHING.match(char) is None


def _named(char: str) -> str:
    name = unicodedata.name(char, "")
    return f"⟨U+{ord(char):04X}{' ' + name if name else ''}⟩"


def _flat(raw: bytes | None) -> dict[str, _Leaf]:
    """Leaves by JSON Pointer, without recursion; numbers keep their lexemes."""
    if raw is None:
        return {}
    try:
        value = json.loads(raw.decode("utf-8"), parse_float=_Number, parse_int=_Number, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return {"": _Leaf(raw.decode("utf-8", "replace"), string=False)}
    leaves: dict[str, _Leaf] = {}
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        path, node = todo.pop()
        if isinstance(node, dict) and node:
            todo.extend((f"{path}/{_token(key)}", sub) for key, sub in node.items())
        elif isinstance(node, list) and node:
            todo.extend((f"{path}/{number}", sub) for number, sub in enumerate(node))
        elif isinstance(node, _Number):
            leaves[path] = _Leaf(str(node), string=False)
        else:
            string = isinstance(node, str)
            leaves[path] = _Leaf(node if string else json.dumps(node), string=string)
    return leaves


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless it has the same member twice: a diff must not hide the first."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


class _Number(str):
    """A number's lexeme."""

    __slots__ = ()


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
