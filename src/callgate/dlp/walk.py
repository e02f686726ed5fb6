"""Values within JSON: every string, every member name and every long number, each at its JSON Pointer (RFC 6901). Pure.

A string is read with the name of its member before it, since `"password": "…"` tells what the value alone does not. A
string that holds JSON with escapes, or text in base64, is read decoded too: what is found in there is the whole string.
Fail closed: what is deeper than MAX_DEPTH raises `TooDeep`.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator

import msgspec

from callgate.dlp.engine import Match, matches
from callgate.dlp.redact import Redaction

MAX_DEPTH = 200
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_BASE64_MOST = 64 * 1024  # characters
_NAME_MOST = 60


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
            place = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            yield from (Located(place, one, key=True) for one in matches(key))
            yield from found_in(item, place, depth + 1, key)


def redacted_value(value: object, how: Redaction, depth: int = 0, name: str = "") -> tuple[object, tuple[Match, ...]]:
    """The value with what was found replaced; names of members keep their place. Raises `TooDeep`, `engine.TooMany`."""
    if depth > MAX_DEPTH:
        raise TooDeep
    if isinstance(value, str):
        return _redacted_text(value, how, name)
    if isinstance(value, int) and not isinstance(value, bool):
        text, done = _redacted_text(str(value), how, "")
        return (text if done else value), done
    if isinstance(value, list):
        parts = [redacted_value(item, how, depth + 1, name) for item in value]
        return [part for part, _ in parts], tuple(one for _, done in parts for one in done)
    if isinstance(value, dict):
        members: dict[str, object] = {}
        all_done: list[Match] = []
        for key, item in value.items():
            shown, of_key = _redacted_text(key, how, "")
            members[shown], done = redacted_value(item, how, depth + 1, key)
            all_done += [*of_key, *done]
        return members, tuple(all_done)
    return value, ()


def _of_text(text: str, name: str) -> tuple[Match, ...]:
    """What stands in a string, with its member's name as context."""
    lead = f"{name}: " if name and len(name) <= _NAME_MOST else ""
    moved = tuple(
        Match(one.detector, one.kind, one.start - len(lead), one.end - len(lead))
        for one in matches(lead + text)
        if one.start >= len(lead)
    )
    if moved:
        return moved
    within = next(_wrapped(text), None)
    return () if within is None else (Match(within.detector, within.kind, 0, len(text)),)


def _wrapped(text: str) -> Iterator[Match]:
    """What is found once a string is decoded, one layer."""
    if text[:1] in "{[" and "\\" in text:
        try:
            yield from (one.match for one in found_in(json.loads(text)))
        except (ValueError, RecursionError, TooDeep):
            return
    elif len(text) <= _BASE64_MOST and _BASE64.fullmatch(text):
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if re.search("[-_]", text) else None)
            yield from matches(plain.decode())
        except (binascii.Error, ValueError):
            return


def _redacted_text(text: str, how: Redaction, name: str) -> tuple[str, tuple[Match, ...]]:
    done = tuple(one for one in _of_text(text, name) if how.wants(one, text[one.start : one.end]))
    parts, at = [], 0
    for one in done:
        parts += [text[at : one.start], how.instead(one, text[one.start : one.end])]
        at = one.end
    return "".join((*parts, text[at:])), done
