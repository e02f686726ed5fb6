"""Where in a schema the walk is, and how to speak of it; and differences that no rule knows."""

from collections.abc import Iterator
from typing import Any

import msgspec

from callgate.fingerprints.kinds import Edit, at_least, at_most, edit, plain_kind, quoted
from callgate.fingerprints.tree import ROOT, Path, differences

TEXT_KINDS = frozenset({"description_changed", "title_changed"})


class Place(msgspec.Struct, frozen=True):
    """`output` for the schema of results: what changes there matters less, but for texts. `names` lead to a member."""

    path: Path = ROOT
    output: bool = False
    names: tuple[str, ...] = ()
    depth: int = 0

    def at(self, *names: object, member: str | None = None) -> "Place":
        """One schema further down."""
        path = self.path
        for name in names:
            path = path.at(name)
        inner = self.names if member is None else (*self.names, member)
        return Place(path, self.output, inner, self.depth + 1)

    def label(self) -> str:
        if not self.names:
            return "the result" if self.output else "the input"
        return ("the member " if self.output else "the parameter ") + quoted(*self.names)

    def edit(self, kind: str, path: Path, sides: tuple[Any, Any], *, severity: str = "", what: str = "") -> Edit:
        found = edit(kind, path, sides, self.label(), severity=severity, what=what)
        if self.output and kind not in TEXT_KINDS:
            return msgspec.structs.replace(found, severity=at_most(found.severity, "low"))
        return found


def unruled(place: Place, path: Path, old: Any, new: Any) -> Iterator[Edit]:
    """Every leaf that differs: nothing is known of what it means, but a text may be meant for a model."""
    for where, was, now in differences(path, old, new):
        severity = at_least("low", "medium") if is_prose(now) else "low"
        names = where.names()
        what = f"{{label}} differs in {_safe(quoted(names[-1]))}." if names else ""
        yield place.edit(plain_kind(was, now), where, (was, now), severity=severity, what=what)


def is_prose(value: Any) -> bool:
    """A text of more than one word, or in a script that has no spaces."""
    return isinstance(value, str) and (" " in value.strip() or not value.isascii())


def _safe(text: str) -> str:
    """A text inside a template."""
    return text.replace("{", "{{").replace("}", "}}")
