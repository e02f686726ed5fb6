"""Contract of the audit table: append, join, filter, pages. Runs on both databases."""

import msgspec
import pytest

from callgate.model.entry import Filter
from callgate.model.event import Change, Intent, Outcome
from callgate.store import audit
from callgate.store.engine import Database

BASE = 1_790_000_000_000_000


def intent(number: int, **changes: object) -> Intent:
    made = Intent(
        id=f"cal_{number}", at=BASE + number, tenant="default", replica="r1", person="per_1", agent=None, client=None,
        token="tok_1", method="tools/call", upstream="ups_1", definition="def_1", fingerprint="f", decision="allow",
        rule=None, ruleset=1, era="modern", args_bytes=2, args_hash="",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def outcome(number: int, kind: str = "result", **changes: object) -> Outcome:
    made = Outcome(id=f"cal_{number}", at=BASE + number + 500, tenant="default", outcome=kind, duration_us=500)
    return msgspec.structs.replace(made, **changes)


CHANGE = Change(
    id="chg_1", at=BASE + 50, tenant="default", actor="operator:0", action="tools.approve", subject="def_1", after="f"
)


async def test_an_intent_and_its_outcome_are_one_entry(db: Database) -> None:
    async with db.unit("default") as unit:
        await audit.append(unit, intent(1), outcome(1), intent(2, decision="deny", rule="r"), CHANGE)
    async with db.unit("default", write=False) as unit:
        change, still_open, done = await audit.page(unit)
    assert (done.id, done.at, done.ended_at, done.outcome, done.duration_us) == (
        "cal_1",
        BASE + 1,
        BASE + 501,
        "result",
        500,
    )
    assert (still_open.id, still_open.outcome, still_open.ended_at, still_open.rule) == ("cal_2", None, None, "r")
    assert (change.kind, change.actor, change.action, change.after, change.person) == (
        "change", "operator:0", "tools.approve", "f", None,
    )  # fmt: skip
    assert done.kind == "call"


async def test_pages_go_both_ways_without_gap_or_repetition(db: Database) -> None:
    async with db.unit("default") as unit:
        await audit.append(unit, *(intent(number, at=BASE + number // 3) for number in range(10)))
        for newest_first in (True, False):
            found: list[str] = []
            after = None
            while part := await audit.page(unit, after, 4, newest_first=newest_first):
                found += [entry.id for entry in part]
                after = audit.cursor(part[-1])
            assert len(found) == len(set(found)) == 10
            assert found == sorted(found, reverse=newest_first)
        with pytest.raises(ValueError, match="invalid literal"):
            await audit.page(unit, "nonsense")


async def test_filters_narrow_by_call_and_by_outcome(db: Database) -> None:
    async with db.unit("default") as unit:
        await audit.append(unit, intent(1), outcome(1), intent(2, person="per_2"), CHANGE)
        await audit.append(unit, intent(3, decision="deny"), outcome(3, "refused", code="denied_by_rule"))
        wanted = {
            "cal_1": Filter(outcome="result"),
            "cal_2": Filter(person="per_2"),
            "cal_3": Filter(code="denied_by_rule", decision="deny", kind="call", upstream="ups_1"),
            "chg_1": Filter(kind="change", actor="operator:0", action="tools.approve"),
        }
        for key, narrow in wanted.items():
            assert [entry.id for entry in await audit.page(unit, wanted=narrow)] == [key]
        assert [entry.id for entry in await audit.page(unit, wanted=Filter(outcome="open"))] == ["cal_2"]
        between = Filter(since=BASE + 2, until=BASE + 3)
        assert [entry.id for entry in await audit.page(unit, wanted=between)] == ["cal_2"]
        assert {entry.id for entry in await audit.by_ids(unit, ["cal_1", "chg_1", "cal_9"])} == {"cal_1", "chg_1"}


async def test_tenants_see_their_own_entries_only(db: Database) -> None:
    async with db.unit("acme") as unit:
        await audit.append(unit, intent(1, tenant="acme"))
    async with db.unit("default") as unit:
        assert await audit.page(unit) == ()


async def test_open_calls_of_a_replica_are_found(db: Database) -> None:
    async with db.unit("default") as unit:
        await audit.append(unit, intent(1), outcome(1), intent(2), intent(3, replica="r2"))
    async with db.unit(None, write=False) as unit:
        assert await audit.open_intents(unit, "r1", BASE) == (("default", "cal_2"),)
        assert await audit.open_intents(unit, "r1", BASE + 3) == ()


async def test_a_clock_set_back_does_not_lose_the_outcome(db: Database) -> None:
    async with db.unit("default") as unit:
        await audit.append(unit, intent(1), outcome(1, at=BASE - 1_000_000))
        assert [entry.outcome for entry in await audit.page(unit)] == ["result"]
