"""What groups give: a team each, on top of what was given by hand, and the last admin stays one."""

import msgspec
import pytest
from hypothesis import given as draw
from hypothesis import strategies as st

from callgate import ids
from callgate.errors import Refused
from callgate.identity import groups, people
from callgate.identity.groups import given, team_of
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.model.provisioned import Group, Provisioned
from callgate.store import people as rows
from callgate.store import tenants
from callgate.store.engine import Database

OPERATOR = Actor("default", "operator", "operator:0", ("admin",))
NAMES = st.frozensets(st.sampled_from("abcd"))


@pytest.mark.parametrize(
    ("name", "team"),
    [
        ("Platform Crew", "platform-crew"),
        ("  SRE  ", "sre"),
        ("R&D / Europe", "r-d-europe"),
        ("dev_ops__x", "dev-ops-x"),
        ("x" * 32, "x" * 32),
    ],
)
def test_a_team_is_the_name_as_a_slug(name: str, team: str) -> None:
    assert team_of(name) == team


@draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=256))
def test_every_name_makes_a_team_and_case_does_not_matter(name: str) -> None:
    team = team_of(name)
    assert ids.valid_slug(team)
    assert team_of(name.lower()) == team


def test_names_that_differ_in_what_a_slug_can_not_hold_make_two_teams() -> None:
    names = ["Größe", "Grosse", "日本", "中国", "!!!", "???", "a" * 40, "a" * 41]
    assert len({team_of(name) for name in names}) == len(names)


@draw(NAMES, NAMES, NAMES)
def test_what_groups_gave_goes_and_what_was_given_by_hand_stays(
    by_hand: frozenset[str], before: frozenset[str], after: frozenset[str]
) -> None:  # fmt: skip
    user = (Person("per_1", "default", "a@acme.test", ("member",), tuple(sorted(by_hand))), Provisioned("per_1"))
    user = given(user, before, frozenset())
    assert set(user[0].teams) == by_hand | before
    user = given(user, after, frozenset())
    assert set(user[0].teams) == by_hand | after
    user = given(user, frozenset(), frozenset())
    assert set(user[0].teams) == by_hand
    assert user[1].teams == ()


def test_roles_that_groups_give_go_too_and_nobody_is_without_one() -> None:
    user = (Person("per_1", "default", "a@acme.test", ("auditor",)), Provisioned("per_1"))
    user = given(user, frozenset(), frozenset({"admin"}))
    assert user[0].roles == ("admin", "auditor")
    assert given(user, frozenset(), frozenset())[0].roles == ("auditor",)
    bare = (msgspec.structs.replace(user[0], roles=("admin",)), Provisioned("per_1", roles=("admin",)))
    assert given(bare, frozenset(), frozenset())[0].roles == ("member",)


async def test_a_group_that_gives_admin_keeps_one_admin(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def admins(found: object) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(), frozenset({"admin"} if list(found) else ())  # type: ignore[call-overload]

    monkeypatch.setattr(groups, "teams_and_roles", admins)
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    async with db.unit("default") as unit:
        ana = await people.add(unit, OPERATOR, "ana@acme.test")
        bo = await people.add(unit, OPERATOR, "bo@acme.test")
        group = await groups.add(unit, OPERATOR, "Admins", None, {ana.id: None})

    async def write(members: dict[str, str | None]) -> Group:
        async with db.unit("default") as unit:
            return await groups.change(unit, OPERATOR, group, "Admins", None, members)

    with pytest.raises(Refused) as caught:
        await write({})
    assert caught.value.code == "last_admin"
    await write({bo.id: None})  # hands over in one change
    async with db.unit("default", write=False) as unit:
        after = [await rows.get(unit, one.id) for one in (ana, bo)]
    assert [one.roles for one in after if one] == [("member",), ("admin", "member")]
