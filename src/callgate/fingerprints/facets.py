"""What changed outside of the schemas: name, texts, annotations, and what is passed along with a definition.

Annotations are claims of the server (MCP 2025-11-25, server/tools, ToolAnnotations). Clients ask less before they
call a tool that only reads, so both ways matter: what it now admits, and what it now claims.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from callgate.fingerprints.kinds import Edit, edit, plain_kind, quoted
from callgate.fingerprints.place import is_prose
from callgate.fingerprints.tree import MISSING, ROOT, Path, differences


class _Hint(msgspec.Struct, frozen=True):
    """`absent` is what the specification takes it for when it is not said; the rest is for the new value."""

    absent: bool
    true: tuple[str, str]
    false: tuple[str, str]


_HINTS = {
    "readOnlyHint": _Hint(
        False,
        ("medium", "The tool now claims that it only reads."),
        ("high", "The tool no longer says that it only reads."),
    ),
    "destructiveHint": _Hint(
        True,
        ("high", "The tool may now destroy something."),
        ("medium", "The tool now claims that it destroys nothing."),
    ),
    "openWorldHint": _Hint(
        True,
        ("medium", "The tool now reaches things outside of its own system."),
        ("low", "The tool now claims that it stays within its own system."),
    ),
    "idempotentHint": _Hint(
        False,
        ("low", "The tool now claims that calling it twice does no more than calling it once."),
        ("medium", "Calling the tool twice may now do more than calling it once."),
    ),
}
_PASSED_ALONG = frozenset({"_meta", "icons", "execution"})


def facets(old: Any, new: Any) -> Iterator[Edit]:
    """Every leaf that differs between two definitions without their schemas."""
    for path, was, now in differences(ROOT, old, new):
        yield _facet(path, path.names(), (was, now))


def _facet(path: Path, names: list[str], sides: tuple[Any, Any]) -> Edit:
    match names:
        case ["name"]:
            return edit("name_changed", path, sides, "the tool")
        case ["description"]:
            return edit("description_changed", path, sides, "the tool")
        case ["title"] | ["annotations", "title"]:
            return edit("title_changed", path, sides, "the tool")
        case ["annotations", hint] if hint in _HINTS:
            return _hint(path, _HINTS[hint], sides)
        case ["arguments", _, "description"]:
            return edit("description_changed", path, sides, "an argument")
        case ["uri"] | ["uriTemplate"]:
            what = "What is read is at another address."
            return edit(plain_kind(*sides), path, sides, "", severity="high", what=what)
        case []:
            severity = "medium" if is_prose(sides[1]) else ""
            return edit(plain_kind(*sides), path, sides, "the definition", severity=severity)
        case _:
            severity = "info" if names[0] in _PASSED_ALONG and not is_prose(sides[1]) else ""
            return edit(plain_kind(*sides), path, sides, quoted(*names), severity=severity)


def _hint(path: Path, hint: _Hint, sides: tuple[Any, Any]) -> Edit:
    kind = plain_kind(*sides)
    before, after = (hint.absent if side is MISSING else side for side in sides)
    if not (isinstance(before, bool) and isinstance(after, bool)):
        return edit(kind, path, sides, "an annotation", severity="medium", what="An annotation is not true or false.")
    if before == after:
        return edit(kind, path, sides, "", severity="info", what="It says what was the case without saying it.")
    severity, what = hint.true if after else hint.false
    return edit(kind, path, sides, "", severity=severity, what=what)
