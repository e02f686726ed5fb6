"""Reading what a client sent: body, query and path parameters, each against its type.

Fail closed: too large, too deep, not JSON, of another media type, an unknown member or a wrong value is refused with
the place and a hint; nothing is guessed and no member is ignored.
"""

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from callgate.control.fields import PATH_PATTERNS, WORDS
from callgate.errors import Refused
from callgate.wire.jsonrpc import check_depth

StructT = TypeVar("StructT", bound=msgspec.Struct)
_UNKNOWN = re.compile(r"unknown field `(?P<field>[^`]*)`(?: - at `(?P<path>[^`]*)`)?")
_AT = re.compile(r" - at `(?P<path>\$[^`]*)`$")


def is_empty(request: Request) -> bool:
    """Whether a request comes without a body, by its head."""
    given = request.headers
    return "transfer-encoding" not in given and given.get("content-length", "0").strip() in ("", "0")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes. Raises `Refused`: unsupported_media_type, body_too_large."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused("unsupported_media_type")
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise Refused("body_too_large", f"The body is larger than {limit} bytes.")
            chunks.append(chunk)
    except ClientDisconnect:
        raise Refused("parse_error", "The body broke off.") from None
    return b"".join(chunks)


def decode(body: bytes, kind: type[StructT], max_depth: int) -> StructT:
    """A body as its type. Raises `Refused`: parse_error, body_too_deep, validation."""
    check_depth(body, max_depth)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Refused("validation", explain(str(error), kind), where(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("parse_error") from None


def convert(values: object, kind: type[StructT]) -> StructT:
    """A Python value (such as a governance file) as its type. Raises `Refused("validation")`."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise Refused("validation", explain(str(error), kind), where(str(error))) from None


def read_query(request: Request, kind: type[StructT]) -> StructT:
    """The query parameters as their type; each may come once. Raises `Refused("validation")`."""
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in values:
            raise Refused("validation", f"The parameter {name[:40]!a} came more than once.")
        if value.lower() == "null":  # the conversion below would take it for "not given"
            raise Refused("validation", f"Leave the parameter {name[:40]!a} out instead of sending null.")
        values[name] = value
    values.pop("tenant", None)  # belongs to the actor, see actor.py
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("validation", explain(str(error), kind), where(str(error))) from None


def check_path(resource: str, parameters: Mapping[str, str]) -> None:
    """Refuse a path parameter that no row can have. Raises `Refused("not_found")`."""
    for name, value in parameters.items():
        if re.search(PATH_PATTERNS[resource][name], value) is None:
            raise Refused("not_found")


def where(message: str) -> dict[str, object]:
    """The machine fields of a validation error: the place as a JSON path."""
    found = _AT.search(message)
    return {"path": found["path"]} if found else {}


def explain(message: str, kind: type) -> str:
    """A validation message as a sentence, with the nearest known name when a member is unknown."""
    unknown = _UNKNOWN.search(message)
    if unknown is None:
        return plainly(message) + "."
    place = unknown["path"] or "$"
    known = members_at(kind, place)
    near = difflib.get_close_matches(unknown["field"], known, 1)
    hint = f" Did you mean `{near[0]}`?" if near else f" Known here: {', '.join(known)}."
    return f"Unknown key `{unknown['field']}` at `{place}`.{hint}"


def plainly(message: str) -> str:
    """A validation message with words in the place of a regular expression."""
    for pattern, words in WORDS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", words)
    return message


def members_at(kind: object, place: str) -> list[str]:
    """The names that the struct at a JSON path (`$.rules[0].match`) knows."""
    info: object = msgspec.inspect.type_info(kind)
    for step in re.findall(r"\[[^\]]*\]|[^.\[\]$]+", place):
        info = _into(info, step)
    found = _struct(info)
    return [item.encode_name for item in found.fields] if found else []


def _struct(info: object) -> msgspec.inspect.StructType | None:
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return next((one for one in options if isinstance(one, msgspec.inspect.StructType)), None)


def _into(info: object, step: str) -> object:
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    for one in options:
        if step.startswith("["):
            inside = _element(one)
            if inside is not None:
                return inside
        elif isinstance(one, msgspec.inspect.StructType):
            return next((item.type for item in one.fields if item.encode_name == step), None)
    return None


def _element(info: object) -> object | None:
    if isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return info.item_type
    return info.value_type if isinstance(info, msgspec.inspect.DictType) else None
