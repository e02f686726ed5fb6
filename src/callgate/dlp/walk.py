"""Values within JSON: every string, every member name and every long number, each at its JSON Pointer (RFC 6901). Pure.

A string is read with the name of its member before it, since `"password": "…"` tells what the value alone does not. A
string that holds JSON is read as JSON; one that holds JSON with escapes or text in base64 is read decoded too, and what
is found in there is the whole string, or the stretch of base64.
Fail closed: what is deeper than MAX_DEPTH raises `TooDeep`.
"""

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from callgate.dlp.engine import Match, matches
from callgate.dlp.paths import escaped
from callgate.dlp.redact import NAMED, Redaction, replaced
from callgate.errors import Refused
from callgate.wire import jsonrpc

MAX_DEPTH = 200
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_BASE64_MOST = 64 * 1024  # characters
_URL_SAFE = str.maketrans("-_", "+/")
_NAME_MOST = 60
_SMALL = 4096  # bytes up to which a walk costs next to nothing
_BATCH = 16 * 1024
_NEAR = 4  # levels
_WHOLE = Match(NAMED, "personal", 0, 0)  # a number or a truth value
_STRUCTURED = "/structuredContent"
_ENCODE = msgspec.json.encode


class TooDeep(Exception):
    """JSON is nested deeper than can be searched."""


class Located(msgspec.Struct, frozen=True):
    """A match in the string, number or member name at a pointer; `key` says that it is the name."""

    path: str
    match: Match
    key: bool = False


