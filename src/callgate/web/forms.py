"""Bodies of `application/x-www-form-urlencoded`, and query strings, read strictly.

Fail closed: a body that is too large, of another type, not UTF-8, or that names a parameter twice is refused
(RFC 6749, sections 3.1 and 3.2: parameters must not be included more than once).
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from callgate.errors import Refused

MAX_BYTES = 64 * 1024
_FIELDS = 64


async def read_form(request: Request, repeated: frozenset[str] = frozenset()) -> dict[str, str]:
    """The fields of a posted form; for `repeated` see `fields`.

    Raises `Refused`: unsupported_media_type, body_too_large, validation.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused("unsupported_media_type", "Content-Type must be application/x-www-form-urlencoded.")
    return fields((await read_body(request)).decode("utf-8", "replace"), repeated)


async def read_body(request: Request, most: int = MAX_BYTES) -> bytes:
    """The whole body. Raises `Refused("body_too_large")`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refused("body_too_large", f"The body is larger than {most} bytes.")
    return bytes(body)


def fields(text: str, repeated: frozenset[str] = frozenset()) -> dict[str, str]:
    """Parameters by name. Those in `repeated` may come more often; the first counts. Raises `Refused("validation")`."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError:
        raise Refused("validation", "The parameters are not valid, or too many.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found and name not in repeated:
            raise Refused("validation", f"The parameter `{printable(name)}` stands there twice.")
        if "\x00" in value:
            raise Refused("validation", f"The parameter `{printable(name)}` holds a NUL character.")
        found.setdefault(name, value)
    return found


def printable(text: str, most: int = 60) -> str:
    """A text of a stranger, fit for a sentence."""
    return "".join(char for char in text[:most] if char.isprintable())


def needed(form: Mapping[str, str], name: str) -> str:
    """A parameter that has to be there. Raises `Refused("validation")`."""
    value = form.get(name, "")
    if not value:
        raise Refused("validation", f"The parameter `{name}` is missing.")
    return value
