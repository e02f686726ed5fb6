"""Public names: `<upstream>__<tool>`, at most 64 characters of `[A-Za-z0-9_-]`, as model APIs accept.

Names are resolved by look-up, never by splitting. What does not fit, or would collide, gets a hash suffix. The same
input always gives the same candidates, in order of preference; the store gives each to one tool for ever.
"""

import hashlib
import re
from collections.abc import Iterator

MAX_LENGTH = 64
SEPARATOR = "__"
_ODD = re.compile(r"[^A-Za-z0-9_-]")


def plain(name: str) -> bool:
    """Whether clients pass this name on unchanged."""
    return bool(name) and len(name) <= MAX_LENGTH and _ODD.search(name) is None


def candidates(upstream: str, name: str) -> Iterator[str]:
    """Public names for a tool, best first. Unbounded: suffixes grow until one is free."""
    wanted = f"{upstream}{SEPARATOR}{_ODD.sub('_', name)}"
    digest = hashlib.sha256(f"{upstream}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()
    if plain(name) and len(wanted) <= MAX_LENGTH:
        yield wanted
    for length in range(8, len(digest) + 1, 4):
        suffix = "_" + digest[:length]
        yield wanted[: MAX_LENGTH - len(suffix)] + suffix if length < 56 else f"t_{digest[:60]}"


def folded(name: str) -> str:
    """What a client's own cleaning may make of a public name; two tools may not share this."""
    return _ODD.sub("_", name).lower()
