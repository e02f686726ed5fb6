"""The person behind calls without a token: found once, and lost as soon as they are."""

from collections.abc import AsyncIterator

import pytest

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.sync import GRACE_SECONDS, Fleet
from callgate.identity import people
from callgate.identity.anonymous import TOKEN, Anonymous
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.offboarding.leave import leave
from callgate.store import people as rows
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.replicas import fleet

OPERATOR = Actor("default", "operator", "operator:0", ("admin",))


@pytest.fixture
async def own(sqlite_url: str) -> AsyncIterator[tuple[Database, Fleet, Anonymous]]:
    db = await Database.open(sqlite_url)
    async with fleet(db, "r1") as replica:
        anonymous = Anonymous(db, replica, "ana@acme.test")
        yield db, replica, anonymous
        anonymous.close()
    await db.close()


async def add(db: Database) -> Person:
    async with db.unit("default") as unit:
        return await people.add(unit, OPERATOR, "ana@acme.test", ("member",), ("sre",))


async def refusal(anonymous: Anonymous) -> str:
    with pytest.raises(Refused) as caught:
        await anonymous()
    return caught.value.code


async def test_everybody_is_the_person_that_the_setting_names(own: tuple[Database, Fleet, Anonymous]) -> None:
    db, _, anonymous = own
    assert await refusal(anonymous) == "auth_required"
    ana = await add(db)
    caller = await anonymous()
    assert await anonymous() is caller
    assert (caller.person, caller.email, caller.roles, caller.teams) == (ana.id, ana.email, ("member",), ("sre",))
    assert (caller.token, caller.agent, caller.client) == (TOKEN, None, None)


async def test_a_deactivated_person_is_refused_at_the_next_look(own: tuple[Database, Fleet, Anonymous]) -> None:
    db, replica, anonymous = own
    ana = await add(db)
    await anonymous()
    async with db.unit("default") as unit:
        await leave(unit, OPERATOR, ana)
    await replica.refresh()
    assert await refusal(anonymous) == "person_inactive"


async def test_an_answer_that_a_change_overtook_is_not_kept(
    own: tuple[Database, Fleet, Anonymous], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, replica, anonymous = own
    ana = await add(db)
    real = rows.by_email

    async def slow(unit: Unit, email: str) -> Person | None:
        monkeypatch.setattr(rows, "by_email", real)
        found = await real(unit, email)
        async with db.unit("default") as other:
            await leave(other, OPERATOR, ana)
        await replica.refresh()
        return found

    monkeypatch.setattr(rows, "by_email", slow)
    await anonymous()
    assert await refusal(anonymous) == "person_inactive"


async def test_other_changes_leave_the_person_known(own: tuple[Database, Fleet, Anonymous]) -> None:
    db, _, anonymous = own
    await add(db)
    caller = await anonymous()
    anonymous._on_change("acme", frozenset({"identity"}))
    anonymous._on_change("default", frozenset({"rules"}))
    assert await anonymous() is caller


async def test_nobody_is_let_in_while_the_view_is_too_old(
    own: tuple[Database, Fleet, Anonymous], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, _, anonymous = own
    await add(db)
    await anonymous()
    real = clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: real() + GRACE_SECONDS + 1)
    assert await refusal(anonymous) == "store_unavailable"
