"""What a try is counted by, and for how long: nobody is slowed down for what others do, or for what is long over."""

import pytest

from callgate import clock
from callgate.errors import Refused
from callgate.identity import throttle
from callgate.store import tenants
from callgate.store.engine import Database


def test_networks_are_told_apart() -> None:
    assert throttle.network("203.0.113.1") == "203.0.113.1"
    assert throttle.network("::ffff:203.0.113.1") == "203.0.113.1", "as a proxy that listens on both writes it"
    assert throttle.network("2001:db8::1") == throttle.network("2001:db8::2")
    assert throttle.network("2001:db8::1") != throttle.network("2001:db8:0:1::1")


async def test_what_is_allowed_by_the_hour_is_forgotten_by_the_hour(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    start = clock.now()
    for number in range(20):
        monkeypatch.setattr(clock, "now", lambda number=number: start + number * 1000.0)
        async with db.unit("default") as unit:
            await throttle.count(unit, "register@203.0.113.1", free=5)
    for _ in range(6):
        async with db.unit("default") as unit:
            await throttle.count(unit, "register@203.0.113.2", free=5)
    async with db.unit("default") as unit:
        with pytest.raises(Refused):
            await throttle.count(unit, "register@203.0.113.2", free=5)


async def test_failures_at_one_account_are_remembered_while_they_go_on(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    start, tried = clock.now(), throttle.keys("ana", "203.0.113.1")
    for number in range(8):
        monkeypatch.setattr(clock, "now", lambda number=number: start + number * 2000.0)
        async with db.unit("default") as unit:
            await throttle.failed(unit, tried)
    async with db.unit("default") as unit:
        with pytest.raises(Refused):
            await throttle.check(unit, tried)
        await throttle.check(unit, throttle.keys("ben", "203.0.113.1"))
