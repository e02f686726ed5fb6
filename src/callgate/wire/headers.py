"""The `Mcp-*` headers of 2026-07-28: value codec, and the check of headers against the body.

Source: specification 2026-07-28, /basic/transports/streamable-http, "Request Metadata". Fail closed: a duplicated
routing header, a sentinel that does not decode or any difference from the body is a `header_mismatch`.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

import msgspec

from callgate.errors import Refused
from callgate.wire import eras, jsonrpc

VERSION = "mcp-protocol-version"
METHOD = "mcp-method"
NAME = "mcp-name"
PARAM_PREFIX = "mcp-param-"
SESSION = "mcp-session-id"
ROUTING = frozenset({VERSION, METHOD, NAME, SESSION})
# what decides who asks, for what and how the body is read; nobody sends it twice by accident
_ONCE = ROUTING | {"host", "authorization", "origin", "content-type", "content-length"}

_SENTINEL = re.compile(r"=\?base64\?([A-Za-z0-9+/]*={0,2})\?=")
_LOOKS_SENTINEL = re.compile(r"=\?base64\?.*\?=", re.DOTALL)
_PLAIN = re.compile(r"[\x20-\x7e]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?")
_SAFE_INTEGER = 2**53 - 1

Path = tuple[str, ...]


def encode_value(value: str) -> str:
    """A header value; what would not survive as plain ASCII is wrapped as `=?base64?…?=`."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _LOOKS_SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode('ascii')}?="


def decode_value(value: str) -> str | None:
    """The inverse of `encode_value`; None for a broken sentinel (so that it matches nothing)."""
    if not _LOOKS_SENTINEL.fullmatch(value):
        return value
    match = _SENTINEL.fullmatch(value)
    if match is None:
        return None
    try:
        decoded = base64.b64decode(match[1], validate=True)
        same = base64.b64encode(decoded).decode("ascii") == match[1]
        return decoded.decode("utf-8") if same else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def check_duplicates(names: Iterable[str]) -> None:
    """Refuse a deciding header that came twice (first-copy and last-copy readers would differ)."""
    seen: set[str] = set()
    for name in names:
        if name in seen and (name in _ONCE or name.startswith(PARAM_PREFIX)):
            raise Refused("header_mismatch", f"The header {name} came more than once.")
        seen.add(name)


def check_modern(headers: Mapping[str, str], version: str, method: str, params: Mapping[str, msgspec.Raw]) -> None:
    """Refuse a modern request whose routing headers are missing or differ from the body."""
    if headers.get(VERSION) != version:
        raise Refused("header_mismatch", "MCP-Protocol-Version does not match the version in the body's _meta.")
    if headers.get(METHOD) != method:
        raise Refused("header_mismatch", "Mcp-Method does not match the method in the body.")
    member = eras.NAME_MEMBERS.get(method)
    if member is None:
        return
    value = headers.get(NAME)
    decoded = None if value is None else decode_value(value)
    if decoded is None or decoded != jsonrpc.text(params.get(member, b"")):
        raise Refused("header_mismatch", f"Mcp-Name does not match params.{member} in the body.")


def mirrored_paths(input_schema: object) -> dict[Path, str]:
    """`x-mcp-header` annotations of a tool's input schema: property path → header token.

    Only properties that are reached through `properties` alone count, as the specification says; annotations that
    break its rules are left out.
    """
    found: dict[Path, str] = {}
    stack: list[tuple[Path, object]] = [((), input_schema)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        token = node.get("x-mcp-header")
        primitive = node.get("type") in ("string", "integer", "boolean")
        if path and primitive and isinstance(token, str) and _TOKEN.fullmatch(token):
            found[path] = token
        properties = node.get("properties")
        if isinstance(properties, dict):
            stack.extend(((*path, str(name)), sub) for name, sub in properties.items())
    return found


def mirrored_values(paths: Mapping[Path, str], arguments: object) -> dict[str, str]:
    """The `Mcp-Param-*` headers (lower-case name → encoded value) that a call with these arguments carries."""
    values: dict[str, str] = {}
    for path, token in paths.items():
        rendered = _render(_at(arguments, path))
        if rendered is not None:
            values[PARAM_PREFIX + token.lower()] = encode_value(rendered)
    return values


def check_mirrored(headers: Mapping[str, str], paths: Mapping[Path, str], arguments: object) -> None:
    """Refuse `Mcp-Param-*` headers that the schema declares and that are missing or differ from the arguments."""
    for path, token in paths.items():
        name = PARAM_PREFIX + token.lower()
        value = _at(arguments, path)
        expected = _render(value)
        given = headers.get(name)
        if expected is None and given is None:
            continue
        number = not isinstance(value, (str, bool))
        if given is None or expected is None or not _same(decode_value(given), expected, number):
            raise Refused("header_mismatch", f"The header {name} does not match the argument it mirrors.")


def _at(node: object, path: Path) -> object:
    for key in path:
        if not isinstance(node, dict):
            return None
        node = node.get(key)
    return node


def _render(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) <= _SAFE_INTEGER else None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) <= _SAFE_INTEGER else str(value)
    return value if isinstance(value, str) else None


def _same(given: str | None, expected: str, number: bool) -> bool:
    if given == expected:
        return True
    if not number or given is None or _NUMBER.fullmatch(given) is None:
        return False
    return float(given) == float(expected)  # a number may be written 42 or 42.0
