"""Contract of reviews, findings and history: who trusts what, and what is bound to which content. On both databases."""

import msgspec
import pytest

from callgate.errors import Refused
from callgate.fingerprints.states import Review, Terms
from callgate.model.caller import Actor
from callgate.model.definition import (
    BLOCKED,
    DRIFT_DETECTED,
    PENDING_REVIEW,
    TRUSTED,
    Definition,
    Observation,
    Observed,
)
from callgate.model.finding import Finding
from callgate.model.person import Person
from callgate.model.upstream import PIN, TRUST_ON_FIRST_USE, Upstream, UpstreamState
from callgate.store import audit, definitions, findings, history, options, people, reviews, upstreams
from callgate.store.engine import Database
from callgate.store.findings import Wanted
from callgate.store.observe import observe
from callgate.store.options import Options
from callgate.store.reviews import Reviewer
from callgate.store.unit import Unit
from tests.support.reviewing import OPERATOR

FILES = Upstream(id="ups_1", tenant="default", name="files", kind="http", url="https://files.test/mcp")
LOW = Finding("r.low", 1, "style", "low", "/description", 0, 3)
HIGH = Finding("r.high", 1, "instruction_override", "high", "/description", 0, 3)


def seen(name: str, text: str = "") -> Observed:
    raw = f'{{"name":"{name}","description":"{text}"}}'.encode()
    return Observed("tool", name, raw, core=f"c{text}", full=f"{name}{text}")


async def look(
    unit: Unit, *items: Observed, expected: int, found: dict[str, tuple[Finding, ...]] | None = None,
    terms: Terms | None = None, version: str = "1",
) -> dict[str, Definition]:  # fmt: skip
    """One observation; everything is scanned, `found` says what was seen by name."""
    scans = {("tool", item.name): (found or {}).get(item.name, ()) for item in items}
    review = Review(terms or Terms(), version, scans)
    facts = UpstreamState("ups_1", state="ok")
    moved = await observe(unit, Observation("ups_1", items, expected + 10.0), facts, expected, review)
    return {one.name: one for one in moved}


def person(key: str, *roles: str, active: bool = True) -> Person:
    return Person(id=key, tenant="default", email=f"{key}@acme.test", roles=roles, active=active)


def by(key: str, note: str = "") -> Reviewer:
    return Reviewer(Actor("default", "person", key, ("reviewer",)), note)


# -- findings ----------------------------------------------------------------------------------------------------------


