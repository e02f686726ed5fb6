"""What changed between two versions of a definition: paths, kinds, severities, old and new values, word by word. Pure.

Attacker-chosen text is never interpreted: whatever has no shape of its own is shown by name, such as ⟨U+200B ZERO
WIDTH SPACE⟩, in paths too. A long text is cut around the first difference, never in front of it. Fail closed: a
version that cannot be read for certain (a member twice, say) is compared as one opaque text, and what had to be left
out is said and weighs more.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from callgate.fingerprints import words
from callgate.fingerprints.align import Budget
from callgate.fingerprints.facets import facets
from callgate.fingerprints.kinds import Edit, at_least, edit
from callgate.fingerprints.place import Place, unruled
from callgate.fingerprints.schemas import schema
from callgate.fingerprints.show import MAX_TEXT, LookAlikes, hides, visible
from callgate.fingerprints.tree import MISSING, ROOT, Opaque, Unreadable, dump, leaves, read, text_of
from callgate.fingerprints.words import Part
from callgate.model.finding import rank

__all__ = ["Change", "Part", "changes", "visible"]

MOST_CHANGES = 2000
_LEAD = 200  # characters shown in front of the first difference of long texts
_SCHEMAS = ("inputSchema", "outputSchema")


class Change(msgspec.Struct, frozen=True):
    """One difference. `path` is a JSON Pointer (RFC 6901), `kind` one of `kinds.KINDS`, `severity` one of
    `finding.SEVERITIES`: how much it matters to look. `parts` is the difference of texts, word by word; `what` one
    sentence for a person in a hurry."""

    path: str
    kind: str
    before: str | None = None
    after: str | None = None
    severity: str = "low"
    parts: tuple[Part, ...] = ()
    what: str = ""


def changes(before: bytes | None, after: bytes | None) -> tuple[Change, ...]:
    """Every difference between two raw definitions, in the order of the paths; of more than 2,000 the weightiest."""
    old, new = _value(before), _value(after)
    found = list(_edits(old, new))
    if not found and (old != new or (isinstance(old, Opaque) and before != after)):
        found = [edit("unreadable", ROOT, (old, new), "a difference that has no place of its own")]
    left_out = len(found) - MOST_CHANGES
    if left_out > 0:
        found = sorted(found, key=lambda one: -rank(one.severity))[:MOST_CHANGES]
        what = f"{left_out} more differences are not listed."
        found.append(edit("too_many", ROOT, (MISSING, MISSING), "", what=what))
    budget = Budget()
    return tuple(sorted((_change(one, budget) for one in found), key=lambda one: one.path))


def _value(raw: bytes | None) -> Any:
    if raw is None:
        return MISSING
    try:
        return read(raw)
    except Unreadable:
        return Opaque(raw.decode("utf-8", "backslashreplace"))


def _edits(old: Any, new: Any) -> Iterator[Edit]:
    if old is MISSING or new is MISSING:
        yield from _one_sided(old, new)
    elif isinstance(old, Opaque) or isinstance(new, Opaque):
        yield from _opaque(old, new)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from facets(*({key: sub for key, sub in side.items() if key not in _SCHEMAS} for side in (old, new)))
        for key in _SCHEMAS:
            place = Place(ROOT.at(key), output=key == "outputSchema")
            if key in old and key in new:
                yield from schema(place, old[key], new[key])
            else:
                yield from unruled(place, place.path, old.get(key, MISSING), new.get(key, MISSING))
    else:
        yield from facets(old, new)


def _one_sided(old: Any, new: Any) -> Iterator[Edit]:
    """A first version, or one that is gone."""
    what = "Nothing was approved that this could be compared with." if old is MISSING else "The version is gone."
    for side, kind in ((old, "removed"), (new, "added")):
        for path, leaf in leaves(ROOT, side):
            sides = (leaf, MISSING) if kind == "removed" else (MISSING, leaf)
            severity = "critical" if isinstance(leaf, Opaque) else "info"
            yield edit(kind, path, sides, "", severity=severity, what=what)


def _opaque(old: Any, new: Any) -> Iterator[Edit]:
    what = "This version cannot be read for certain; it is shown as one text."
    if type(old) is type(new):
        if old != new:
            yield edit("changed", ROOT, (old, new), "", severity="critical", what=what)
        return
    for path, leaf in leaves(ROOT, old):
        yield edit("removed", path, (leaf, MISSING), "", severity="critical", what=what)
    for path, leaf in leaves(ROOT, new):
        yield edit("added", path, (MISSING, leaf), "", severity="critical", what=what)


# -- showing -----------------------------------------------------------------------------------------------------


def _change(one: Edit, budget: Budget) -> Change:
    before, after = _both(one.old, one.new)
    parts, notes = _parts(one.old, one.new, budget)
    severity = at_least(one.severity, "high") if any(grave for grave, _ in notes) else one.severity
    what = " ".join([one.what, *(said for _, said in notes)])
    return Change(visible(one.path.pointer()), one.kind, before, after, severity, parts, what)


def _both(old: Any, new: Any) -> tuple[str | None, str | None]:
    """Both sides of a change so that the difference is in sight."""
    if old is MISSING or new is MISSING:
        return tuple(None if side is MISSING else visible(text_of(side)) for side in (old, new))  # type: ignore[return-value]
    if isinstance(old, str) != isinstance(new, str):  # 1 became "1": quotes tell them apart
        return _typed(old), _typed(new)
    was, now = text_of(old), text_of(new)
    start = 0
    if max(len(was), len(now)) > MAX_TEXT:
        start = max(0, words.shared(was, now) - _LEAD)
    return visible(was, start), visible(now, start)


def _typed(value: Any) -> str:
    text = visible(text_of(value))
    return f'"{text}"' if isinstance(value, str) else text


def _parts(old: Any, new: Any, budget: Budget) -> tuple[tuple[Part, ...], list[tuple[bool, str]]]:
    """The difference of two texts, and what is to be said of it (with whether that is grave)."""
    was, now = (_prose(side) for side in (old, new))
    if was is None and now is None:
        return (), []
    budget.coarse = False
    exact = words.diff(was or "", now or "", budget) if _alike(old, new) else _replaced(old, new)
    added = "".join(part.text for part in exact if part.op == "added")
    notes = []
    if hides(added) or _leaves_hide(new):
        notes.append((True, "It has characters that nobody sees."))
    if LookAlikes(now or "").found(added):
        notes.append((True, "It has letters that pass for others."))
    shown = words.shown(exact, now or "")
    if any(part.op == "cut" and part.text.endswith("not shown)") for part in shown):
        notes.append((True, "It is too long to be shown in full."))
    if budget.coarse:
        notes.append((False, "The two differ too much to be compared word by word throughout."))
    return shown, notes


def _alike(old: Any, new: Any) -> bool:
    """Two strings, two containers, or one side alone: quotes and brackets do not count as a difference."""
    return old is MISSING or new is MISSING or isinstance(old, str) == isinstance(new, str)


def _replaced(old: Any, new: Any) -> tuple[Part, ...]:
    """A text that became another kind of value: quotes tell them apart."""
    sides = (("removed", old), ("added", new))
    return tuple(Part(op, side.text if isinstance(side, Opaque) else dump(side)) for op, side in sides)


def _leaves_hide(value: Any) -> bool:
    """A string within hides something: JSON has escapes for control characters, which would pass for plain text."""
    return isinstance(value, dict | list) and any(
        isinstance(leaf, str) and hides(leaf) for _, leaf in leaves(ROOT, value)
    )


def _prose(value: Any) -> str | None:
    """The text of a side, if it is one: a string, or what is more than a number or a truth value."""
    return text_of(value) if isinstance(value, str | Opaque) or (isinstance(value, dict | list) and value) else None
