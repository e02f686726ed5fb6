"""What changed between two JSON Schemas (2020-12) of a tool: which parameters, of which types, within which limits.

A walk over both at once. No `$ref` is followed, least of all over a network. Below a depth that honest schemas do not
reach, and wherever a keyword is unknown or malformed, leaves are compared: nothing that differs is passed over.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from callgate.fingerprints.constraints import RULES, loosened, same_meaning, tightened
from callgate.fingerprints.kinds import Edit
from callgate.fingerprints.place import Place, unruled
from callgate.fingerprints.tree import MISSING, dump

_DEEPEST = 32
_DEEPEST_MATCH = 6  # below it alternatives are paired by position
_SUBSCHEMAS = frozenset({
    "items", "additionalItems", "unevaluatedItems", "unevaluatedProperties", "propertyNames", "contains", "not", "if",
    "then", "else", "contentSchema",
})  # fmt: skip
_MAPS = frozenset({"$defs", "definitions", "patternProperties", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SENSITIVE = re.compile(
    r"(?i)pass(?:word|phrase|wd|code)|secret|token|api_?-?key|credential|cookie|session|private|\bssh|\bpin\b|cvv|cvc"
    r"|wallet|seed|histor|conversation|transcript|context|prompt|reasoning|thought|memor|bcc|callback|webhook|url|uri|command|cmd|shell"
    r"|exec|script|code|env|path|file|header|note|hint|meta"
)


def schema(place: Place, old: Any, new: Any) -> Iterator[Edit]:
    """Every difference of two schemas; none if they are equal."""
    if not (isinstance(old, dict) and isinstance(new, dict)) or place.depth > _DEEPEST:
        yield from unruled(place, place.path, old, new)
        return
    yield from _members(place, old, new)
    for key in sorted({**old, **new}.keys() - {"properties", "required"}):
        was, now = old.get(key, MISSING), new.get(key, MISSING)
        found = False
        for one in _keyword(place, key, was, now):
            found = True
            yield one
        if not found and was != now:
            yield same_meaning(place, key, was, now)


def _keyword(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    if key in RULES:
        return RULES[key](place, key, old, new)
    if key == "additionalProperties":
        return _open(place, key, old, new)
    if key in _SUBSCHEMAS:
        return _subschema(place, key, old, new)
    if key in _MAPS and _both(dict, old, new):
        return _map(place, key, old, new)
    if key in _LISTS and _both(list, old, new):
        return _branches(place, key, old, new)
    return unruled(place, place.path.at(key), old, new)


def _both(kind: type, old: Any, new: Any) -> bool:
    """Both are of the kind, or one is and the other absent; an empty one does not stand for an absent one."""
    sides = [side for side in (old, new) if side is not MISSING]
    return all(isinstance(side, kind) for side in sides) and (len(sides) == 2 or bool(sides[0]))


# -- members of an object --------------------------------------------------------------------------------------------


def _members(place: Place, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Edit]:
    was, now = old.get("properties", MISSING), new.get("properties", MISSING)
    required = old.get("required", MISSING), new.get("required", MISSING)
    if was is MISSING and now is MISSING:
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
    elif _both(dict, was, now):
        before, after = ({} if side is MISSING else side for side in (was, now))
        yield from _properties(place, before, after, required[1])
    else:
        before, after = {}, {}
        yield from unruled(place, place.path.at("properties"), was, now)
    yield from _required(place, required, before.keys() - after.keys(), after.keys() - before.keys())


def _properties(place: Place, old: dict[str, Any], new: dict[str, Any], required: Any) -> Iterator[Edit]:
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    for name in {**old, **new}:
        here = place.at("properties", name, member=name)
        if name not in new:
            kind = "member_removed" if place.output else "parameter_removed"
            yield here.edit(kind, here.path, (old[name], MISSING))
        elif name not in old:
            yield _added(here, name, new[name], name in needed)
        else:
            yield from schema(here, old[name], new[name])


def _added(here: Place, name: str, new: Any, required: bool) -> Edit:
    sides = (MISSING, new)
    if here.output:
        return here.edit("member_added", here.path, sides)
    if required:
        said = "{label} is new and required: a model has to fill it."
        return here.edit("parameter_added", here.path, sides, severity="high", what=said)
    if _SENSITIVE.search(name):
        said = "{label} is new, and its name asks for something that matters."
        return here.edit("parameter_added", here.path, sides, severity="medium", what=said)
    if _takes_any_text(new):
        said = "{label} is new and takes any text."
        return here.edit("parameter_added", here.path, sides, severity="medium", what=said)
    return here.edit("parameter_added", here.path, sides)


def _takes_any_text(found: Any) -> bool:
    """A string without limits, or a container in which one may be."""
    if not isinstance(found, dict):
        return found is not False
    if found.keys() & {"enum", "const"}:
        return False
    kinds = found.get("type", "string")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds or "array" in kinds:
        return True
    return "string" in kinds and not found.keys() & {"format", "pattern"}


def _required(place: Place, sides: tuple[Any, Any], gone: set[str], fresh: set[str]) -> Iterator[Edit]:
    """What is asked for and was not, and the reverse. Of members that came or went, that was said already."""
    old, new = sides
    if not all(side is MISSING or _names(side) for side in sides):
        yield from unruled(place, place.path.at("required"), old, new)
        return
    before, after = ([] if side is MISSING else side for side in sides)
    asked, known = set(after), set(before)
    if asked == known and old != new:
        yield same_meaning(place, "required", old, new)
    path = place.path.at("required")
    for at, name in enumerate(before):
        if name not in asked and name not in gone:
            yield place.at(member=name).edit("parameter_became_optional", path.at(at), (name, MISSING))
    for at, name in enumerate(after):
        if name not in known and name not in fresh:
            yield place.at(member=name).edit("parameter_became_required", path.at(at), (MISSING, name))


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


# -- schemas within a schema -----------------------------------------------------------------------------------------


def _open(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    """additionalProperties: whether members that nobody declared may come along."""
    if isinstance(old, dict) and isinstance(new, dict):
        yield from schema(place.at(key), old, new)
    elif old != new:
        before, after = _openness(old), _openness(new)
        if before == after:
            yield same_meaning(place, key, old, new)
        else:
            yield (loosened if after > before else tightened)(place, key, old, new)


def _openness(value: Any) -> int:
    return 0 if value is False else 1 if isinstance(value, dict) and value else 2


def _subschema(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from schema(place.at(key), old, new)
    elif old is MISSING:
        yield tightened(place, key, old, new)
    elif new is MISSING:
        yield loosened(place, key, old, new)
    else:
        yield from unruled(place, place.path.at(key), old, new)


def _map(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    before, after = ({} if side is MISSING else side for side in (old, new))
    for name in {**before, **after}:
        here = place.at(key, name)
        if name not in after:
            yield here.edit("definition_removed", here.path, (before[name], MISSING))
        elif name not in before:
            yield here.edit("definition_added", here.path, (MISSING, after[name]))
        else:
            yield from schema(here, before[name], after[name])


def _branches(place: Place, key: str, old: Any, new: Any) -> Iterator[Edit]:
    """Alternatives that are the same on both sides are taken out, the rest are compared in pairs."""
    before, after = (list(enumerate([] if side is MISSING else side)) for side in (old, new))
    if place.depth <= _DEEPEST_MATCH and key != "prefixItems":
        before, after = _without(before, after), _without(after, before)
    for (_, was), (at, now) in zip(before, after, strict=False):
        yield from schema(place.at(key, at), was, now)
    for at, was in before[len(after) :]:
        here = place.at(key, at)
        yield here.edit("branch_removed", here.path, (was, MISSING))
    for at, now in after[len(before) :]:
        here = place.at(key, at)
        yield here.edit("branch_added", here.path, (MISSING, now))


def _without(these: list[tuple[int, Any]], those: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Those of the first that the second has not got, each counted once."""
    have = Counter(dump(value) for _, value in those)
    left = []
    for at, value in these:
        text = dump(value)
        if have[text]:
            have[text] -= 1
        else:
            left.append((at, value))
    return left
