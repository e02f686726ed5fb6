"""Approvals in the store: one that is alive for one call, one use, one denial that holds."""

import asyncio
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.model.approval import Ask, Need, Terms, Vote
from callgate.store import approvals, notes
from callgate.store.engine import Database

NEED = Need("ask", 1, "Ask first")


def ask(*, args: str = "a1", person: str = "per_ana", needs: tuple[Need, ...] = (NEED,), **terms: Any) -> Ask:
    return Ask(
        "default", person, None, None, "ups_1", "def_1", "f1", args, 1, Terms(needs, **{"expires_s": 600.0, **terms}),
        "cal_1", b"{}",
    )  # fmt: skip


def vote(by: str = "per_rev", *, approve: bool = True, reviewer: bool = True, teams: tuple[str, ...] = ()) -> Vote:
    return Vote(by, f"{by}@acme.test", reviewer, teams, approve, "because", 1.0)


async def file(db: Database, asked: Ask, key: str = "apr_1") -> Any:
    async with db.unit("default") as unit:
        return await approvals.file(unit, asked, key, b"sealed")


async def give(db: Database, key: str, given: Vote, reuse: float = 0.0) -> Any:
    async with db.unit("default") as unit:
        return await approvals.vote(unit, key, given, reuse)


async def claimed(db: Database, key: str) -> bool:
    async with db.unit("default") as unit:
        return await approvals.claim(unit, key)


async def test_a_repeat_finds_the_same_approval(db: Database) -> None:
    first = await file(db, ask())
    assert (await file(db, ask(), "apr_2")).id == first.id == "apr_1"
    assert (await file(db, ask(args="a2"), "apr_3")).id == "apr_3"


async def test_many_who_ask_at_once_get_one(db: Database) -> None:
    found = await asyncio.gather(*(file(db, ask(), f"apr_{number}") for number in range(8)))
    assert len({one.id for one in found}) == 1


async def test_one_claim_of_many_gets_it(db: Database) -> None:
    await file(db, ask())
    assert not await claimed(db, "apr_1")
    assert (await give(db, "apr_1", vote())).state == "approved"
    assert sorted(await asyncio.gather(*(claimed(db, "apr_1") for _ in range(6)))) == [False] * 5 + [True]
    assert (await file(db, ask(), "apr_2")).id == "apr_2"


async def test_the_arguments_are_erased_by_the_decision(db: Database) -> None:
    await file(db, ask())
    async with db.unit("default") as unit:
        assert await approvals.sealed(unit, "apr_1") == b"sealed"
    await give(db, "apr_1", vote())
    async with db.unit("default") as unit:
        assert await approvals.sealed(unit, "apr_1") is None


async def test_two_reviewers_at_once_are_one_decision(db: Database) -> None:
    await file(db, ask())
    answers = await asyncio.gather(
        give(db, "apr_1", vote("per_a")), give(db, "apr_1", vote("per_b", approve=False)), return_exceptions=True
    )
    assert sorted(isinstance(one, Refused) for one in answers) == [False, True]


async def test_a_denial_holds_for_the_time_that_was_asked_for(db: Database) -> None:
    await file(db, ask())
    await give(db, "apr_1", vote(approve=False))
    assert (await file(db, ask(), "apr_2")).state == "denied"
    with pytest.raises(Refused, match="denied already"):
        await give(db, "apr_1", vote("per_b"))


async def test_a_quorum_needs_different_people_of_the_right_teams(db: Database) -> None:
    await file(db, ask(needs=(Need("a", 1, "A", ("sre",), 2), Need("b", 1, "B"))))
    assert (await give(db, "apr_1", vote("per_a", teams=("sre",), reviewer=False))).state == "pending"
    with pytest.raises(Refused, match="waits for somebody else"):
        await give(db, "apr_1", vote("per_a", teams=("sre",)))
    assert (await give(db, "apr_1", vote("operator:0"))).state == "pending"
    assert (await give(db, "apr_1", vote("per_b", teams=("sre",)))).state == "approved"


async def test_what_is_overdue_has_expired_whoever_looks(db: Database) -> None:
    await file(db, ask(expires_s=0.0))
    async with db.unit("default") as unit:
        found = await approvals.get(unit, "apr_1")
    assert found is not None
    assert found.state == "expired"
    with pytest.raises(Refused, match="expired already"):
        await give(db, "apr_1", vote())
    assert (await file(db, ask(), "apr_2")).id == "apr_2"
    async with db.unit("default") as unit:
        assert [one.state for one in await approvals.page(unit)] == ["expired", "pending"]


async def test_one_for_a_time_lets_the_same_call_through_again(db: Database) -> None:
    await file(db, ask())
    await give(db, "apr_1", vote(), reuse=600.0)
    assert [await claimed(db, "apr_1") for _ in range(3)] == [True, True, True]
    async with db.unit("default") as unit:
        found = await approvals.get(unit, "apr_1")
    assert found is not None
    assert (found.state, found.uses) == ("approved", 3)


async def test_what_was_used_cannot_be_given_back(db: Database) -> None:
    await file(db, ask())
    await give(db, "apr_1", vote())
    await claimed(db, "apr_1")
    async with db.unit("default") as unit:
        assert not await approvals.release(unit, "apr_1", "cancelled")


async def test_a_person_can_have_only_so_many_that_wait(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "MOST_PENDING", 2)
    for number in range(2):
        await file(db, ask(args=str(number)), f"apr_{number}")
    with pytest.raises(Refused, match="wait for approval already"):
        await file(db, ask(args="more"), "apr_9")
    assert (await file(db, ask(args="more", person="per_bo"), "apr_9")).id == "apr_9"


async def test_escalation_widens_who_may_answer(db: Database) -> None:
    need = Need("a", 1, "A", ("sre",), 1, ("leads",))
    await file(db, ask(needs=(need,), escalate_s=0.001))
    assert (await give(db, "apr_1", vote("per_l", teams=("leads",)))).state == "pending"
    async with db.unit("default") as unit:
        (marked,) = await approvals.escalate(unit, await unit.now() + 1)
    assert marked.escalated
    assert (await give(db, "apr_1", vote("per_m", teams=("leads",)))).state == "approved"


async def test_a_leg_goes_on_once(db: Database) -> None:
    async def first() -> bool:
        async with db.unit("default") as unit:
            return await notes.put_first(unit, "approved legs", "cal_1", b"", 60.0)

    assert sorted(await asyncio.gather(*(first() for _ in range(5)))) == [False] * 4 + [True]
