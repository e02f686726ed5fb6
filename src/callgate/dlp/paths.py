"""JSONPath (RFC 9535) as a test on places: names, `*`, indexes and `..`; no filters, slices or negative indexes. Pure.

A path becomes a pattern over JSON Pointers (RFC 6901), so that a walk asks it about each place in linear time. Fail
closed: what is not understood is refused when it is written, never taken for a path that matches nothing.
"""

import re
from functools import lru_cache

import re2

from callgate.errors import Refused

_STEP = re.compile(
    r"(?P<deep>\.\.)?(?:\.?(?P<name>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)|\.?(?P<star>\*)"
    r"|\.?\[\s*(?:\*|(?P<index>0|[1-9][0-9]{0,8})|'(?P<single>[^'\\]*)'|\"(?P<double>[^\"\\]*)\")\s*\])"
)
_MOST = 50  # steps


@lru_cache(maxsize=4096)
def compiled(text: str) -> "re2._Regexp[str]":
    """What tells whether a JSON Pointer is one of the places. Raises `Refused("validation")`."""
    pattern, at, steps = "", 1, 0
    while text[:1] == "$" and at < len(text) and steps < _MOST:
        step = _STEP.match(text, at)
        if step is None or step.end() == at or not _begins(text, at, deep=step["deep"] is not None):
            break
        pattern += ("(?:/[^/]*)*" if step["deep"] else "") + "/" + _part(step)
        at, steps = step.end(), steps + 1
    if not pattern or at < len(text):
        raise Refused("validation", f"`{text[:60]}` is no path that is understood here; write $.a.b, $.a[*].b or $..b.")
    return re2.compile(pattern)


def _begins(text: str, at: int, *, deep: bool) -> bool:
    """Whether a step begins as one: with a dot, dots or a bracket."""
    return deep or text[at] in ".["


def _part(step: "re.Match[str]") -> str:
    if step["index"] is not None:
        return step["index"]
    name = next((step[group] for group in ("name", "single", "double") if step[group] is not None), None)
    return "[^/]*" if name is None else re2.escape(escaped(name))


def escaped(name: str) -> str:
    """The name of a member as it stands in a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")
