"""JSON Schema (2020-12) for arguments and structured content: compiled once, never fetched, patterns in linear time.

Fail closed: a schema that refers to somewhere else, or holds a pattern that takes more than linear time, is refused at
save; whatever cannot be read is not valid.
"""

import json
from functools import lru_cache
from typing import Any, NoReturn

import jsonschema_rs

from callgate.errors import Refused

MAX_SCHEMA = 64 * 1024  # bytes
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=1_000_000)
Validator = Any  # jsonschema_rs.Draft202012Validator: the library has no types that mypy can see here


class Elsewhere(Exception):
    """A schema refers to something that would have to be fetched."""


def _never(uri: str) -> NoReturn:
    raise Elsewhere(uri)


@lru_cache(maxsize=2048)
def validator(schema: bytes) -> Validator:
    """A compiled schema. Raises `Refused("validation")` with what is wrong."""
    if len(schema) > MAX_SCHEMA:
        raise Refused("validation", f"the schema holds at most {MAX_SCHEMA:,} bytes.")
    try:
        return jsonschema_rs.Draft202012Validator(
            json.loads(schema), retriever=_never, validate_formats=True, pattern_options=_PATTERNS
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        said = str(error).partition("\n")[0][:200]
        raise Refused("validation", f"this is no JSON Schema that can be used here: {said}") from None


def valid(schema: bytes, value: object) -> bool:
    """Whether a value is valid. Raises `Refused` as `validator`."""
    try:
        return bool(validator(schema).is_valid(value))
    except (ValueError, RecursionError, OverflowError):
        return False
