"""JSON values as a diff needs them: numbers keep their lexemes, a member twice is refused, paths are rendered late.

Bounded in depth like the canonical form; what is deeper, or read differently by different parsers, is `Unreadable`.
"""

import json
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn

import msgspec

from callgate.errors import Refused
from callgate.fingerprints.canonical import MAX_DEPTH
from callgate.fingerprints.show import MAX_TEXT
from callgate.wire import jsonrpc


class Unreadable(ValueError):
    """The bytes are not one JSON value that everybody reads alike."""


class Number(msgspec.Struct, frozen=True):
    """A number as it stands: 1 and 1.0 differ, and neither equals the text "1"."""

    lexeme: str


class Opaque(msgspec.Struct, frozen=True):
    """A version that cannot be read for certain, as text."""

    text: str


class Missing(msgspec.Struct, frozen=True):
    """No value: not even null."""


class Path(msgspec.Struct, frozen=True):
    """A JSON Pointer (RFC 6901) as a chain from leaf to root: long names of members are not copied for each leaf."""

    parent: "Path | None" = None
    name: str = ""

    def at(self, name: object) -> "Path":
        return Path(self, str(name))

    def names(self) -> list[str]:
        """From the root on."""
        found: list[str] = []
        here: Path | None = self
        while here is not None and here.parent is not None:
            found.append(here.name)
            here = here.parent
        return found[::-1]

    def pointer(self) -> str:
        """As text, cut where no screen would show more of it."""
        text = ""
        for name in self.names():
            text += "/" + name[: MAX_TEXT + 1].replace("~", "~0").replace("/", "~1")
            if len(text) > MAX_TEXT:
                break
        return text


ROOT: Final = Path()
MISSING: Final = Missing()


def read(raw: bytes) -> Any:
    """The value: dict, list, str, `Number`, bool or None. Raises `Unreadable`."""
    try:
        jsonrpc.check_depth(raw, MAX_DEPTH)
        return _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError, Refused):
        raise Unreadable from None


def dump(value: Any) -> str:
    """The value on one line, members in their order."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{encode_basestring(key)}: {dump(sub)}" for key, sub in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    if isinstance(value, Number):
        return value.lexeme
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def text_of(value: Any) -> str:
    """What a reviewer is shown of it: a string without quotes, anything else as JSON."""
    if isinstance(value, Opaque):
        return value.text
    return value if isinstance(value, str) else dump(value)


def is_leaf(value: Any) -> bool:
    """A scalar or an empty container."""
    return not (isinstance(value, dict | list) and value)


def leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Every leaf below, without recursion; nothing for `MISSING`."""
    todo = [] if value is MISSING else [(path, value)]
    while todo:
        here, node = todo.pop()
        if is_leaf(node):
            yield here, node
        else:
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            todo.extend((here.at(key), sub) for key, sub in pairs)


def differences(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Any, Any]]:
    """Leaves that differ, as (path, old, new), `MISSING` on the side that lacks them; nothing for equal values."""
    todo = [(path, old, new)]
    while todo:
        here, was, now = todo.pop()
        if was is MISSING or now is MISSING or is_leaf(was) != is_leaf(now) or type(was) is not type(now):
            yield from _apart(here, was, now)
        elif is_leaf(was):
            if was != now:
                yield here, was, now
        elif isinstance(was, dict):
            todo.extend((here.at(key), was.get(key, MISSING), now.get(key, MISSING)) for key in {**was, **now})
        else:
            longest = max(len(was), len(now))
            todo.extend((here.at(at), _item(was, at), _item(now, at)) for at in range(longest))


def _apart(here: Path, was: Any, now: Any) -> Iterator[tuple[Path, Any, Any]]:
    """Two values without anything in common."""
    if was is not MISSING and now is not MISSING and is_leaf(was) and is_leaf(now):
        yield here, was, now
        return
    yield from ((where, leaf, MISSING) for where, leaf in leaves(here, was))
    yield from ((where, MISSING, leaf) for where, leaf in leaves(here, now))


def _item(values: list[Any], at: int) -> Any:
    return values[at] if at < len(values) else MISSING


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless it has the same member twice: a diff must not hide the first."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError  # NaN and the infinities


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=Number, parse_float=Number, parse_constant=_no_constant
)  # fmt: skip
