"""Versions and drafts in the store, on both databases: read in units that only read, changed under a lock."""

import asyncio

import msgspec
import pytest

from callgate.errors import Refused
from callgate.model.rule import Rule
from callgate.model.ruleset import Draft, RuleSet, RuleTest, Version
from callgate.store import options, rules, rulesets
from callgate.store.engine import Database
from callgate.store.options import Options

RULE = Rule("a", "A", "deny", args_schema={"required": ["x"]})
CONTENT = RuleSet((RULE,), (RuleTest("t", "shop__read", "deny", arguments={"n": 9007199254740993}),), "deny")


async def publish(db: Database, content: RuleSet, note: str) -> int:
    async with db.unit("default") as unit:
        number = await unit.bump(rules.AGGREGATE)
        for rule in content.rules:
            await rules.put(unit, rule)
        await rulesets.put(unit, Version(number, 1.0, "per_1", note), content)
        return number


async def test_a_version_is_kept_whole_and_read_without_writing(db: Database) -> None:
    async with db.unit("default", write=False) as unit:
        assert await rulesets.in_force(unit) == (0, RuleSet())
    number = await publish(db, CONTENT, "first")
    async with db.unit("default") as unit:
        await options.put(unit, Options(default_effect="deny"))
    async with db.unit("default", write=False) as unit:
        version, found = await rulesets.in_force(unit)
        assert (version, found.tests, found.default) == (number, CONTENT.tests, "deny")
        assert [msgspec.structs.replace(rule, revision=0) for rule in found.rules] == [RULE]
        kept, content = await rulesets.get(unit, number)
        assert (kept.note, content) == ("first", CONTENT)
        with pytest.raises(Refused, match="no version 99"):
            await rulesets.get(unit, 99)


async def test_versions_come_in_pages_the_newest_first(db: Database) -> None:
    numbers = [await publish(db, CONTENT, str(at)) for at in range(5)]
    async with db.unit("default", write=False) as unit:
        first = await rulesets.page(unit, None, 3)
        rest = await rulesets.page(unit, first[-1].version, 3)
    assert [one.version for one in (*first, *rest)] == numbers[::-1]


async def test_what_was_in_force_before_is_kept_once(db: Database) -> None:
    for _ in range(2):
        async with db.unit("default") as unit:
            await rulesets.keep_first(unit, 7, CONTENT, 1.0)
    async with db.unit("default", write=False) as unit:
        assert [one.version for one in await rulesets.page(unit)] == [7]


async def test_drafts_are_read_without_writing_and_guarded_by_their_edition(db: Database) -> None:
    async with db.unit("default") as unit:
        made = await rulesets.put_draft(unit, Draft("spring", 0, 0, 1.0, "per_1", CONTENT))
    async with db.unit("default", write=False) as unit:
        assert await rulesets.draft(unit, "spring") == made
        assert await rulesets.drafts(unit) == (made,)
        with pytest.raises(Refused, match="no draft other"):
            await rulesets.draft(unit, "other")
    async with db.unit("default") as unit:
        await rulesets.put_draft(unit, made)
    with pytest.raises(Refused, match="changed meanwhile"):
        async with db.unit("default") as unit:
            await rulesets.put_draft(unit, made)
    async with db.unit("default") as unit:
        await rulesets.remove_draft(unit, "spring")
    with pytest.raises(Refused, match="no draft"):
        async with db.unit("default") as unit:
            await rulesets.remove_draft(unit, "spring")


async def test_two_who_change_a_draft_at_once_do_not_lose_a_change(db: Database) -> None:
    async with db.unit("default") as unit:
        await rulesets.put_draft(unit, Draft("spring", 0, 0, 1.0, "per_1", RuleSet()))

    async def add(number: int) -> None:
        async with db.unit("default") as unit:
            one = await rulesets.draft(unit, "spring", lock=True)
            content = RuleSet((*one.content.rules, Rule(f"r{number}", "T", "deny")))
            await rulesets.put_draft(unit, msgspec.structs.replace(one, content=content))

    await asyncio.gather(*(add(number) for number in range(6)))
    async with db.unit("default", write=False) as unit:
        found = await rulesets.draft(unit, "spring")
    assert {rule.id for rule in found.content.rules} == {f"r{number}" for number in range(6)}
