"""The one way in which rules come into force: as a version, whole, after its tests.

Whoever changes a rule (a draft that is published, a single rule, a governance file, a roll-back) goes through here, so
that every version is kept with who made it and why. Fail closed: a set that fails a test, holds a rule that is not
valid, or was made from another version than the one in force changes nothing.
"""

from collections.abc import Iterable

import msgspec

from callgate import clock
from callgate.control.trying import finder
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.rule import Rule
from callgate.model.ruleset import RuleSet, Version
from callgate.policy.compile import CompiledRules, compile_rules
from callgate.policy.kill import is_switch
from callgate.policy.model import check
from callgate.policy.trial import failures
from callgate.store import options, rules, rulesets
from callgate.store.unit import Unit

DEFAULTS = ("allow", "deny")


async def publish(  # noqa: PLR0913  each of them is part of what a version is
    unit: Unit, view: Snapshot, actor: Actor, content: RuleSet, *, note: str, base: int | None = None,
    back_to: int | None = None, untested: bool = False,
) -> Version:  # fmt: skip
    """Put a rule set into force. `base` is the version that it was made from (None: the one in force); `untested`:
    in an emergency, past the stored tests.

    Raises `Refused`: conflict (another version is in force), validation, tests_failed.
    """
    before, known = await rulesets.in_force(unit)
    number = await unit.bump(rules.AGGREGATE)  # from here on no other version can come
    if (base is not None and base != before) or number != before + 1:
        raise Refused(
            "conflict",
            f"This was made from version {base if base is not None else before}, but version {number - 1} is in force "
            "now; take that as its base and look at the difference again.",
        )
    content = checked(content)
    if not untested:  # only who throws or ends a kill switch changes those that are in force
        content = with_switches(content, known)
        await tested(unit, view, content, number)
    await rulesets.keep_first(unit, before, known, clock.now())
    await _write(unit, known, content)
    version = Version(number, clock.now(), actor.id, note, back_to)
    await rulesets.put(unit, version, content)
    await record(unit, actor, "policies.publish", f"ruleset {number}", str(before), str(number))
    return version


async def change(  # noqa: PLR0913  as `publish`
    unit: Unit, view: Snapshot, actor: Actor, *, put: Iterable[Rule] = (), remove: Iterable[str] = (), note: str,
    untested: bool = False,
) -> Version:  # fmt: skip
    """Publish the set in force with these rules added or replaced, and these removed."""
    version, known = await rulesets.in_force(unit)
    kept = {rule.id: rule for rule in known.rules}
    for gone in remove:
        kept.pop(gone, None)
    kept |= {rule.id: rule for rule in put}
    content = msgspec.structs.replace(known, rules=tuple(kept.values()))
    return await publish(unit, view, actor, content, note=note, base=version, untested=untested)


def with_switches(content: RuleSet, known: RuleSet) -> RuleSet:
    """The content with the kill switches of what is in force, and no others: no draft, file or older version undoes an
    emergency."""
    plain = [rule for rule in content.rules if not is_switch(rule)]
    return msgspec.structs.replace(content, rules=(*plain, *filter(is_switch, known.rules)))


def checked(content: RuleSet) -> RuleSet:
    """The set itself, by id. Raises `Refused("validation")`."""
    for what, ids in (("rule", [one.id for one in content.rules]), ("test", [one.id for one in content.tests])):
        twice = next((one for one in ids if ids.count(one) > 1), None) if len(set(ids)) < len(ids) else None
        if twice is not None:
            raise Refused("validation", f"The {what} `{twice}` stands there twice.")
    if content.default not in DEFAULTS:
        raise Refused("validation", f"`default` must be one of {', '.join(DEFAULTS)}.")
    for rule in content.rules:
        check(rule)
    ordered = sorted(content.rules, key=lambda rule: rule.id)
    return msgspec.structs.replace(content, rules=tuple(ordered))


async def tested(unit: Unit, view: Snapshot, content: RuleSet, version: int) -> None:
    """Run the tests of a set. Raises `Refused("tests_failed")` naming each that fails."""
    if not content.tests:
        return
    found = failures(compiled(content, version), content.tests, await finder(unit, view, content.tests))
    if found:
        lines = " ".join(f"{one.test}: {one.why}." for one in found[:20])
        raise Refused("tests_failed", f"{len(found)} of {len(content.tests)} tests fail. {lines}", _data(found))


def _data(found: Iterable[msgspec.Struct]) -> dict[str, object]:
    return {"failures": [msgspec.to_builtins(one) for one in found]}


def compiled(content: RuleSet, version: int) -> CompiledRules:
    """A set as replicas would have it."""
    return compile_rules(content.rules, version, content.default)


async def _write(unit: Unit, known: RuleSet, content: RuleSet) -> None:
    """Write what differs, so that a rule that stays keeps its revision."""
    before = {rule.id: msgspec.structs.replace(rule, revision=0) for rule in known.rules}
    after = {rule.id: msgspec.structs.replace(rule, revision=0) for rule in content.rules}
    for gone in before.keys() - after.keys():
        await rules.remove(unit, gone)
    for rule in after.values():
        if before.get(rule.id) != rule:
            await rules.put(unit, rule)
    if content.default != known.default:
        chosen = await options.get(unit)
        await options.put(unit, msgspec.structs.replace(chosen, default_effect=content.default))
