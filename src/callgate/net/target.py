"""Parsing of http and https URLs into what is needed to connect and to ask.

Fail closed: whatever two parsers could read in two ways is refused: user information, fragments, backslashes, spaces,
control and non-ASCII characters, numeric host forms other than a plain dotted quad, zone ids, odd ports.
(WHATWG URL Standard "ends in a number"; RFC 3986 §3.2; RFC 9110 §4.2.4 on user information.)
"""

import ipaddress
import re
from dataclasses import dataclass, field

from callgate.net.errors import EgressRefused

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PATH = re.compile(r"[!$-;=?-\[\]_a-z~|%]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_URL = 8192


@dataclass(frozen=True, slots=True)
class Target:
    """`host` is a lower-case name, or an address without brackets; `path` is in origin form with its query.

    `origin` (scheme, host and port in one text) is what connections are shared by.
    """

    scheme: str
    host: str
    port: int
    path: str
    host_header: str
    origin: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", f"{self.scheme}://{self.host}|{self.port}")


def parse_target(url: str) -> Target:
    """Read a URL. Raises `EgressRefused` with what is wrong and what to write instead."""
    _check_characters(url)
    match = _URL.fullmatch(url)
    if match is None:
        if "#" in url:
            raise EgressRefused("The URL has a fragment (#…); leave it out.")
        raise EgressRefused("The URL is not of the form http(s)://host[:port]/path.")
    scheme = match["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise EgressRefused(f"The scheme {scheme} is not supported; use https or http.")
    host, port = _authority(match["authority"], _DEFAULT_PORTS[scheme])
    path = (match["path"] or "/") + (match["query"] or "")
    if _PATH.fullmatch(path) is None:
        raise EgressRefused("The URL's path has characters that must be percent-encoded.")
    shown = f"[{host}]" if ":" in host else host
    host_header = shown if port == _DEFAULT_PORTS[scheme] else f"{shown}:{port}"
    return Target(scheme=scheme, host=host, port=port, path=path, host_header=host_header)


def _check_characters(url: str) -> None:
    if len(url) > _MAX_URL:
        raise EgressRefused(f"The URL is longer than {_MAX_URL} characters.")
    if not url.isascii():
        raise EgressRefused("The URL has characters outside ASCII; write the host in its xn-- form, the path encoded.")
    if any(char <= " " or char == "\x7f" for char in url):
        raise EgressRefused("The URL has a space or a control character.")
    if "\\" in url:
        raise EgressRefused("The URL has a backslash; use / instead.")


def _authority(text: str, default_port: int) -> tuple[str, int]:
    if "@" in text:
        raise EgressRefused("The URL names a user or a password; configure a credential instead.")
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise EgressRefused("The IPv6 address in the URL is not closed by ].")
        return _ipv6(inner), _port(rest[1:] if rest else None, default_port)
    host, colon, port = text.partition(":")
    return _host(host.lower()), _port(port if colon else None, default_port)


def _port(text: str | None, default_port: int) -> int:
    if text is None:
        return default_port
    if _PORT.fullmatch(text) is None or int(text) > 65535:
        raise EgressRefused("The URL's port is not a number from 1 to 65535.")
    return int(text)


def _ipv6(text: str) -> str:
    if "%" in text:
        raise EgressRefused("The URL's address has a zone id (%…), which is not supported.")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise EgressRefused("The URL's host is not a valid IPv6 address.") from None


def _host(host: str) -> str:
    if not host:
        raise EgressRefused("The URL has no host.")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise EgressRefused("The URL's host is a number; write it as a dotted quad such as 192.0.2.1.") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EgressRefused("The URL's host is not a valid host name.")
    return host
