"""Cookies of this gateway's own pages (RFC 6265bis).

Over https every name has the prefix `__Host-`: sent over TLS alone, to this host alone, on every path, and no other
host of the domain can set it. Over plain http, which is for loopback, browsers do not take that prefix.
"""

from collections.abc import Iterator, Mapping
from itertools import count, takewhile

from starlette.responses import Response

SESSION = "callgate-session"
_MOST = 3800  # characters of a value
VISIT = "callgate-visit"  # of a browser that is not signed in yet
SIGN_IN = "callgate-sign-in-"  # a sign-in at a provider that is under way; each has its own, for people have tabs


def named(name: str, secure: bool) -> str:
    """The name as it goes over the wire."""
    return f"__Host-{name}" if secure else name


def read(cookies: Mapping[str, str], name: str, secure: bool) -> str | None:
    """The value of a cookie, with all its parts."""
    return "".join(cookies[part] for part in _parts(cookies, name, secure)) or None


def write(response: Response, name: str, value: str, *, secure: bool, seconds: float) -> None:
    """Set a cookie that no script reads. `lax`: it comes along when a provider sends the browser back. Browsers drop
    one of more than 4,096 bytes, so a long value goes in parts."""
    for number, at in enumerate(range(0, len(value), _MOST)):
        response.set_cookie(
            _part(name, secure, number), value[at : at + _MOST], max_age=int(seconds), path="/", secure=secure,
            httponly=True, samesite="lax",
        )  # fmt: skip


def drop(response: Response, name: str, *, secure: bool, given: Mapping[str, str] | None = None) -> None:
    """Take a cookie back, of which a browser has `given` these parts."""
    for part in {_part(name, secure, 0), *_parts(given or {}, name, secure)}:
        response.delete_cookie(part, path="/", secure=secure, httponly=True, samesite="lax")


def _part(name: str, secure: bool, number: int) -> str:
    return f"{named(name, secure)}.{number}" if number else named(name, secure)


def _parts(cookies: Mapping[str, str], name: str, secure: bool) -> Iterator[str]:
    return takewhile(cookies.__contains__, (_part(name, secure, number) for number in count()))
