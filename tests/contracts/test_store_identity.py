"""Contract of people, agents and tokens. Runs on both databases."""

import msgspec
import pytest

from callgate import ids
from callgate.errors import Refused
from callgate.model.person import Agent, Person, Token
from callgate.store import agents, people, tokens
from callgate.store.engine import Database
from callgate.store.unit import Unit

ANA = Person(id="per_1", tenant="default", email="Ana@Acme.test", roles=("member", "admin"), teams=("ops", "ops"))
BEN = Person(id="per_2", tenant="default", email="ben@acme.test")


def token(number: int, person: str = "per_1") -> Token:
    return Token(id=f"tok_{number}", tenant="default", hash=ids.token_hash(str(number)), person=person, created=1.0)


async def test_people_are_kept_with_sorted_sets_and_lower_case_addresses(db: Database) -> None:
    async with db.unit("default") as unit:
        added = await people.add(unit, ANA)
    async with db.unit("default", write=False) as unit:
        assert await people.get(unit, "per_1") == added
    assert (added.email, added.roles, added.teams, added.revision) == (
        "ana@acme.test",
        ("admin", "member"),
        ("ops",),
        1,
    )


async def test_an_address_is_taken_in_whatever_case_but_free_again_after_deletion(db: Database) -> None:
    async with db.unit("default") as unit:
        await people.add(unit, ANA)
        with pytest.raises(Refused, match="already"):
            await people.add(unit, msgspec.structs.replace(BEN, email="ANA@acme.TEST"))
        await people.remove(unit, "per_1")
        await people.add(unit, msgspec.structs.replace(BEN, email="ana@acme.test"))
        assert await people.get(unit, "per_1") is None
        assert await people.emails_of(unit, ["per_1", "per_9"]) == {"per_1": "ana@acme.test"}


async def test_the_same_address_may_belong_to_a_person_of_another_tenant(db: Database) -> None:
    for tenant in ("acme", "other"):
        async with db.unit(tenant) as unit:
            assert (await people.add(unit, ANA)).tenant == tenant
            assert len(await people.page(unit)) == 1


async def test_changing_somebody_unknown_is_not_found(db: Database) -> None:
    async with db.unit("default") as unit:
        for work in (
            people.update_one(unit, ANA),
            people.remove(unit, "per_1"),
            agents.update_one(unit, Agent(id="agt_1", tenant="default", name="bot")),
            agents.remove(unit, "agt_1"),
        ):
            with pytest.raises(Refused) as caught:
                await work
            assert caught.value.code == "not_found"


async def test_people_come_in_pages_and_by_activity(db: Database) -> None:
    async with db.unit("default") as unit:
        for number in range(5):
            await people.add(unit, Person(id=f"per_{number}", tenant="default", email=f"{number}@acme.test"))
        gone = await people.get(unit, "per_3")
        assert gone is not None
        await people.update_one(unit, msgspec.structs.replace(gone, active=False))
        first = await people.page(unit, None, 2)
        second = await people.page(unit, first[-1].id, 2)
        assert [item.id for item in (*first, *second)] == ["per_0", "per_1", "per_2", "per_3"]
        assert [item.id for item in await people.page(unit, active=False)] == ["per_3"]


async def test_changes_since_a_revision_name_the_changed_and_the_deleted(db: Database) -> None:
    async with db.unit("default") as unit:
        await people.add(unit, ANA)
    async with db.unit("default") as unit:
        ben = await people.add(unit, BEN)
        await people.remove(unit, "per_1")
    async with db.unit("default", write=False) as unit:
        assert await people.changed_since(unit, 1) == ((ben,), ("per_1",))
        assert await people.changed_since(unit, 2) == ((), ())


async def test_agents_keep_their_globs_and_none_means_all(db: Database) -> None:
    some = Agent(id="agt_1", tenant="default", name="bot", upstreams=("zen*", "docs", "docs"))
    async with db.unit("default") as unit:
        added = await agents.add(unit, some)
        assert added.upstreams == ("docs", "zen*")
        assert await agents.by_name(unit, "bot") == added
        with pytest.raises(Refused, match="bot"):
            await agents.add(unit, msgspec.structs.replace(some, id="agt_2"))
        freed = await agents.update_one(unit, msgspec.structs.replace(added, upstreams=None))
        assert await agents.page(unit) == (freed,)
        assert freed.upstreams is None
        await agents.remove(unit, "agt_1")
    async with db.unit("default", write=False) as unit:
        assert await agents.changed_since(unit, 0) == ((), ("agt_1",))
        assert await agents.get(unit, "agt_1") is None


async def _with_token(unit: Unit) -> Token:
    await people.add(unit, ANA)
    return await tokens.add(unit, token(1))


async def test_a_token_is_found_by_its_hash_with_its_person_whatever_the_tenant(db: Database) -> None:
    async with db.unit("acme") as unit:
        added = await _with_token(unit)
    async with db.unit(None, write=False) as unit:
        found = await tokens.find(unit, ids.token_hash("1"))
        assert await tokens.find(unit, ids.token_hash("2")) is None
    assert found is not None
    assert found[0] == added
    assert (found[0].tenant, found[1].tenant, found[1].id, found[1].roles) == (
        "acme", "acme", "per_1", ("admin", "member"),
    )  # fmt: skip


async def test_the_token_of_a_deleted_person_shows_an_inactive_one(db: Database) -> None:
    async with db.unit("default") as unit:
        await _with_token(unit)
        await people.remove(unit, "per_1")
    async with db.unit(None, write=False) as unit:
        found = await tokens.find(unit, ids.token_hash("1"))
    assert found is not None
    assert found[1].active is False


async def test_a_revoked_token_keeps_its_first_end(db: Database) -> None:
    async with db.unit("default") as unit:
        await _with_token(unit)
        assert (await tokens.revoke(unit, "tok_1", 5.0)).revoked_at == 5.0
        assert (await tokens.revoke(unit, "tok_1", 6.0)).revoked_at == 5.0
        with pytest.raises(Refused):
            await tokens.revoke(unit, "tok_9", 6.0)


async def test_all_tokens_of_a_person_end_together_and_replicas_learn_of_it(db: Database) -> None:
    async with db.unit("default") as unit:
        await _with_token(unit)
        await tokens.add(unit, token(2))
        await tokens.add(unit, token(3, person="per_2"))
    async with db.unit("default") as unit:
        assert await tokens.revoke_of_person(unit, "per_1", 9.0) == 2
    async with db.unit("default", write=False) as unit:
        changed, gone = await tokens.changed_since(unit, 1)
        assert {item.id for item in changed} == {"tok_1", "tok_2"}
        assert gone == ()
        assert [item.id for item in await tokens.page(unit, person="per_2")] == ["tok_3"]


async def test_use_is_noted_in_bulk_without_a_revision(db: Database) -> None:
    async with db.unit("default") as unit:
        await _with_token(unit)
        await tokens.add(unit, token(2))
    async with db.unit("default") as unit:
        await tokens.touch(unit, {"tok_1": 7.0, "tok_2": 8.0})
        await tokens.touch(unit, {})
        assert {item.id: item.last_used for item in await tokens.page(unit)} == {"tok_1": 7.0, "tok_2": 8.0}
        assert await tokens.changed_since(unit, 1) == ((), ())


async def test_two_tokens_never_share_a_hash(db: Database) -> None:
    async with db.unit("default") as unit:
        await _with_token(unit)
    with pytest.raises(Refused) as caught:
        async with db.unit("other") as unit:
            await tokens.add(unit, msgspec.structs.replace(token(1), id="tok_x"))
    assert caught.value.code == "conflict"
