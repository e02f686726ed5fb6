"""Limits as one replica's calls take them: slots that are renewed while a call lasts, given back when it is over."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from callgate.errors import Refused
from callgate.fleet import counters as module
from callgate.fleet.counters import Counters, Reached
from callgate.model.limit import Take, millionths
from callgate.store import limits
from callgate.store.engine import Database

ONE = Take("r", "k", "concurrency", millionths(1), millionths(1), 60.0)
COST = Take("r", "c", "cost", millionths(10), 0, 3600.0)


@pytest.fixture
async def counters(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counters]:
    monkeypatch.setattr(limits, "SLOT_SECONDS", 0.5)
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.05)
    found = Counters(db, "rep_1")
    yield found
    await found.close()


async def test_a_slot_is_kept_for_as_long_as_its_call_lasts(counters: Counters) -> None:
    await counters.take("default", "cal_1", (ONE,))
    for _ in range(8):  # longer than a slot lives without being renewed
        await asyncio.sleep(0.1)
        with pytest.raises(Reached):
            await counters.take("default", "cal_2", (ONE,))
    await counters.done("cal_1")
    await counters.take("default", "cal_2", (ONE,))
    await counters.done("cal_2")
    await counters.done("cal_2")  # a call that holds nothing


async def test_what_a_call_cost_is_counted(counters: Counters) -> None:
    await counters.take("default", "cal_1", (COST,))
    await counters.charge("default", COST, millionths(10))
    with pytest.raises(Reached) as caught:
        await counters.take("default", "cal_2", (COST,))
    assert caught.value.take == COST
    assert 1 <= caught.value.retry_s <= 3600
    await counters.close()  # before anything was ever renewed


async def test_while_the_store_is_away_nothing_is_taken(
    counters: Counters, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await counters.take("default", "cal_1", (ONE,))

    def away(_tenant: str) -> None:
        raise Refused("store_unavailable")

    monkeypatch.setattr(db, "unit", away)
    with pytest.raises(Refused):
        await counters.take("default", "cal_2", (ONE, COST))
    await counters.charge("default", COST, 1)  # is forgotten
    await counters.done("cal_1")
    await asyncio.sleep(0.15)
