"""Groups of people and who is in them, as identity providers keep them (aggregate "identity")."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from callgate.errors import Refused
from callgate.model.provisioned import Group, Member
from callgate.store import rows
from callgate.store.scim_schema import group_members, groups
from callgate.store.unit import Unit


def _build(row: Row[Any]) -> Group:
    return Group(
        id=row.id, name=row.name, team=row.team, external_id=row.external_id, created=row.created,
        modified=row.modified, edition=row.edition,
    )  # fmt: skip


def _member(row: Row[Any]) -> Member:
    return Member(group=row.group, person=row.person, display=row.display)


async def add(unit: Unit, group: Group) -> None:
    """Add a group. Raises `Refused("conflict")` when another one has its team."""
    await unit.execute(insert(groups).values(tenant=unit.tenant, **msgspec.structs.asdict(group)))


async def update_one(unit: Unit, group: Group) -> None:
    """Write a group. Raises `Refused`: not_found, conflict (another one has its team)."""
    statement = update(groups).where(groups.c.tenant == unit.tenant, groups.c.id == group.id)
    result = await unit.execute(statement.values(**msgspec.structs.asdict(group)))
    if result.rowcount != 1:
        raise Refused("not_found", "There is no such group.")


async def remove(unit: Unit, group_id: str) -> None:
    """Delete a group and forget who was in it."""
    for table, key in ((group_members, group_members.c.group), (groups, groups.c.id)):
        await unit.execute(delete(table).where(table.c.tenant == unit.tenant, key == group_id))


async def get(unit: Unit, group_id: str) -> Group | None:
    return await rows.one(unit, rows.own(unit, groups, groups.c.id == group_id), _build)


async def by_team(unit: Unit, team: str) -> Group | None:
    return await rows.one(unit, rows.own(unit, groups, groups.c.team == team), _build)


async def by_external_id(unit: Unit, external_id: str) -> tuple[Group, ...]:
    statement = rows.own(unit, groups, groups.c.external_id == external_id)
    return await rows.many(unit, statement.order_by(groups.c.id), _build)


async def among(unit: Unit, group_ids: Iterable[str]) -> dict[str, Group]:
    """Those of these ids that are groups, by id."""
    found: dict[str, Group] = {}
    for chunk in rows.chunks(group_ids):
        for group in await rows.many(unit, rows.own(unit, groups, groups.c.id.in_(chunk)), _build):
            found[group.id] = group
    return found


async def page(unit: Unit, offset: int, limit: int) -> tuple[Group, ...]:
    """Groups in the order of their ids, `limit` of them from the `offset`th on."""
    return await rows.many(unit, rows.own(unit, groups).order_by(groups.c.id).offset(offset).limit(limit), _build)


async def after(unit: Unit, group_id: str, limit: int) -> tuple[Group, ...]:
    """Groups whose ids come after one, in their order."""
    return await rows.many(
        unit, rows.own(unit, groups, groups.c.id > group_id).order_by(groups.c.id).limit(limit), _build
    )


async def count(unit: Unit) -> int:
    statement = select(func.count()).select_from(groups).where(groups.c.tenant == unit.tenant)
    return int((await unit.execute(statement)).scalar_one())


async def members_of(unit: Unit, group_ids: Iterable[str]) -> dict[str, list[Member]]:
    """Group → its members, in the order of their ids."""
    found: dict[str, list[Member]] = {}
    for chunk in rows.chunks(group_ids):
        statement = rows.own(unit, group_members, group_members.c.group.in_(chunk))
        for member in await rows.many(unit, statement.order_by(group_members.c.person), _member):
            found.setdefault(member.group, []).append(member)
    return found


async def add_members(unit: Unit, members: Iterable[Member]) -> None:
    for chunk in rows.chunks(members):
        values = [{"tenant": unit.tenant, **msgspec.structs.asdict(one)} for one in chunk]
        await unit.execute(insert(group_members), values)


async def remove_members(unit: Unit, group_id: str, person_ids: Iterable[str]) -> None:
    for chunk in rows.chunks(person_ids):
        await _forget(unit, group_members.c.group == group_id, group_members.c.person.in_(chunk))


async def remove_person(unit: Unit, person_id: str) -> None:
    """Take a person out of every group."""
    await _forget(unit, group_members.c.person == person_id)


async def _forget(unit: Unit, *conditions: ColumnElement[bool]) -> None:
    await unit.execute(delete(group_members).where(group_members.c.tenant == unit.tenant, *conditions))
