"""People and their tokens: every change with its record, and an inactive person has none that work."""

import msgspec
import pytest

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import people
from callgate.model.caller import Actor
from callgate.model.entry import Filter
from callgate.model.person import Agent, Person, Token
from callgate.offboarding.leave import leave
from callgate.store import agents, audit, tenants, tokens
from callgate.store import people as rows
from callgate.store.engine import Database

OPERATOR = Actor("default", "operator", "operator:0", ("admin",))


async def prepared(db: Database) -> Person:
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    async with db.unit("default") as unit:
        return await people.add(unit, OPERATOR, "Ana@Acme.Test", ("reviewer", "member", "member"), ("b", "a"))


async def records(db: Database) -> list[tuple[str, str, str, str]]:
    async with db.unit("default", write=False) as unit:
        found = await audit.page(unit, wanted=Filter(kind="change"))
    return sorted((each.action or "", each.subject or "", each.before or "", each.after or "") for each in found)


async def issued(
    db: Database, person: Person, agent: str | None = None, expires: float | None = None
) -> tuple[Token, str]:
    async with db.unit("default") as unit:
        return await people.issue(unit, OPERATOR, person, agent=agent, client=None, expires=expires)


async def test_a_person_is_added_in_one_spelling_and_recorded(db: Database) -> None:
    person = await prepared(db)
    assert (person.email, person.roles, person.teams, person.active) == (
        "ana@acme.test", ("member", "reviewer"), ("a", "b"), True,
    )  # fmt: skip
    async with db.unit("default", write=False) as unit:
        assert await rows.by_email(unit, "ANA@acme.test") == person
    assert await records(db) == [("people.add", person.id, "", "")]


@pytest.mark.parametrize("email", ["", "ana", "@acme.test", "ana@", "a b@acme.test", "a@" + "x" * 260])
async def test_what_is_no_address_is_refused(db: Database, email: str) -> None:
    await prepared(db)
    with pytest.raises(Refused, match="e-mail") as caught:
        async with db.unit("default") as unit:
            await people.add(unit, OPERATOR, email)
    assert caught.value.code == "validation"


async def test_an_address_is_given_once(db: Database) -> None:
    await prepared(db)
    with pytest.raises(Refused) as caught:
        async with db.unit("default") as unit:
            await people.add(unit, OPERATOR, "ana@ACME.test ")
    assert caught.value.code == "conflict"
    assert len(await records(db)) == 1


async def test_a_role_that_does_not_exist_is_refused_by_name(db: Database) -> None:
    person = await prepared(db)
    async with db.unit("default") as unit:
        with pytest.raises(Refused, match="`root` is no role"):
            await people.change(unit, OPERATOR, person, ("root",), None)
        with pytest.raises(Refused, match="`root` is no role"):
            await people.add(unit, OPERATOR, "bo@acme.test", ("root",))


async def test_roles_and_teams_are_replaced_each_on_its_own(db: Database) -> None:
    person = await prepared(db)
    async with db.unit("default") as unit:
        person = await people.change(unit, OPERATOR, person, ("admin",), None)
        assert (person.roles, person.teams) == (("admin",), ("a", "b"))
        person = await people.change(unit, OPERATOR, person, None, ("c", "c"))
        assert (person.roles, person.teams) == (("admin",), ("c",))
    assert [action for action, *_ in await records(db)] == ["people.add", "people.change", "people.change"]


async def test_deactivating_ends_every_token_in_the_same_transaction(db: Database) -> None:
    person = await prepared(db)
    for _ in range(3):
        await issued(db, person)

    async def fails() -> None:
        async with db.unit("default") as unit:
            await leave(unit, OPERATOR, person)
            raise LookupError

    with pytest.raises(LookupError):
        await fails()
    async with db.unit("default", write=False) as unit:
        assert all(token.revoked_at is None for token in await tokens.page(unit, person=person.id))
    async with db.unit("default") as unit:
        left = await leave(unit, OPERATOR, person)
        assert left is not None
        assert left.summary.tokens == 3
        assert await leave(unit, OPERATOR, person) is None, "there was nothing left to end"
    async with db.unit("default", write=False) as unit:
        assert all(token.revoked_at is not None for token in await tokens.page(unit, person=person.id))
    assert [each for each in await records(db) if each[0] == "people.deactivate"] == [
        ("people.deactivate", person.id, "active", "inactive")
    ]


async def test_coming_back_revives_no_token(db: Database) -> None:
    person = await prepared(db)
    token, _ = await issued(db, person)
    async with db.unit("default") as unit:
        await leave(unit, OPERATOR, person)
        person = await people.reactivate(unit, OPERATOR, msgspec.structs.replace(person, active=False))
        assert await people.reactivate(unit, OPERATOR, person) == person
    async with db.unit("default", write=False) as unit:
        found = await tokens.get(unit, token.id)
    assert person.active
    assert found is not None
    assert found.revoked_at is not None
    assert [action for action, *_ in await records(db)].count("people.reactivate") == 1


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(db: Database) -> None:
    person = await prepared(db)
    token, clear = await issued(db, person)
    assert ids.looks_like_token(clear)
    assert token.hash == ids.token_hash(clear)
    assert ("tokens.issue", token.id, "", "") in await records(db)
    assert clear not in str(token)


async def test_no_token_for_an_inactive_person_an_unknown_agent_or_the_past(db: Database) -> None:
    person = await prepared(db)
    with pytest.raises(Refused, match="callgate agents add bot"):
        await issued(db, person, agent="bot")
    with pytest.raises(Refused, match="already"):
        await issued(db, person, expires=clock.now() - 1)
    async with db.unit("default") as unit:
        await agents.add(unit, Agent("agt_1", "default", "bot"))
    token, _ = await issued(db, person, agent="bot", expires=clock.now() + 60)
    assert token.agent == "bot"
    async with db.unit("default") as unit:
        await leave(unit, OPERATOR, person)
        person = msgspec.structs.replace(person, active=False)
    with pytest.raises(Refused) as caught:
        await issued(db, person)
    assert caught.value.code == "person_inactive"


async def test_revoking_is_recorded_and_an_unknown_token_is_not_found(db: Database) -> None:
    person = await prepared(db)
    token, _ = await issued(db, person)
    async with db.unit("default") as unit:
        revoked = await people.revoke(unit, OPERATOR, token.id)
        assert revoked.revoked_at is not None
    assert ("tokens.revoke", token.id, "", "") in await records(db)
    with pytest.raises(Refused) as caught:
        async with db.unit("default") as unit:
            await people.revoke(unit, OPERATOR, "tok_unknown")
    assert caught.value.code == "not_found"
