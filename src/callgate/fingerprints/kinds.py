"""The kinds of change, how much each weighs, and the sentence for a person in a hurry. docs/drift.md lists them.

A severity says how much it matters to look, not that something is wrong.
"""

from typing import Any

import msgspec

from callgate.fingerprints.show import neutral
from callgate.fingerprints.tree import MISSING, Path
from callgate.model.finding import rank

_MOST_NAME = 60


class Kind(msgspec.Struct, frozen=True):
    """`says` is a template; `label` stands for what is spoken of."""

    severity: str
    says: str


KINDS = {
    "added": Kind("low", "{label} is new."),
    "removed": Kind("low", "{label} is gone."),
    "changed": Kind("low", "{label} has another value."),
    "name_changed": Kind("high", "{label} has another name: it may pass for something else."),
    "title_changed": Kind("medium", "{label} has another title."),
    "description_changed": Kind("medium", "The text that a model reads about {label} is not the same."),
    "parameter_added": Kind("low", "{label} is new."),
    "parameter_removed": Kind("low", "{label} is gone."),
    "parameter_became_required": Kind("medium", "{label} is now required: a model has to fill it."),
    "parameter_became_optional": Kind("low", "{label} is no longer required."),
    "member_added": Kind("low", "{label} is new."),
    "member_removed": Kind("low", "{label} is gone."),
    "definition_added": Kind("low", "{label} has a further part of its schema."),
    "definition_removed": Kind("low", "{label} has lost a part of its schema."),
    "type_changed": Kind("medium", "{label} takes another type."),
    "type_widened": Kind("medium", "{label} takes more types than before."),
    "type_narrowed": Kind("low", "{label} takes fewer types than before."),
    "enum_value_added": Kind("low", "{label} takes one more value."),
    "enum_value_removed": Kind("low", "{label} takes one value less."),
    "const_changed": Kind("medium", "{label} has to be another fixed value."),
    "default_changed": Kind("medium", "{label} has another default: it is sent when nobody says otherwise."),
    "examples_changed": Kind("low", "{label} has other examples, which a model may copy."),
    "constraint_loosened": Kind("low", "{label} may hold more than before."),
    "constraint_tightened": Kind("low", "{label} may hold less than before."),
    "constraint_changed": Kind("medium", "{label} has to fit something else than before."),
    "branch_added": Kind("medium", "{label} has one more alternative or condition."),
    "branch_removed": Kind("low", "{label} has one alternative or condition less."),
    "reference_changed": Kind("medium", "{label} points to another schema."),
    "unreadable": Kind("critical", "{label} cannot be read for certain; it is compared as one text."),
    "too_many": Kind("high", "{label} has more differences than can be listed."),
}


class Edit(msgspec.Struct, frozen=True):
    """A change as the walk found it, not yet safe to look at. A side that is absent is `MISSING`."""

    path: Path
    kind: str
    old: Any
    new: Any
    severity: str
    what: str


def edit(kind: str, path: Path, sides: tuple[Any, Any], label: str, *, severity: str = "", what: str = "") -> Edit:
    """An edit with the severity and the sentence of its kind, unless there are better ones."""
    known = KINDS[kind]
    said = (what or known.says).format(label=label)
    return Edit(path, kind, *sides, severity or known.severity, said[:1].upper() + said[1:])


def plain_kind(old: Any, new: Any) -> str:
    """added, removed or changed."""
    if old is MISSING:
        return "added"
    return "removed" if new is MISSING else "changed"


def quoted(*names: str) -> str:
    """Names that an upstream chose, safe and short: "a.b"."""
    shown = ".".join(neutral(name[:_MOST_NAME]) + ("…" if len(name) > _MOST_NAME else "") for name in names[-4:])
    return f'"{"…." if len(names) > 4 else ""}{shown}"'


def at_least(severity: str, least: str) -> str:
    return severity if rank(severity) >= rank(least) else least


def at_most(severity: str, most: str) -> str:
    return severity if rank(severity) <= rank(most) else most
