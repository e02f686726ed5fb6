"""What a change of one keyword of JSON Schema (2020-12, validation vocabulary) does to the values that a schema takes.

Each rule takes the place, the keyword and both sides (`MISSING` where absent) and yields the edits; none if they are
equal.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from callgate.fingerprints.kinds import Edit
from callgate.fingerprints.place import Place, is_prose, unruled
from callgate.fingerprints.tree import MISSING, Number, dump

Rule = Callable[[Place, str, Any, Any], Iterator[Edit]]

_FLOORS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_CEILINGS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_LOOSE_IS_WORSE = frozenset({"pattern", "format", "enum", "const", "maxLength", "additionalProperties"})
_LONGEST_NUMBER = 100


def loosened(place: Place, key: str, old: Any, new: Any) -> Edit:
    severity = "medium" if key in _LOOSE_IS_WORSE else "low"
    return place.edit("constraint_loosened", place.path.at(key), (old, new), severity=severity)


def tightened(place: Place, key: str, old: Any, new: Any) -> Edit:
    return place.edit("constraint_tightened", place.path.at(key), (old, new))


def _appeared(place: Place, key: str, old: Any, new: Any) -> Edit:
    """A limit that came or went."""
    return tightened(place, key, old, new) if old is MISSING else loosened(place, key, old, new)


def same_meaning(place: Place, key: str, old: Any, new: Any) -> Edit:
    said = "{label} says the same in another way."
    return place.edit("changed", place.path.at(key), (old, new), severity="info", what=said)


def _bound(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    if old == new:
        return
    if old is MISSING or new is MISSING:
        yield _appeared(place, key, old, new)
        return
    before, after = _decimal(old), _decimal(new)
    if before is None or after is None:
        yield place.edit("constraint_changed", place.path.at(key), (old, new))
    elif before == after:
        yield same_meaning(place, key, old, new)
    else:
        up = after > before
        yield (tightened if up == (key in _FLOORS) else loosened)(place, key, old, new)


def _decimal(value: Any) -> Decimal | None:
    if not isinstance(value, Number) or len(value.lexeme) > _LONGEST_NUMBER:
        return None
    try:
        return Decimal(value.lexeme)
    except InvalidOperation:
        return None


def _shape(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    """pattern, format, multipleOf, uniqueItems and the like."""
    if old == new:
        return
    if old is MISSING or new is MISSING:
        yield _appeared(place, key, old, new)
    elif isinstance(old, bool) and isinstance(new, bool):
        yield (tightened if new else loosened)(place, key, old, new)
    else:
        yield place.edit("constraint_changed", place.path.at(key), (old, new))


def _type(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    if old == new:
        return
    path, before, after = place.path.at(key), _types(old), _types(new)
    if before is None or after is None:
        yield place.edit("type_changed", path, (old, new))
    elif before == after:
        yield same_meaning(place, key, old, new)
    elif before < after:
        yield place.edit("type_widened", path, (old, new))
    elif after < before:
        yield place.edit("type_narrowed", path, (old, new))
    else:
        yield place.edit("type_changed", path, (old, new))


_ALL_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})


def _types(value: Any) -> frozenset[str] | None:
    """The types that it takes; every number takes integers too."""
    if value is MISSING:
        return _ALL_TYPES
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in listed):
        return None
    found = frozenset(listed)
    return found | {"integer"} if "number" in found else found


def _enum(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    if old == new:
        return
    if old is MISSING or new is MISSING:
        yield _appeared(place, key, old, new)
        return
    if not (isinstance(old, list) and isinstance(new, list)):
        yield from unruled(place, place.path.at(key), old, new)
        return
    before, after = {dump(one) for one in old}, {dump(one) for one in new}
    if before == after:
        yield same_meaning(place, key, old, new)
        return
    for at, value in enumerate(old):
        if dump(value) not in after:
            yield place.edit("enum_value_removed", place.path.at(key).at(at), (value, MISSING))
    for at, value in enumerate(new):
        if dump(value) not in before:
            severity = "medium" if is_prose(value) else "low"
            yield place.edit("enum_value_added", place.path.at(key).at(at), (MISSING, value), severity=severity)


def _value(kind: str) -> Rule:
    """A keyword with a value of the tool's own: a default, an example."""

    def rule(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
        if old == new:
            return
        severity = "medium" if "medium" in (_weight(old), _weight(new)) else ""
        yield place.edit(kind, place.path.at(key), (old, new), severity=severity)

    return rule


def _weight(value: Any) -> str:
    prose = value is not MISSING and (" " in dump(value) or not dump(value).isascii())
    return "medium" if prose else "low"


def _text(kind: str) -> Rule:
    """A keyword whose text is read."""

    def rule(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
        if all(side is MISSING or isinstance(side, str) for side in (old, new)):
            if old != new:
                yield place.edit(kind, place.path.at(key), (old, new))
        else:
            yield from unruled(place, place.path.at(key), old, new)

    return rule


def _reference(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    """References are compared as texts; none is ever followed."""
    if old == new:
        return
    outside = isinstance(new, str) and not new.startswith("#")
    if outside:
        said = "{label} points to a schema outside of the definition, which was not looked at."
        yield place.edit("reference_changed", place.path.at(key), (old, new), severity="high", what=said)
    else:
        yield place.edit("reference_changed", place.path.at(key), (old, new))


RULES: dict[str, Rule] = {
    **dict.fromkeys([*_FLOORS, *_CEILINGS], _bound),
    **dict.fromkeys(["pattern", "format", "multipleOf", "uniqueItems", "contentEncoding", "contentMediaType"], _shape),
    **dict.fromkeys(["$ref", "$dynamicRef", "$recursiveRef", "$id", "$schema"], _reference),
    "type": _type,
    "enum": _enum,
    "const": _value("const_changed"),
    "default": _value("default_changed"),
    "examples": _value("examples_changed"),
    "description": _text("description_changed"),
    "title": _text("title_changed"),
}
