"""Limits in the store: exact whatever comes at once, a sliding window, slots that a dead replica does not keep."""

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callgate.model.limit import Take, millionths
from callgate.store import limits
from callgate.store.engine import Database
from callgate.store.unit import Unit


def rate(most: float, key: str = "k", *, amount: float = 1, window: float = 3600, kind: str = "rate") -> Take:
    return Take("r", key, kind, millionths(most), millionths(amount), window)


async def taken(db: Database, *takes: Take, call: str = "cal_1", replica: str = "rep_1") -> bool:
    try:
        async with db.unit("default") as unit:
            await limits.take(unit, takes, call, replica)
    except limits.Reached:
        return False
    return True


async def test_exactly_as_many_as_the_limit_says_whatever_comes_at_once(db: Database) -> None:
    found = await asyncio.gather(*(taken(db, rate(7), call=f"c{number}") for number in range(30)))
    assert sum(found) == 7


async def test_so_many_at_once_and_more_when_one_has_ended(db: Database) -> None:
    one = rate(3, kind="concurrency")
    found = await asyncio.gather(*(taken(db, one, call=f"c{number}") for number in range(12)))
    assert sum(found) == 3
    async with db.unit("default") as unit:
        await limits.give_back(unit, f"c{found.index(True)}")
    assert await taken(db, one, call="next")
    assert not await taken(db, one, call="more")


async def test_a_limit_that_is_reached_undoes_the_others(db: Database) -> None:
    wide, narrow = rate(100, "a"), rate(1, "b")
    assert await taken(db, wide, narrow)
    assert not await taken(db, wide, narrow)
    assert [await taken(db, wide) for _ in range(99)] == [True] * 99
    assert not await taken(db, wide)


async def test_calls_with_the_same_limits_in_another_order_do_not_lock_each_other_out(db: Database) -> None:
    pair = (rate(1000, "a"), rate(1000, "b", kind="concurrency"))
    found = await asyncio.gather(
        *(taken(db, *(pair if number % 2 else pair[::-1]), call=f"c{number}") for number in range(20))
    )
    assert all(found)


async def test_costs_are_charged_afterwards_and_given_back(db: Database) -> None:
    one = rate(10, amount=0, kind="cost")
    assert await taken(db, one)
    async with db.unit("default") as unit:
        await limits.charge(unit, one, millionths(12))
    assert not await taken(db, one)
    async with db.unit("default") as unit:
        await limits.untake(unit, msgspec.structs.replace(one, window=window_of(await unit.now())), millionths(100))
    assert await taken(db, rate(10, amount=10, kind="cost"))
    assert not await taken(db, rate(10, amount=0.000001, kind="cost"))


async def test_the_slots_of_a_replica_that_was_killed_are_free_in_the_end(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rate(1, kind="concurrency")
    monkeypatch.setattr(limits, "SLOT_SECONDS", 0.0)
    assert await taken(db, one, call="lost", replica="rep_dead")
    monkeypatch.setattr(limits, "SLOT_SECONDS", 60.0)
    assert await taken(db, one, call="next")
    async with db.unit("default") as unit:
        await limits.renew(unit, ["next"], "rep_1")
    assert not await taken(db, one, call="more")


class Clock:
    """The time of a unit."""

    now = 0.0


EVENTS = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 3)), min_size=1, max_size=25)


@given(EVENTS, st.integers(1, 6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_window_slides_as_two_windows_do(
    db: Database, monkeypatch: pytest.MonkeyPatch, events: list[tuple[float, int]], most: int
) -> None:
    """The same as a plain model: of the window before, what still lies within, in proportion."""

    async def now(_: Unit) -> float:
        return Clock.now

    monkeypatch.setattr(Unit, "now", now)
    Clock.now += 1000.0
    key, start = str(Clock.now), Clock.now
    used: dict[int, int] = {}
    at = start
    for gap, amount in events:
        at += gap
        Clock.now = at
        number, inside = divmod(at, 10.0)
        counted = used.get(int(number), 0) + used.get(int(number) - 1, 0) * (1 - inside / 10.0)
        fits = counted + amount <= most + 1e-9
        assert await taken(db, rate(most, key, amount=amount, window=10.0)) == fits
        if fits:
            used[int(number)] = used.get(int(number), 0) + amount


async def test_what_counts_no_more_is_pruned(db: Database) -> None:
    assert await taken(db, rate(5))
    async with db.unit(None) as unit:
        await limits.prune(unit)
    assert [await taken(db, rate(5)) for _ in range(5)] == [True] * 4 + [False]


def window_of(now: float) -> int:
    return int(now // 3600)


async def at(db: Database, monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    """Set the store's clock."""

    async def now(_: Unit) -> float:
        return moment

    monkeypatch.setattr(Unit, "now", now)


async def test_a_call_that_read_the_clock_before_a_boundary_takes_nothing_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its turn after others have begun the next window: that window does not go back."""
    one = rate(10, window=10.0)
    await at(db, monkeypatch, 1010.0)
    assert [await taken(db, one) for _ in range(10)] == [True] * 10
    await at(db, monkeypatch, 1009.999)
    assert not await taken(db, one)
    async with db.unit("default") as unit:
        await limits.charge(unit, one, 1)
    await at(db, monkeypatch, 1010.5)
    assert not await taken(db, one)


async def test_what_was_not_used_is_given_back_where_it_was_counted(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rate(5, window=10.0)
    await at(db, monkeypatch, 1005.0)
    async with db.unit("default") as unit:
        (counted,) = await limits.take(unit, [one], "cal_1", "rep_1")
    assert counted.window == 100
    await at(db, monkeypatch, 1019.0)  # nearly all of the window before has slid out
    assert [await taken(db, one) for _ in range(4)] == [True] * 4
    async with db.unit("default") as unit:
        await limits.untake(unit, counted, one.amount)
    assert [await taken(db, one) for _ in range(2)] == [True, False]
    await at(db, monkeypatch, 1059.0)
    async with db.unit("default") as unit:
        await limits.untake(unit, counted, one.amount)  # long gone: gives nothing back
    assert [await taken(db, one) for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize(("most", "start"), [(1, 1000.0), (2, 1000.0), (10, 1000.0), (10, 1004.0), (3, 1009.5)])
async def test_what_is_told_to_wait_is_enough_and_not_much_more(
    db: Database, monkeypatch: pytest.MonkeyPatch, most: int, start: float
) -> None:
    one = rate(most, window=10.0)
    await at(db, monkeypatch, start)
    assert all([await taken(db, one) for _ in range(most)])
    with pytest.raises(limits.Reached) as caught:
        async with db.unit("default") as unit:
            await limits.take(unit, [one], "cal_1", "rep_1")
    await at(db, monkeypatch, start + caught.value.retry_s - 0.01)
    assert not await taken(db, one)
    await at(db, monkeypatch, start + caught.value.retry_s + 0.01)
    assert await taken(db, one)
