"""Keeping what was redacted valid under the tool's output schema, since clients reject what is not. Pure.

A placeholder can break a `format`, a `pattern`, a length or an `enum`. Then a stand-in that says nothing and fits is
put in its place. Text copies of structured content stay its copies.
Fail closed: what cannot be made to fit is withheld.
"""

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from callgate.errors import Refused
from callgate.policy.schemas import Validator, validator
from callgate.wire import jsonrpc

_TEXTS = (
    "redacted@redacted.invalid", "https://redacted.invalid/", "redacted.invalid", "1970-01-01T00:00:00Z", "1970-01-01",
    "00:00:00Z", "P0D", "00000000-0000-0000-0000-000000000000", "192.0.2.0", "::", "/", "",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 10, 100, 1000)
_LETTERS = "X0a#"
_LONGEST = 10_000
_WORK = 2_000_000  # bytes that may be looked through to mend one answer
_ERROR = 500  # what telling one error costs, in bytes
Path = tuple[str | int, ...]
_UNFIT = Refused("result_withheld", "What a rule redacts in this answer would break what the tool promises of it.")


def fitted(offered: bytes, before: bytes, after: bytes) -> bytes:
    """A result after redaction, with structured content that still is what its tool promises.

    `offered` is the tool's definition. Raises `Refused("result_withheld")`.
    """
    if before == after or b'"outputSchema"' not in offered or b'"structuredContent"' not in after:
        return after
    try:
        schema = validator(bytes(jsonrpc.members(offered)["outputSchema"]))
    except (Refused, KeyError):
        return after  # what cannot be checked here was not promised in a form that can be kept
    old, fields = jsonrpc.members(before), jsonrpc.members(after)
    if not schema.is_valid(json.loads(bytes(old.get("structuredContent", b"null")))):
        return after  # it was not valid before
    redacted = json.loads(bytes(fields["structuredContent"]))
    value = _made_valid(schema, redacted, len(bytes(fields["structuredContent"])))
    if value == redacted:
        return after
    fields["structuredContent"] = msgspec.Raw(_written(value).encode())
    if "content" in fields:
        blocks = [_copy(bytes(block), redacted, value) for block in jsonrpc.elements(fields["content"])]
        fields["content"] = msgspec.Raw(msgspec.json.encode([msgspec.Raw(block) for block in blocks]))
    return jsonrpc.joined(fields)


def _written(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # a number that no float holds
        raise _UNFIT from None


class _Looks:
    """Looks at a value of this size until so much was looked through, and then it is given up."""

    def __init__(self, schema: Validator, size: int) -> None:
        self._schema = schema
        self._size = size
        self._left = _WORK

    def errors(self, value: Any) -> Iterator[Any]:
        """What is not valid, one after the other. Raises `Refused`."""
        self._left -= self._size
        for error in self._schema.iter_errors(value):
            self._left -= _ERROR
            if self._left < 0:
                raise _UNFIT
            yield error


def _made_valid(schema: Validator, value: Any, size: int) -> Any:
    value, looks = copy.deepcopy(value), _Looks(schema, size)
    while (error := next(looks.errors(value), None)) is not None:
        if not _mended(looks, value, tuple(error.instance_path), _options(error.kind)):
            raise _UNFIT
    return value


def _options(kind: Any) -> list[Any]:
    """What the schema itself says would fit: the values of an enum, a text of the length that is asked for."""
    limit = getattr(kind, "limit", None)
    lengths = [letter * limit for letter in _LETTERS] if isinstance(limit, int) and 0 <= limit <= _LONGEST else []
    return [*getattr(kind, "options", ()), *lengths, *([limit] if limit is not None else [])]


def _mended(looks: _Looks, value: Any, path: Path, options: Iterable[Any]) -> bool:
    """Whether a stand-in at this place is valid there; it is left in place then."""
    if not path:
        return False
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    for candidate in _stand_ins(holder[path[-1]], options):
        holder[path[-1]] = candidate
        if all(tuple(error.instance_path) != path for error in looks.errors(value)):
            return True
    return False


def _stand_ins(old: Any, options: Iterable[Any]) -> Iterator[Any]:
    yield from options
    if isinstance(old, str):
        yield from _TEXTS
        for length in (len(old), 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 32, 36, 40, 64):
            for letter in _LETTERS:
                yield letter * length
    elif isinstance(old, int | float) and not isinstance(old, bool):
        yield from _NUMBERS
    elif isinstance(old, bool):
        yield not old
    yield None


def _copy(block: bytes, redacted: Any, value: Any) -> bytes:
    """A text block; one that is the structured content as a text becomes its new text."""
    fields = jsonrpc.members(block)
    text = jsonrpc.text(fields.get("text", b""))
    if not text or text[:1] not in ("{", "["):
        return block
    try:
        if json.loads(text) != redacted:
            return block
    except (ValueError, RecursionError):
        return block
    return jsonrpc.joined({**fields, "text": jsonrpc.encoded(_written(value))})