async def test_findings_belong_to_one_content_and_weigh_on_the_definition(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = await look(unit, seen("a"), seen("b"), expected=0, found={"a": (LOW, HIGH)})
        assert (made["a"].worst, made["a"].risk, made["a"].scanned) == ("high", "high", "1")
        assert (made["b"].worst, made["b"].risk, made["b"].scanned) == ("", "", "1")
        kept = (await findings.of_contents(unit, {made["a"].id: "a"}))[made["a"].id]
        assert [one.finding for one in kept] == [HIGH, LOW]
        changed = await look(unit, seen("a", "x"), seen("b"), expected=1)
        assert (changed["a"].worst, changed["a"].risk) == ("", "")
        assert await findings.page(unit) == ()
        assert await findings.of_contents(unit, {made["a"].id: "a"}) == {made["a"].id: kept}


async def test_an_acknowledgement_lasts_as_long_as_text_and_rule(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        tool = (await look(unit, seen("a"), expected=0, found={"a": (LOW, HIGH)}))["a"]
        high = findings.key_of("a", HIGH)
        weight = await findings.acknowledge(unit, tool.id, "a", [high], ("per_1", 5.0, "It is quoted."))
        assert (weight.worst, weight.risk) == ("high", "low")
        await findings.weigh(unit, {tool.id: weight})
        # the same rules, newly packed: the acknowledgement stays
        again = (await look(unit, seen("a"), expected=1, found={"a": (LOW, HIGH)}, version="2"))["a"]
        assert (again.worst, again.risk, again.scanned) == ("high", "low", "2")
        # the rule itself was raised: it is a risk again
        raised = msgspec.structs.replace(HIGH, version=2)
        after = (await look(unit, seen("a"), expected=2, found={"a": (LOW, raised)}, version="3"))["a"]
        assert after.risk == "high"
        # another text, with the same finding at the same place
        other = (await look(unit, seen("a", "x"), expected=3, found={"a": (raised,)}, version="3"))["a"]
        assert other.risk == "high"
        open_ = await findings.page(unit)
        assert [(one.full, one.acked_by) for one in open_] == [("ax", None)]


async def test_findings_are_listed_by_upstream_severity_tool_and_acknowledgement(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = await look(unit, seen("a"), seen("b"), expected=0, found={"a": (LOW, HIGH), "b": (LOW,)})
        assert len(await findings.page(unit)) == 3
        assert len(await findings.page(unit, wanted=Wanted(severities=("high", "critical")))) == 1
        assert len(await findings.page(unit, wanted=Wanted(upstream="ups_9"))) == 0
        assert len(await findings.page(unit, wanted=Wanted(upstream="ups_1", definition=made["b"].id))) == 1
        await findings.acknowledge(unit, made["b"].id, "b", [findings.key_of("b", LOW)], ("per_1", 1.0, ""))
        assert len(await findings.page(unit)) == 2
        assert [one.definition for one in await findings.page(unit, wanted=Wanted(acknowledged=True))] == [made["b"].id]
        first, second = await findings.page(unit, limit=2)
        assert await findings.page(unit, f"{first.definition}.{first.key}") == (second,)


async def test_what_comes_without_its_scan_changes_nothing(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)

    async def unscanned() -> None:
        async with db.unit("default") as unit:
            observation = Observation("ups_1", (seen("a"),), 1.0)
            await observe(unit, observation, UpstreamState("ups_1", state="ok"), 0, Review(Terms(), "1", {}))

    with pytest.raises(Refused, match="changed during the look"):
        await unscanned()
    async with db.unit("default") as unit:
        assert await definitions.page(unit) == ()


# -- bulk --------------------------------------------------------------------------------------------------------------


async def test_in_bulk_only_what_is_new_and_without_a_high_finding_is_trusted(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        names = ("fine", "low", "high", "drifts", "blocked")
        made = await look(unit, *map(seen, names), expected=0, found={"low": (LOW,), "high": (HIGH,)})
        await reviews.approve(unit, OPERATOR, made["drifts"].id, "drifts")
        await reviews.block(unit, OPERATOR, made["blocked"].id)
        await look(unit, *map(seen, names[:3]), seen("drifts", "x"), seen("blocked"), expected=1)
        tools = {one.public_name: one for one in await definitions.of_upstream(unit, "ups_1")}
        answer = await reviews.approve_many(unit, OPERATOR, {name: one.full for name, one in tools.items()})
        codes = {name.removeprefix("files__"): after for name, (_, after) in answer.items()}
        assert {name for name, after in codes.items() if isinstance(after, Definition)} == {"fine", "low"}
        sentences = {name: after.sentence for name, after in codes.items() if isinstance(after, Refused)}
        assert "high finding" in sentences["high"]
        assert DRIFT_DETECTED in sentences["drifts"]
        assert BLOCKED in sentences["blocked"]
        assert (await reviews.approve(unit, OPERATOR, made["high"].id, "high")).status == TRUSTED


# -- two people --------------------------------------------------------------------------------------------------------


async def test_two_different_people_have_to_approve_the_same_hash(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        for one in (person("per_1", "reviewer"), person("per_2", "admin"), person("per_3", "reviewer")):
            await people.add(unit, one)
        await options.put(unit, Options(two_person_review=True))
        tool = (await look(unit, seen("a"), expected=0))["a"]
        with pytest.raises(Refused) as caught:
            await reviews.approve(unit, OPERATOR, tool.id, "a")
        assert caught.value.code == "two_person_review"
        for _ in range(2):  # the same person twice is one
            after = await reviews.approve(unit, by("per_1"), tool.id, "a")
            assert (after.status, after.seconded_full, after.seconded_by) == (PENDING_REVIEW, "a", "per_1")
        # the content changed: the first approval was of another one
        await look(unit, seen("a", "x"), expected=1)
        assert (await reviews.approve(unit, by("per_2"), tool.id, "ax")).status == PENDING_REVIEW
        assert (await reviews.approve(unit, by("per_3", "Looks good."), tool.id, "ax")).callable
        steps = [(step.actor, step.cause, step.note) for step in await history.of_definition(unit, tool.id)]
        assert ("per_2", "first_approval", "") in steps
        assert ("per_3", "approved", "Looks good.") in steps


async def test_a_first_approval_counts_while_its_author_may_still_review(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        one = await people.add(unit, person("per_1", "reviewer"))
        await people.add(unit, person("per_2", "reviewer"))
        await options.put(unit, Options(two_person_review=True))
        tool = (await look(unit, seen("a"), expected=0))["a"]
        await reviews.approve(unit, by("per_1"), tool.id, "a")
        await people.update_one(unit, msgspec.structs.replace(one, active=False))
        assert (await reviews.approve(unit, by("per_2"), tool.id, "a")).status == PENDING_REVIEW
        await people.update_one(unit, msgspec.structs.replace(one, active=True, roles=("member",)))
        assert (await definitions.get(unit, tool.id) or tool).seconded_by == "per_2"


# -- the named exceptions ----------------------------------------------------------------------------------------------


async def test_trust_on_first_use_is_audited_and_ends_with_the_first_change(db: Database) -> None:
    terms = Terms(TRUST_ON_FIRST_USE)
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = await look(unit, seen("a"), seen("bad"), expected=0, found={"bad": (HIGH,)}, terms=terms)
        assert made["a"].callable
        assert made["a"].approved_by == TRUST_ON_FIRST_USE
        assert made["bad"].status == PENDING_REVIEW
        entries = await audit.page(unit)
        assert [(one.actor, one.action, one.subject) for one in entries] == [
            ("gateway", "tools.trust_on_first_use", made["a"].id)
        ]
        assert (await look(unit, seen("a", "x"), seen("bad"), expected=1, terms=terms))["a"].status == DRIFT_DETECTED


SCHEMA = '"inputSchema":{"type":"object"}'


def tool(text: str, schema: str = SCHEMA) -> Observed:
    raw = f'{{"name":"t","description":"{text}",{schema}}}'.encode()
    return Observed("tool", "t", raw, core=text, full=text + schema)


async def test_a_pin_goes_on_with_the_approved_text_and_ends_with_the_schema(db: Database) -> None:
    terms = Terms(PIN)
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = (await look(unit, tool("one"), expected=0, terms=terms))["t"]
        await reviews.approve(unit, OPERATOR, made.id, made.full)
        for number, text in enumerate(("two", "three"), start=1):
            now = (await look(unit, tool(text), expected=number, terms=terms))["t"]
            assert (now.status, now.callable, now.offered) == (DRIFT_DETECTED, True, tool("one").raw)
            assert now.fingerprint == made.full
        other = tool("three", '"inputSchema":{"type":"string"}')
        assert not (await look(unit, other, expected=3, terms=terms))["t"].callable
        # the schema is the approved one again: the pin finds the approved text in the versions
        back = (await look(unit, tool("four"), expected=4, terms=terms))["t"]
        assert (back.callable, back.offered) == (True, tool("one").raw)
        await definitions.unpin(unit, "ups_1")
        assert not (await definitions.get(unit, made.id) or back).callable
        assert not (await look(unit, tool("four"), expected=5)).get("t", made).pinned
        actions = {one.action for one in await audit.page(unit)}
        assert actions >= {"tools.pinned"}


async def test_approving_or_blocking_a_pinned_tool_ends_the_pin(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = (await look(unit, tool("one"), expected=0, terms=Terms(PIN)))["t"]
        await reviews.approve(unit, OPERATOR, made.id, made.full)
        drifted = (await look(unit, tool("two"), expected=1, terms=Terms(PIN)))["t"]
        approved = await reviews.approve(unit, OPERATOR, made.id, drifted.full)
        assert (approved.callable, approved.offered) == (True, tool("two").raw)
        await look(unit, tool("three"), expected=2, terms=Terms(PIN))
        assert not (await reviews.block(unit, OPERATOR, made.id)).callable


# -- history and renames -----------------------------------------------------------------------------------------------


async def test_the_history_says_what_happened_and_why(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = (await look(unit, seen("a"), expected=0))["a"]
        await reviews.approve(unit, by("per_1", "Read it."), made.id, "a")
        await look(unit, seen("a", "x"), expected=1)
        await look(unit, seen("a"), expected=2)
        await look(unit, expected=3)
        await look(unit, seen("a"), expected=4)
        await definitions.reset(unit, "ups_1", "operator:0")
        steps = await history.of_definition(unit, made.id)
    causes = ["appeared", "approved", "changed", "restored", "vanished", "returned", "other_program"]
    assert sorted((step.cause for step in steps), key=causes.index) == causes
    assert {step.actor for step in steps} == {"observation", "per_1", "operator:0"}


async def test_a_renamed_tool_is_new_and_says_what_it_was(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = (await look(unit, seen("old", "same"), seen("stays", "same"), expected=0))["old"]
        await reviews.approve(unit, OPERATOR, made.id, made.full)
        moved = await look(unit, seen("new", "same"), seen("stays", "same"), expected=1)
        assert moved["new"].renamed_from == made.id
        assert moved["new"].status == PENDING_REVIEW
        assert [step.cause for step in await history.of_definition(unit, moved["new"].id)] == ["renamed"]
        copied = await look(unit, seen("new", "same"), seen("stays", "same"), seen("copy", "same"), expected=2)
        assert copied["copy"].renamed_from is None  # what was known has its new name already
        unrelated = await look(unit, seen("new", "same"), seen("stays", "same"), seen("other", "text"), expected=3)
        assert unrelated["other"].renamed_from is None


async def test_of_several_new_names_one_is_a_rename(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = (await look(unit, seen("old", "same"), expected=0))["old"]
        moved = await look(unit, seen("one", "same"), seen("two", "same"), expected=1)
        assert sorted(str(item.renamed_from) for item in moved.values() if item.listed) == sorted([made.id, "None"])
