"""The canonical form of a definition and its two hashes.

RFC 8785: members ordered by UTF-16 code units, strings escaped in the one short way, no white space. Unlike RFC 8785,
number lexemes stay as received: JCS would fold 9007199254740993 into …992. An absent member is omitted, null is not
absent. The standard library's scanner reads, with hooks that keep lexemes and see every member; linear, and bounded in
depth before anything descends. Fail closed: duplicate keys, invalid Unicode, anything that is not JSON or too deep
raises `Uncanonical`.
"""

import hashlib
import json
from collections.abc import Iterable
from json.encoder import encode_basestring  # escapes as RFC 8785, section 3.2.2.2, says
from typing import Any, NoReturn

from callgate.errors import Refused
from callgate.model.definition import Observed
from callgate.wire import jsonrpc

MAX_DEPTH = 256
_CORE = {
    "tool": ("name", "description", "inputSchema"),
    "prompt": ("name", "description", "arguments"),
    "resource": ("uri", "name", "description"),
    "template": ("uriTemplate", "name", "description"),
}


class Uncanonical(ValueError):
    """The text has no canonical form; the message says why."""


class _Lexeme(str):
    """A number, as it stands."""

    __slots__ = ()


def canonical(raw: bytes) -> bytes:
    """The canonical form of one JSON value. Raises `Uncanonical`."""
    return _encoded(_write(_read(raw)))


def fingerprint(kind: str, name: str, raw: bytes) -> Observed:
    """A definition with its hashes (hex SHA-256). What has no canonical form is quarantined.

    `core` covers the members that tell an agent what to call, `full` all of them. `name` is the member under which
    the upstream lists it ("" for instructions, whose `raw` is a JSON string).
    """
    try:
        value = _read(raw)
        if isinstance(value, dict):
            members = {key: _member(key, value[key]) for key in _ordered(value)}
            full = _hash(_object(members.values()))
            core = _hash(_object(text for key, text in members.items() if key in _CORE.get(kind, ())))
        else:
            core = full = _hash(_write(value))
        return Observed(kind=kind, name=name, raw=raw, core=core, full=full)
    except Uncanonical as error:
        digest = hashlib.sha256(raw).hexdigest()
        return Observed(kind=kind, name=name, raw=raw, core=digest, full=digest, quarantined=str(error))


def body(kind: str, raw: bytes) -> str | None:
    """A hash over all but the name, by which a renamed definition is known again; None for what has no name to lose."""
    members = _members(raw)
    if members is None or kind not in ("tool", "prompt") or "name" not in members:
        return None
    return _hash(_write({key: value for key, value in members.items() if key != "name"}))


def same_but_texts(approved: bytes, other: bytes) -> bool:
    """Whether two tools differ in nothing but what people and models read at the top: `description` and `title`.

    Everything else, the whole input schema with its own texts included, has the same canonical form. What cannot be
    read for certain differs.
    """
    one, two = _members(approved), _members(other)
    return one is not None and two is not None and _write(_textless(one)) == _write(_textless(two))


def _members(raw: bytes) -> dict[str, Any] | None:
    try:
        value = _read(raw)
    except Uncanonical:
        return None
    return value if isinstance(value, dict) else None


def _textless(tool: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in tool.items() if key not in ("description", "title")}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != "title"}
    return kept


def _hash(text: str) -> str:
    return hashlib.sha256(_encoded(text)).hexdigest()


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Uncanonical("a string holds half of a surrogate pair") from None


# -- reading -----------------------------------------------------------------------------------------------------


def _read(raw: bytes) -> Any:
    try:
        jsonrpc.check_depth(raw, MAX_DEPTH)
        return _DECODER.decode(raw.decode("utf-8"))
    except Refused:
        raise Uncanonical(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise Uncanonical("it is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        more = error.msg == "Extra data"
        raise Uncanonical("there is more text after the value" if more else "it is not valid JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Uncanonical("an object has the same member twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise Uncanonical("it is not valid JSON")  # NaN and the infinities


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_Lexeme, parse_float=_Lexeme, parse_constant=_no_constant
)  # fmt: skip


# -- writing -----------------------------------------------------------------------------------------------------


def _write(value: Any) -> str:
    """The canonical text. What was read is at most `MAX_DEPTH` deep, and so is this."""
    if isinstance(value, dict):
        return _object(_member(key, value[key]) for key in _ordered(value))
    if isinstance(value, list):
        return f"[{','.join([_write(item) for item in value])}]"
    if isinstance(value, str):
        return value if isinstance(value, _Lexeme) else encode_basestring(value)
    return "null" if value is None else "true" if value else "false"


def _object(members: Iterable[str]) -> str:
    return f"{{{','.join(members)}}}"


def _member(key: str, value: Any) -> str:
    return f"{encode_basestring(key)}:{_write(value)}"


def _ordered(value: dict[str, Any]) -> list[str]:
    """RFC 8785, section 3.2.3: members are ordered by UTF-16 code units."""
    if all(map(str.isascii, value)):
        return sorted(value)
    return sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
