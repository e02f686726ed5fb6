"""The canonical form of a definition and its two hashes.

RFC 8785: members ordered by UTF-16 code units, strings escaped in the one short way, no white space. Unlike RFC 8785,
number lexemes stay as received: JCS would fold 9007199254740993 into …992. An absent member is omitted, null is not
absent. Own reader, because library readers lose lexemes and duplicate keys. Linear, iterative, bounded in depth.
Fail closed: duplicate keys, invalid Unicode, anything that is not JSON or too deep raises `Uncanonical`.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from callgate.model.definition import Observed

MAX_DEPTH = 256
_CORE = {
    "tool": ("name", "description", "inputSchema"),
    "prompt": ("name", "description", "arguments"),
    "resource": ("uri", "name", "description"),
    "template": ("uriTemplate", "name", "description"),
}
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+)"')
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt]))')
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MUST_ESCAPE = re.compile(r'[\x00-\x1f"\\]')
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LITERALS = ("true", "false", "null")


class Uncanonical(ValueError):
    """The text has no canonical form; the message says why."""


class _Lexeme(str):
    """A number or literal, as it stands."""

    __slots__ = ()


def canonical(raw: bytes) -> bytes:
    """The canonical form of one JSON value. Raises `Uncanonical`."""
    return _write(_read(raw)).encode("utf-8")


def fingerprint(kind: str, name: str, raw: bytes) -> Observed:
    """A definition with its hashes (hex SHA-256). What has no canonical form is quarantined.

    `core` covers the members that tell an agent what to call, `full` all of them. `name` is the member under which
    the upstream lists it ("" for instructions, whose `raw` is a JSON string).
    """
    try:
        value = _read(raw)
        full = _hash(_write(value))
        core = full if not isinstance(value, dict) else _hash(_write(_part(kind, value)))
        return Observed(kind=kind, name=name, raw=raw, core=core, full=full)
    except Uncanonical as error:
        digest = hashlib.sha256(raw).hexdigest()
        return Observed(kind=kind, name=name, raw=raw, core=digest, full=digest, quarantined=str(error))


def _part(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in _CORE.get(kind, ()) if key in value}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# -- reading -----------------------------------------------------------------------------------------------------


def _read(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Uncanonical("it is not valid UTF-8") from None
    return _Reader(text).read()


class _Reader:
    """Reads one JSON value without recursion. Open containers stand on a stack."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[tuple[Any, str]] = []  # container, and the key that waits for its value

    def read(self) -> Any:
        while True:
            value = self._value()
            done, value = self._place(value)
            if done:
                self._skip()
                if self._at != len(self._text):
                    raise Uncanonical("there is more text after the value")
                return value

    def _skip(self) -> str:
        """Skip white space and look at the next character."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        """The next scalar or empty container; descends into containers that are not empty."""
        while True:
            char = self._skip()
            if char == '"':
                return self._string()
            if char not in ("{", "["):
                return self._scalar()
            self._at += 1
            container: Any = {} if char == "{" else []
            if self._skip() == ("}" if char == "{" else "]"):
                self._at += 1
                return container
            if len(self._open) >= MAX_DEPTH:
                raise Uncanonical(f"it is nested deeper than {MAX_DEPTH} levels")
            self._open.append((container, self._key(container) if char == "{" else ""))

    def _place(self, value: Any) -> tuple[bool, Any]:
        """Put a finished value into its container; close what ends. True when the outermost value is done."""
        while self._open:
            container, key = self._open[-1]
            if isinstance(container, dict):
                container[key] = value
            else:
                container.append(value)
            char = self._skip()
            self._at += 1
            if char == ",":
                following = self._key(container) if isinstance(container, dict) else ""
                self._open[-1] = (container, following)
                return False, None
            if char != ("}" if isinstance(container, dict) else "]"):
                raise Uncanonical("it is not valid JSON")
            self._open.pop()
            value = container
        return True, value

    def _key(self, container: dict[str, Any]) -> str:
        if self._skip() != '"':
            raise Uncanonical("it is not valid JSON")
        key = self._string()
        if key in container:
            raise Uncanonical("an object has the same member twice")
        if self._skip() != ":":
            raise Uncanonical("it is not valid JSON")
        self._at += 1
        return key

    def _scalar(self) -> _Lexeme:
        match = _NUMBER.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
            return _Lexeme(match.group())
        for literal in _LITERALS:
            if self._text.startswith(literal, self._at):
                self._at += len(literal)
                return _Lexeme(literal)
        raise Uncanonical("it is not valid JSON")

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise Uncanonical("it is not valid JSON")
        self._at = match.end()
        inner = match[1]
        if "\\" not in inner:
            return inner
        try:
            joined = _ESCAPE.sub(_unescape, inner)
            return joined.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise Uncanonical("a string holds half of a surrogate pair") from None


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _SHORT[match[2]]


# -- writing -----------------------------------------------------------------------------------------------------


def _write(value: Any) -> str:
    """The canonical text, without recursion: a stack of what is still to be written."""
    out: list[str] = []
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _Text):
            out.append(item.text)
        elif isinstance(item, dict):
            _push(todo, [(key, item[key]) for key in sorted(item, key=_utf16)], "{", "}", _member)
        elif isinstance(item, list):
            _push(todo, item, "[", "]", _element)
        else:
            out.append(item if isinstance(item, _Lexeme) else _quote(item))
    return "".join(out)


class _Text:
    """Text that goes out as it is."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _push(todo: list[Any], items: list[Any], start: str, end: str, expand: Callable[[Any, bool], list[Any]]) -> None:
    parts: list[Any] = [_Text(start)]
    for number, item in enumerate(items):
        parts += expand(item, number == 0)
    parts.append(_Text(end))
    todo.extend(reversed(parts))


def _member(item: tuple[str, Any], first: bool) -> list[Any]:
    return [_Text(("" if first else ",") + _quote(item[0]) + ":"), item[1]]


def _element(item: Any, first: bool) -> list[Any]:
    return [item] if first else [_Text(","), item]


def _utf16(key: str) -> bytes:
    """RFC 8785, section 3.2.3: members are ordered by UTF-16 code units."""
    return key.encode("utf-16-be")


def _quote(text: str) -> str:
    return '"' + _MUST_ESCAPE.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return _ESCAPED.get(char) or f"\\u{ord(char):04x}"
