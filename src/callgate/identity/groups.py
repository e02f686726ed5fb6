"""Groups of people as an identity provider keeps them, and what being in one gives: every change with its record.

A group gives its members a team, for rules to match on. What groups gave is taken again when they no longer give it;
what an admin gave by hand stays. Fail closed: a group that would take another one's team is refused, and so is what
would leave no active admin.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from unicodedata import normalize

import msgspec

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity.people import some_admin_stays
from callgate.identity.recording import record, record_all
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.model.provisioned import Group, Member, Provisioned
from callgate.store import groups, people, scim_users
from callgate.store.unit import Unit

_TEAM = 32  # characters that a team may have
_DIGEST = 8
_NO_WORD = re.compile(r"[^a-z0-9]+")
Members = Mapping[str, str | None]  # person → what the identity provider calls them in the group


def team_of(name: str) -> str:
    """The team that a group of this display name gives. A name that makes no short slug gets a digest of itself."""
    compared = normalize("NFC", normalize("NFC", name).lower())
    slug = _NO_WORD.sub("-", normalize("NFKD", compared).encode("ascii", "ignore").decode()).strip("-")
    if slug and len(slug) <= _TEAM and compared.isascii():
        return slug
    digest = hashlib.sha256(compared.encode()).hexdigest()[:_DIGEST]
    return "-".join(part for part in (slug[: _TEAM - _DIGEST - 1].rstrip("-"), digest) if part)


def teams_and_roles(found: Iterable[Group]) -> tuple[frozenset[str], frozenset[str]]:
    """What somebody gets who is in these groups. Pure. Groups give no roles."""
    return frozenset(group.team for group in found), frozenset()


def given(
    user: tuple[Person, Provisioned], teams: frozenset[str], roles: frozenset[str]
) -> tuple[Person, Provisioned]:  # fmt: skip
    """A person with what their groups give, in the place of what groups gave before. Pure."""
    person, written = user
    kept = set(person.roles) - set(written.roles) | roles
    return (
        msgspec.structs.replace(
            person,
            teams=tuple(sorted(set(person.teams) - set(written.teams) | teams)),
            roles=tuple(sorted(kept or {"member"})),
        ),
        msgspec.structs.replace(
            written,
            teams=tuple(sorted(set(written.teams) & teams | teams - set(person.teams))),
            roles=tuple(sorted(set(written.roles) & roles | roles - set(person.roles))),
        ),
    )


async def settle(unit: Unit, actor: Actor, person_ids: Iterable[str]) -> None:
    """Give these people what their groups give now. Raises `Refused("last_admin")`."""
    wanted = sorted(set(person_ids))
    users = await scim_users.among(unit, wanted, removed=True)
    in_groups = await scim_users.groups_of(unit, wanted)
    known = await groups.among(unit, {one for some in in_groups.values() for one in some})
    changed: list[tuple[Person, Person]] = []
    written: list[Provisioned] = []
    for key, user in users.items():
        person, note = given(user, *teams_and_roles(known[one] for one in in_groups.get(key, ())))
        if note != user[1]:
            written.append(note)
        if person != user[0]:
            changed.append((user[0], person))
    await scim_users.put(unit, *written)
    await people.give(unit, [after for _, after in changed])
    if any("admin" in before.roles and before.active for before, _ in changed):
        await some_admin_stays(unit)
    await record_all(unit, actor, "people.change", [(after.id, "", "") for _, after in changed])


async def add(unit: Unit, actor: Actor, name: str, external_id: str | None, members: Members) -> Group:
    """Add a group. Raises `Refused`: conflict (another one gives the same team), validation, last_admin."""
    now = clock.now()
    group = Group(ids.new_id("grp"), name, await _free_team(unit, name, None), external_id, now, now, 1)
    await _check(unit, members)
    await groups.add(unit, group)
    await groups.add_members(unit, [Member(group.id, person, shown) for person, shown in members.items()])
    await record(unit, actor, "groups.add", group.id)
    await settle(unit, actor, members)
    return group


async def change(
    unit: Unit, actor: Actor, group: Group, name: str, external_id: str | None, members: Members
) -> Group:  # fmt: skip
    """Write a group anew. Raises `Refused`: conflict, validation, last_admin."""
    team = await _free_team(unit, name, group.id)
    found = await groups.members_of(unit, [group.id])
    before = {member.person: member.display for member in found.get(group.id, [])}
    await _check(unit, members.keys() - before.keys())
    gone = [person for person in before if person not in members or members[person] != before[person]]
    new = [person for person in members if person not in before or members[person] != before[person]]
    await groups.remove_members(unit, group.id, gone)
    await groups.add_members(unit, [Member(group.id, person, members[person]) for person in new])
    touched = {*gone, *new} if team == group.team else {*before, *members}
    group = msgspec.structs.replace(_touched(group), name=name, team=team, external_id=external_id)
    await groups.update_one(unit, group)
    await record(unit, actor, "groups.change", group.id)
    await settle(unit, actor, touched)
    return group


async def remove(unit: Unit, actor: Actor, group: Group) -> None:
    """Delete a group: its members lose what it gave. Raises `Refused("last_admin")`."""
    members = (await groups.members_of(unit, [group.id])).get(group.id, [])
    await groups.remove(unit, group.id)
    await record(unit, actor, "groups.remove", group.id)
    await settle(unit, actor, [member.person for member in members])


async def leave_all(unit: Unit, actor: Actor, person: Person) -> None:
    """Take a person out of every group. Raises `Refused("last_admin")`."""
    left = (await scim_users.groups_of(unit, [person.id])).get(person.id, [])
    await groups.remove_person(unit, person.id)
    for group in (await groups.among(unit, left)).values():
        await groups.update_one(unit, _touched(group))
        await record(unit, actor, "groups.change", group.id)
    await settle(unit, actor, [person.id])


def _touched(group: Group) -> Group:
    return msgspec.structs.replace(group, modified=clock.now(), edition=group.edition + 1)


async def _free_team(unit: Unit, name: str, group_id: str | None) -> str:
    team = team_of(name)
    other = await groups.by_team(unit, team)
    if other is not None and other.id != group_id:
        raise Refused("conflict", f"Another group already gives its members the team `{team}`; rename one of them.")
    return team


async def _check(unit: Unit, person_ids: Iterable[str]) -> None:
    wanted = set(person_ids)
    missing = len(wanted) - len(await scim_users.among(unit, {one for one in wanted if ids.is_row_id(one, "per")}))
    if missing:
        raise Refused("validation", f"{missing} of the members are no users here.")
