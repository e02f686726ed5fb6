"""Redirect URIs: which may be registered, and whether one that a client names is one of its own. Pure.

Compared as text, to the letter, but for the port of a loopback address (RFC 8252, section 7.3). Fail closed: plain http
to anything but loopback, fragments, user information and schemes that browsers run are refused.
"""

import re
from urllib.parse import SplitResult, urlsplit

from callgate.oauth.faults import OAuthError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MOST = 10
_LONGEST = 2000
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_RUN = frozenset(
    {"javascript", "data", "vbscript", "blob", "about", "file", "filesystem", "ws", "wss", "ftp", "view-source"}
)


def check(uri: str) -> None:
    """Raise `OAuthError("invalid_redirect_uri")` for a URI that may not be registered."""
    wrong = _wrong(uri)
    if wrong:
        raise OAuthError("invalid_redirect_uri", wrong)


def _wrong(uri: str) -> str:
    if len(uri) > _LONGEST or not uri.isascii() or not uri.isprintable() or any(char in uri for char in ' "<>\\^`{|}'):
        return "A redirect URI is too long or holds characters that a URI must not hold."
    parts = _split(uri)
    if parts is None or not _SCHEME.fullmatch(parts.scheme):
        return "A redirect URI is no absolute URI."
    if "#" in uri or "@" in parts.netloc:
        return "A redirect URI must not have a fragment or user information."
    if parts.scheme in _RUN:
        return f"A redirect URI must not have the scheme {parts.scheme}."
    if parts.scheme == "http" and not is_loopback(uri):
        return "A redirect URI over plain http must lead to 127.0.0.1, [::1] or localhost."
    if parts.scheme == "https" and not parts.hostname:
        return "A redirect URI has no host."
    return ""


def fits(given: str, registered: tuple[str, ...]) -> bool:
    """Whether a redirect URI is one of those that were registered."""
    return any(given == own or _same_but_port(given, own) for own in registered)


def is_loopback(uri: str) -> bool:
    """Whether it leads to a program on the person's own machine."""
    parts = _split(uri)
    return parts is not None and parts.scheme == "http" and parts.hostname in LOOPBACK


def shown(uri: str) -> str:
    """What a person is told of where they are sent: host and port, or the scheme of a program's own."""
    parts = _split(uri)
    if parts is None:
        return uri
    return parts.netloc if parts.scheme in ("http", "https") else f"a program that handles {parts.scheme}: links"


def _same_but_port(given: str, own: str) -> bool:
    """What could not be registered does not fit either: browsers read `http://evil.test\\@127.0.0.1/` differently."""
    if _wrong(given) or not (is_loopback(given) and is_loopback(own)):
        return False
    return _portless(given) == _portless(own)


def _portless(uri: str) -> tuple[str, str, str, str]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname or "", parts.path, parts.query


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  raises for a port that is none
    except ValueError:
        return None
    return parts