def found_in(value: object, path: str = "", depth: int = 0, name: str = "") -> Iterator[Located]:
    """What stands in a JSON value (as `json.loads` gives it). Raises `TooDeep`, `engine.TooMany`."""
    if depth > MAX_DEPTH:
        raise TooDeep
    if isinstance(value, str):
        yield from (Located(path, one) for one in _of_text(value, name))
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        yield from (Located(path, one) for one in matches(str(value)))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from found_in(item, f"{path}/{at}", depth + 1, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            place = f"{path}/{escaped(key)}"
            yield from (Located(place, one, key=True) for one in matches(key))
            yield from found_in(item, place, depth + 1, key)


def redacted_json(raw: bytes, how: Redaction, root: str = "") -> tuple[bytes, tuple[Match, ...]]:
    """A JSON value with what was found replaced, as raw JSON; all else keeps its spelling, numbers too.

    A number that is replaced becomes 0 and a truth value false, so that types stay. Of a member that is given twice
    the last one is left. `root` is the JSON Pointer of the value. Raises `TooDeep`, `engine.TooMany`, `ValueError` or
    `Refused` for what is no JSON.
    """
    walk = _Walk(how)
    if walk.passes(raw, _Place(root)):
        return raw, ()
    return walk.value(raw, _Place(root)), tuple(walk.done)


def _batches(items: list[bytes]) -> Iterator[tuple[int, int]]:
    """Items in runs of about so many bytes."""
    start = size = 0
    for end, item in enumerate(items, 1):
        size += len(item)
        if size >= _BATCH or end == len(items):
            yield start, end
            start, size = end, 0


def clean(raw: bytes, name: str = "") -> bool:
    """Whether it is certain that nothing is found in a JSON value: all its texts are searched as one, in a fraction of
    the time of a walk. Members that are given twice are all looked at. Raises `ValueError`, `RecursionError`."""
    lines: list[str] = []
    _lines(raw.decode("utf-8", "surrogatepass"), lines, 0, name)
    text = "\n".join(lines)
    return not matches(text) and next(iter(_of_base64(text)), None) is None


def _lines(text: str, lines: list[str], depth: int, own: str = "") -> None:
    """Every name and every scalar of a JSON text on a line of its own, values with their member's name before them."""
    if depth > MAX_DEPTH:
        raise TooDeep
    nested: list[str] = []

    def add(name: str, value: object) -> None:
        if isinstance(value, str):
            if value[:1] in ("{", "["):
                nested.append(value)
            lines.append(f"{name}: {value}" if len(name) <= _NAME_MOST else value)
        elif isinstance(value, list):
            for item in value:
                add(name, item)

    def members(pairs: list[tuple[str, object]]) -> None:
        for name, value in pairs:
            lines.append(name)
            add(name, value)

    found = json.loads(text, object_pairs_hook=members, parse_int=str, parse_float=str)
    add(own, found)
    for one in nested:
        with contextlib.suppress(ValueError):
            _lines(one, lines, depth + 1)


class _Place(NamedTuple):
    """Where a walk is. `named` says that all of it is to be replaced, since a member or a path says so."""

    path: str = ""
    depth: int = 0
    name: str = ""
    named: bool = False


class _Walk:
    """One walk over raw JSON; `done` is what it has replaced."""

    def __init__(self, how: Redaction) -> None:
        self._how = how
        self.done: list[Match] = []

    def value(self, raw: bytes, at: _Place) -> bytes:
        """A value with its values replaced."""
        if at.depth > MAX_DEPTH:
            raise TooDeep
        begins = raw.lstrip()[:1]
        if begins == b"{":
            return self._object(raw, at)
        if begins == b"[":
            return _ENCODE([msgspec.Raw(one) for one in self._array(raw, at)])
        if begins == b'"':
            return self._string(raw, at)
        if begins in (b"t", b"f", b"n"):
            self.done += [_WHOLE] * (at.named and begins == b"t")
            return b"false" if at.named and begins == b"t" else raw
        found = (_WHOLE,) if at.named else tuple(matches(raw.decode()))
        wanted = [one for one in found if self._how.wants(one, raw.decode())]
        self.done += wanted
        return b"0" if wanted else raw

    def passes(self, raw: bytes, at: _Place) -> bool:
        """Whether a large value can be left as it is without a walk. Near the root only: each look reads all of it."""
        asked = self._how.members or self._how.paths or at.named
        return len(raw) > _SMALL and at.depth <= _NEAR and not asked and clean(raw, at.name)

    def _array(self, raw: bytes, at: _Place) -> Iterator[bytes]:
        """The items of an array. Many small ones are looked at together first: most hold nothing."""
        items = [bytes(item) for item in jsonrpc.elements(raw)]
        for start, end in _batches(items):
            together = items[start:end]
            if self.passes(b"[" + b",".join(together) + b"]", at):
                yield from together
                continue
            for number, item in enumerate(together, start):
                yield self.value(item, self._below(at, str(number), at.name))

    def _object(self, raw: bytes, at: _Place) -> bytes:
        members: dict[str, bytes] = {}
        for key, value in jsonrpc.members(raw).items():
            shown, of_key = replaced(key, matches(key), self._how)
            self.done += of_key
            members[shown] = self.value(bytes(value), self._below(at, key, key))
        return jsonrpc.joined(members)

    def _below(self, at: _Place, key: str, name: str) -> _Place:
        named = at.named or (name == key and key.lower() in self._how.members)
        if not self._how.paths:
            return _Place("", at.depth + 1, name, named)
        path = f"{at.path}/{escaped(key)}"
        return _Place(path, at.depth + 1, name, named or any(one.fullmatch(path) for one in self._how.paths))

    def _string(self, raw: bytes, at: _Place) -> bytes:
        text = json.loads(raw)  # takes halves of surrogate pairs, too
        if at.named:
            found: tuple[Match, ...] = (Match(NAMED, "personal", 0, len(text)),) if text else ()
        else:
            inner = self._nested(text)
            if inner is not None:
                return json.dumps(inner).encode()
            found = _of_text(text, at.name)
        shown, wanted = replaced(text, found, self._how)
        self.done += wanted
        return json.dumps(shown).encode() if wanted else raw

    def _nested(self, text: str) -> str | None:
        """A text that is JSON itself, with its values replaced; None where it is none, or nothing was found in it (of a
        member that is given twice the text as a whole may still hold something).

        Servers send structured content as a text beside it, so paths take such a text for it.
        """
        if text[:1] not in ("{", "[") or len(text) < 2:
            return None
        try:
            inner, within = redacted_json(text.encode("utf-8", "surrogatepass"), self._how, _STRUCTURED)
        except (ValueError, RecursionError, Refused):
            return None
        self.done += within
        return inner.decode("utf-8", "surrogatepass") if within else None


def _of_text(text: str, name: str) -> tuple[Match, ...]:
    """What stands in a string, with its member's name as context."""
    lead = f"{name}: " if name and len(name) <= _NAME_MOST else ""
    found = tuple(
        Match(one.detector, one.kind, one.start - len(lead), one.end - len(lead))
        for one in matches(lead + text)
        if one.start >= len(lead)
    )
    if found:
        return found
    if text[:1] in ("{", "[") and "\\" in text:
        within = next(_of_json(text), None)
        return () if within is None else (Match(within.detector, within.kind, 0, len(text)),)
    return tuple(_of_base64(text))


def _of_json(text: str) -> Iterator[Match]:
    """What stands in a string that is JSON itself."""
    try:
        yield from (one.match for one in found_in(json.loads(text)))
    except (ValueError, RecursionError, TooDeep):
        return


def _of_base64(text: str) -> Iterator[Match]:
    """The stretches of base64 that hold something once they are decoded."""
    for run in _BASE64.finditer(text):
        letters = run[0].rstrip("=")
        if len(letters) > _BASE64_MOST:
            continue
        try:
            plain = base64.b64decode(letters.translate(_URL_SAFE) + "=" * (-len(letters) % 4)).decode()
        except (binascii.Error, ValueError):
            continue
        within = next(iter(matches(plain)), None)
        if within is not None:
            yield Match(within.detector, within.kind, run.start(), run.end())
