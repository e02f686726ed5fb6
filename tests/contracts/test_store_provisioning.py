"""Contract of what identity providers write: users, groups and members. Runs on both databases."""

import msgspec
import pytest

from callgate.errors import Refused
from callgate.model.person import Person
from callgate.model.provisioned import Group, Member, Provisioned
from callgate.store import groups, people, scim_users
from callgate.store.engine import Database
from callgate.store.unit import Unit

ANA = Person(id="per_1", tenant="default", email="ana@acme.test", roles=("admin",))
CREW = Group("grp_1", "Crew", "crew", "x", 1.0, 2.0, 3)


async def _prepared(unit: Unit) -> None:
    await people.add(unit, ANA)
    await people.add(unit, Person(id="per_2", tenant="default", email="ben@acme.test", active=False, roles=("admin",)))
    await people.add(unit, Person(id="per_3", tenant="default", email="cy@acme.test"))


async def test_people_are_users_until_they_are_removed_and_inactive(db: Database) -> None:
    async with db.unit("default") as unit:
        await _prepared(unit)
        assert [one.id for one, _ in await scim_users.page(unit, 0, 9)] == ["per_1", "per_2", "per_3"]
        await scim_users.put(unit, Provisioned("per_2", removed=True), Provisioned("per_3", removed=True))
        assert [one.id for one, _ in await scim_users.page(unit, 0, 9)] == ["per_1", "per_3"]
        assert await scim_users.count(unit) == 2
        assert await scim_users.get(unit, "per_2") is None
        assert await scim_users.get(unit, "per_2", removed=True) is not None
        assert set(await scim_users.among(unit, ["per_1", "per_2"])) == {"per_1"}
        assert await people.admins(unit) == 1
        assert await people.admins(unit, without="per_1") == 0


async def test_what_was_written_is_read_back_and_names_are_given_once(db: Database) -> None:
    written = Provisioned("per_1", "ana", "x1", {"a": ["\x00", "😀"]}, ("crew",), ("admin",), 2.5, 7)
    async with db.unit("default") as unit:
        await _prepared(unit)
        await scim_users.put(unit, written)
        found = await scim_users.by_user_name(unit, "ana")
        assert found is not None
        assert (found[0].id, found[1]) == ("per_1", written)
        assert await scim_users.by_user_name(unit, "ana@acme.test") is None  # it has another name now
        assert (await scim_users.by_external_id(unit, "x1"))[0][1] == written
        nameless = await scim_users.by_user_name(unit, "cy@acme.test")
        assert nameless is not None
        assert nameless[1] == Provisioned("per_3")
    with pytest.raises(Refused) as caught:
        async with db.unit("default") as unit:
            await scim_users.put(unit, Provisioned("per_3", "ana"))
    assert caught.value.code == "conflict"


async def test_groups_keep_their_members_and_give_one_team_each(db: Database) -> None:
    async with db.unit("default") as unit:
        await _prepared(unit)
        await groups.add(unit, CREW)
        await groups.add_members(unit, [Member("grp_1", "per_1", "A"), Member("grp_1", "per_3")])
        assert await groups.members_of(unit, ["grp_1", "grp_9"]) == {
            "grp_1": [Member("grp_1", "per_1", "A"), Member("grp_1", "per_3")]
        }
        assert await scim_users.groups_of(unit, ["per_1", "per_2"]) == {"per_1": ["grp_1"]}
        await groups.remove_members(unit, "grp_1", ["per_1"])
        await groups.remove_person(unit, "per_3")
        assert await groups.members_of(unit, ["grp_1"]) == {}
        assert await groups.by_team(unit, "crew") == CREW
        renamed = msgspec.structs.replace(CREW, name="New", team="new")
        await groups.update_one(unit, renamed)
        assert await groups.page(unit, 0, 9) == await groups.after(unit, "", 9) == (renamed,)
        with pytest.raises(Refused, match="no such group"):
            await groups.update_one(unit, msgspec.structs.replace(CREW, id="grp_9"))
        await groups.remove(unit, "grp_1")
        assert await groups.count(unit) == 0
        await groups.add(unit, CREW)
    with pytest.raises(Refused) as caught:
        async with db.unit("default") as unit:
            await groups.add(unit, msgspec.structs.replace(CREW, id="grp_2"))
    assert caught.value.code == "conflict"


async def test_roles_and_teams_of_many_change_with_one_revision(db: Database) -> None:
    async with db.unit("default") as unit:
        await _prepared(unit)
    async with db.unit("default") as unit:
        given = [
            msgspec.structs.replace(ANA, id=key, teams=("b", "a"), roles=("member",)) for key in ("per_1", "per_3")
        ]
        await people.give(unit, given)
    async with db.unit("default", write=False) as unit:
        changed, _ = await people.changed_since(unit, 1)
        assert {(one.id, one.email, one.teams) for one in changed} == {
            ("per_1", "ana@acme.test", ("a", "b")), ("per_3", "cy@acme.test", ("a", "b")),
        }  # fmt: skip


async def test_tenants_do_not_see_each_other(db: Database) -> None:
    for tenant in ("acme", "other"):
        async with db.unit(tenant) as unit:
            await _prepared(unit)
            await groups.add(unit, CREW)
            await groups.add_members(unit, [Member("grp_1", "per_1", tenant)])
            await scim_users.put(unit, Provisioned("per_1", "name", document={"tenant": tenant}))
    async with db.unit("acme") as unit:
        await groups.remove(unit, "grp_1")
    async with db.unit("other", write=False) as unit:
        assert (await groups.members_of(unit, ["grp_1"]))["grp_1"][0].display == "other"
        found = await scim_users.by_user_name(unit, "name")
        assert found is not None
        assert found[1].document == {"tenant": "other"}
        assert await scim_users.count(unit) == 3
