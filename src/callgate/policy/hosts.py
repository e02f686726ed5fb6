"""Hosts that a JSON value names: in URLs, in mail addresses, and in members that are there for a host. Pure.

Written so that what is not sure of being an allowed host is not one: `\\` counts as `/`, what stands before the last
`@` is no host, text in other scripts is compared in its encoded form (RFC 5891), an escape makes a host odd.
Fail closed: an odd host is named by `ODD`, which no list allows. No pattern takes more than linear time.
"""

import json
import re
from collections.abc import Iterable, Iterator

import re2

ODD = "(odd)"
MAX_DEPTH = 200
_AUTHORITY = r"""[^\s/?#"'<>`]"""
_URL = re2.compile(r"(?i)(?:\b([a-z][a-z0-9+.\-]{0,31}):)?/{2,}(" + _AUTHORITY + "+)")
_MAIL = re2.compile(r"""[A-Za-z0-9._%+'\-]@([^\s@/?#"'<>`,;:)\]]+)""")
_MEMBERS = frozenset({"host", "hostname", "domain", "server", "endpoint", "url", "uri", "address", "origin", "remote"})
_BARE = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]]+)(?::\d{1,5})?")
_PLAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]")
_LONGEST = 512  # more is no host
_LOCAL = frozenset({"file"})  # schemes whose authority is a path as it is written in practice


def hosts(value: object, name: str = "", depth: int = 0) -> Iterator[str]:
    """Every host, once for each text that names it. Raises `RecursionError` for what is too deep."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        yield from _of_text(value, name, depth)
    elif isinstance(value, list):
        for item in value:
            yield from hosts(item, name, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _of_text(key, "", depth)
            yield from hosts(item, key, depth + 1)


def _of_text(text: str, name: str, depth: int) -> Iterable[str]:
    if text[:1] in ("{", "[") and len(text) > 1:
        try:
            yield from hosts(json.loads(text), name, depth + 1)
        except ValueError:
            pass
        else:
            return
    yield from dict.fromkeys(_named(text, name))  # each once, however it is found


def _named(text: str, name: str) -> Iterator[str]:
    plain = text.replace("\\", "/")
    for scheme, authority in _URL.findall(plain):
        if scheme.lower() not in _LOCAL:
            yield host(authority)
    for domain in _MAIL.findall(plain):
        yield host(domain)
    if name.lower() in _MEMBERS and _BARE.fullmatch(text.strip()) and "//" not in plain:
        yield host(text.strip())


def host(authority: str) -> str:
    """The host of an authority (RFC 3986, section 3.2), in lower case and encoded; `ODD` for what is none."""
    found = authority.rpartition("@")[2].lower()[:_LONGEST]
    if found.startswith("["):
        found = found.partition("]")[0] + "]"
    else:
        name, colon, port = found.rpartition(":")
        if colon and (port.isdecimal() or not port):
            found = name
        found = found.rstrip(".,;)!")
    if not found.isascii():
        try:
            found = found.encode("idna").decode()
        except (UnicodeError, ValueError):
            return ODD
    return found if _PLAIN.fullmatch(found) else ODD
