"""Contract of `Database` and `Unit`: transactions, revisions, wake-ups. Runs on both databases."""

import asyncio

import pytest

from callgate.errors import Refused
from callgate.model.person import Person
from callgate.store import people, revisions, tenants
from callgate.store.engine import Database


def person(email: str, number: int = 1) -> Person:
    return Person(id=f"per_{number}", tenant="default", email=email, created=1.0)


async def test_a_clean_unit_is_visible_afterwards(db: Database) -> None:
    async with db.unit("default") as unit:
        await people.add(unit, person("ana@acme.test"))
    async with db.unit("default", write=False) as unit:
        found = await people.by_email(unit, "Ana@Acme.test")
    assert found is not None
    assert found.id == "per_1"


async def test_an_error_inside_rolls_everything_back_and_wakes_nobody(db: Database) -> None:
    heard: list[str] = []
    db.listen(heard.append)

    async def fail() -> None:
        async with db.unit("default") as unit:
            await people.add(unit, person("ana@acme.test"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with db.unit("default") as unit:
        assert await people.page(unit) == ()
        assert await revisions.of_tenant(unit) == {}
    await asyncio.sleep(0)
    assert heard == []


async def test_a_unit_has_one_revision_per_aggregate_and_the_next_unit_a_higher_one(db: Database) -> None:
    async with db.unit("default") as unit:
        first = await unit.bump("rules")
        assert await unit.bump("rules") == first
        assert await unit.bump("agents") == 1
    async with db.unit("default") as unit:
        assert await unit.bump("rules") == first + 1
    async with db.unit(None, write=False) as unit:
        assert await revisions.of_all(unit) == {"default": {"rules": 2, "agents": 1}}


async def test_revisions_of_tenants_do_not_mix(db: Database) -> None:
    async with db.unit("acme") as unit:
        await unit.bump("rules")
    async with db.unit("other") as unit:
        assert await unit.bump("rules") == 1
        assert await revisions.of_tenant(unit) == {"rules": 1}


async def test_a_reading_unit_cannot_write(db: Database) -> None:
    async with db.unit("default", write=False) as unit:
        with pytest.raises(LookupError):
            await unit.bump("rules")


async def test_a_reading_unit_sees_one_moment(db: Database) -> None:
    async with db.unit("default", write=False) as reader:
        assert await people.page(reader) == ()
        async with db.unit("default") as writer:
            await people.add(writer, person("ana@acme.test"))
        assert await people.page(reader) == ()
    async with db.unit("default", write=False) as reader:
        assert len(await people.page(reader)) == 1


async def test_a_unit_over_all_tenants_has_no_tenant_and_the_other_kind_no_shared_tables(db: Database) -> None:
    async with db.unit(None) as unit:
        with pytest.raises(LookupError):
            _ = unit.tenant
    async with db.unit("default") as unit:
        with pytest.raises(LookupError):
            unit.require_system()


async def test_listeners_hear_each_aggregate_once_after_the_commit_until_they_leave(db: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    leave = db.listen(heard.put_nowait)
    async with db.unit("default") as unit:
        await unit.bump("rules")
        await unit.bump("rules")
        unit.wake("mail:r1")
        assert heard.empty()
    async with asyncio.timeout(5):
        assert [await heard.get(), await heard.get()] == ["default:rules", "mail:r1"]
    leave()
    async with db.unit("default") as unit:
        await unit.bump("agents")
    await asyncio.sleep(0)
    while not heard.empty():
        assert heard.get_nowait() != "default:agents"


async def test_writers_at_the_same_time_each_get_their_own_revision(db: Database) -> None:
    async def write() -> int:
        async with db.unit("default") as unit:
            return await unit.bump("rules")

    async with asyncio.timeout(20):
        found = await asyncio.gather(*(write() for _ in range(20)))
    assert sorted(found) == list(range(1, 21))


async def test_two_people_with_the_same_address_at_once_end_in_one(db: Database) -> None:
    async def add(number: int) -> str:
        try:
            async with db.unit("default") as unit:
                await people.add(unit, person("ana@acme.test", number))
        except Refused as refused:
            return refused.code
        return "added"

    async with asyncio.timeout(20):
        done = await asyncio.gather(*(add(number) for number in range(6)))
    assert sorted(done) == ["added", *["conflict"] * 5]


async def test_tenants_are_made_once(db: Database) -> None:
    async with db.unit(None) as unit:
        assert await tenants.ensure(unit, "default") is True
        assert await tenants.ensure(unit, "default") is False
        await tenants.ensure(unit, "acme")
        assert await tenants.all_ids(unit) == ("acme", "default")
    async with db.unit("acme", write=False) as unit:
        assert "acme" in await tenants.all_ids(unit)


async def test_a_second_process_sees_what_the_first_wrote(db: Database, db_url: str) -> None:
    other = await Database.open(db_url)
    try:
        heard: asyncio.Queue[str] = asyncio.Queue()
        other.listen(heard.put_nowait)
        async with db.unit("default") as unit:
            await people.add(unit, person("ana@acme.test"))
        if db.dialect == "postgresql":
            async with asyncio.timeout(5):
                assert await heard.get() == "default:identity"
        async with other.unit("default", write=False) as unit:
            assert len(await people.page(unit)) == 1
    finally:
        await other.close()
