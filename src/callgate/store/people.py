"""People with their roles and teams (aggregate "identity"). E-mail addresses are kept in lower case."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, func, insert, select, update

from callgate.errors import Refused
from callgate.model.person import Person
from callgate.store import rows
from callgate.store.schema import people
from callgate.store.unit import Unit

AGGREGATE = "identity"


def build(row: Row[Any]) -> Person:
    """The person in a row that holds the columns of `people`."""
    return Person(
        id=row.id, tenant=row.tenant, email=row.email, roles=rows.names_from(row.roles),
        teams=rows.names_from(row.teams), active=row.active, created=row.created, revision=row.revision,
    )  # fmt: skip


def _values(person: Person) -> dict[str, object]:
    return {
        "email": person.email.lower(),
        "roles": rows.names(person.roles),
        "teams": rows.names(person.teams),
        "active": person.active,
        "created": person.created,
    }


async def add(unit: Unit, person: Person) -> Person:
    """Add a person. Raises `Refused("conflict")` when the e-mail is taken."""
    if await by_email(unit, person.email) is not None:
        raise Refused("conflict", "There is already a person with this e-mail address.")
    revision = await unit.bump(AGGREGATE)
    await unit.execute(insert(people).values(tenant=unit.tenant, id=person.id, revision=revision, **_values(person)))
    return _stored(unit, person, revision)


async def update_one(unit: Unit, person: Person) -> Person:
    """Write a person's e-mail, roles, teams and activity. Raises `Refused`: not_found, conflict."""
    revision = await unit.bump(AGGREGATE)
    statement = update(people).where(people.c.tenant == unit.tenant, people.c.id == person.id, rows.live(people))
    result = await unit.execute(statement.values(revision=revision, **_values(person)))
    if result.rowcount != 1:
        raise Refused("not_found", "There is no such person.")
    return _stored(unit, person, revision)


async def give(unit: Unit, given: Iterable[Person]) -> None:
    """Write the roles and teams of many people at once."""
    revision = await unit.bump(AGGREGATE)
    statement = update(people).where(people.c.tenant == unit.tenant, people.c.id == bindparam("row"))
    statement = statement.values(revision=revision, roles=bindparam("new_roles"), teams=bindparam("new_teams"))
    for chunk in rows.chunks(given):
        values = [
            {"row": one.id, "new_roles": rows.names(one.roles), "new_teams": rows.names(one.teams)} for one in chunk
        ]
        await unit.execute(statement, values)


async def remove(unit: Unit, person_id: str) -> None:
    """Delete a person. Raises `Refused("not_found")`."""
    revision = await unit.bump(AGGREGATE)
    if await rows.mark_deleted(unit, people, revision, people.c.id == person_id) != 1:
        raise Refused("not_found", "There is no such person.")


async def get(unit: Unit, person_id: str) -> Person | None:
    return await rows.one(unit, rows.own(unit, people, people.c.id == person_id), build)


async def locked(unit: Unit, person_id: str) -> Person | None:
    """The person, unchanged until this unit ends (SQLite writes one unit at a time anyway)."""
    statement = rows.own(unit, people, people.c.id == person_id)
    return await rows.one(unit, statement.with_for_update(read=True) if unit.postgresql else statement, build)


async def locked_to_change(unit: Unit, person_id: str) -> Person | None:
    """The person, for this unit alone: whoever issues something for them waits, and looks again."""
    statement = rows.own(unit, people, people.c.id == person_id)
    return await rows.one(unit, statement.with_for_update() if unit.postgresql else statement, build)


async def by_email(unit: Unit, email: str) -> Person | None:
    """The person with this e-mail address, in whatever case."""
    return await rows.one(unit, rows.own(unit, people, people.c.email == email.lower()), build)


async def page(
    unit: Unit, after: str | None = None, limit: int = 100, *, active: bool | None = None
) -> tuple[Person, ...]:  # fmt: skip
    statement = rows.own(unit, people)
    if active is not None:
        statement = statement.where(people.c.active.is_(active))
    return await rows.many(unit, rows.after_key(statement, people, after, limit), build)


async def admins(unit: Unit, without: str = "") -> int:
    """How many active admins there are, one person aside."""
    statement = select(func.count()).where(
        people.c.tenant == unit.tenant, people.c.id != without, people.c.active.is_(True), rows.live(people),
        people.c.roles.contains('"admin"'),
    )  # fmt: skip
    return int((await unit.execute(statement)).scalar_one())


async def emails_of(unit: Unit, ids: Iterable[str]) -> dict[str, str]:
    """Row id → e-mail, of deleted people too (the audit speaks of them)."""
    statement = select(people.c.id, people.c.email).where(people.c.tenant == unit.tenant, people.c.id.in_(list(ids)))
    return await rows.pairs(unit, statement)


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[Person, ...], tuple[str, ...]]:
    """(changed people, ids of deleted people) after a revision of "identity"."""
    return await rows.changed(unit, people, revision, build)


def _stored(unit: Unit, person: Person, revision: int) -> Person:
    return msgspec.structs.replace(
        person,
        tenant=unit.tenant,
        email=person.email.lower(),
        roles=tuple(sorted(set(person.roles))),
        teams=tuple(sorted(set(person.teams))),
        revision=revision,
    )
