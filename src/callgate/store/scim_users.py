"""What identity providers wrote of people (aggregate "identity"), and people as SCIM sees them.

A person is a user unless the identity provider deleted them; one whom an admin let in again is a user again.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select

from callgate.model.person import Person
from callgate.model.provisioned import Provisioned
from callgate.store import rows
from callgate.store.people import build as build_person
from callgate.store.schema import people
from callgate.store.scim_schema import group_members, scim_users
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

User = tuple[Person, Provisioned]
_WRITTEN = (
    "user_name", "external_id", "document", "teams", "roles", "modified", "edition", "removed",
)  # fmt: skip


def _build(row: Row[Any]) -> Provisioned:
    return Provisioned(
        person=row.person, user_name=row.user_name, external_id=row.external_id,
        document=msgspec.json.decode(row.document), teams=rows.names_from(row.given_teams),
        roles=rows.names_from(row.given_roles), modified=row.modified, edition=row.edition, removed=row.removed,
    )  # fmt: skip


def _both(row: Row[Any]) -> User:
    person = build_person(row)
    return person, Provisioned(person.id) if row.person is None else _build(row)


def _joined(unit: Unit) -> Select[Any]:
    """People of the tenant, each with their row here if there is one."""
    own = scim_users.c
    written = (
        own.person, own.user_name, own.external_id, own.document, own.teams.label("given_teams"),
        own.roles.label("given_roles"), own.modified, own.edition, own.removed,
    )  # fmt: skip
    owner = and_(own.tenant == people.c.tenant, own.person == people.c.id)
    statement = select(people, *written).select_from(people.outerjoin(scim_users, owner))
    return statement.where(people.c.tenant == unit.tenant, rows.live(people))


def _visible() -> ColumnElement[bool]:
    return or_(scim_users.c.removed.is_(None), scim_users.c.removed.is_(False), people.c.active.is_(True))


async def put(unit: Unit, *users: Provisioned) -> None:
    """Write what is kept of people. Raises `Refused("conflict")` when a user name is taken."""
    statement = insert_or(unit.postgresql, scim_users)
    statement = statement.on_conflict_do_update(
        index_elements=[scim_users.c.tenant, scim_users.c.person],
        set_={name: statement.excluded[name] for name in _WRITTEN},
    )
    for chunk in rows.chunks(users):
        await unit.execute(statement, [_values(unit, user) for user in chunk])


def _values(unit: Unit, user: Provisioned) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(user),
        "tenant": unit.tenant,
        "document": rows.to_json(user.document),
        "teams": rows.names(user.teams),
        "roles": rows.names(user.roles),
    }


async def get(unit: Unit, person_id: str, *, removed: bool = False) -> User | None:
    """One user; with `removed` also one that the identity provider deleted."""
    statement = _joined(unit).where(people.c.id == person_id)
    return await rows.one(unit, statement if removed else statement.where(_visible()), _both)


async def by_email(unit: Unit, email: str) -> User | None:
    """Whoever has this e-mail address, deleted users too."""
    return await rows.one(unit, _joined(unit).where(people.c.email == email.lower()), _both)


async def by_user_name(unit: Unit, user_name: str) -> User | None:
    """The user with this user name, in the form that it is compared in."""
    named = await rows.one(unit, _joined(unit).where(scim_users.c.user_name == user_name, _visible()), _both)
    if named is not None:
        return named
    nameless = _joined(unit).where(people.c.email == user_name, scim_users.c.user_name.is_(None), _visible())
    return await rows.one(unit, nameless, _both)


async def by_external_id(unit: Unit, external_id: str) -> tuple[User, ...]:
    statement = _joined(unit).where(scim_users.c.external_id == external_id, _visible())
    return await rows.many(unit, statement.order_by(people.c.id), _both)


async def among(unit: Unit, person_ids: Iterable[str], *, removed: bool = False) -> dict[str, User]:
    """Those of these ids that are users, by id; with `removed` also those whom the identity provider deleted."""
    found: dict[str, User] = {}
    for chunk in rows.chunks(person_ids):
        statement = _joined(unit).where(people.c.id.in_(chunk))
        for user in await rows.many(unit, statement if removed else statement.where(_visible()), _both):
            found[user[0].id] = user
    return found


async def page(unit: Unit, offset: int, limit: int) -> tuple[User, ...]:
    """Users in the order of their ids, `limit` of them from the `offset`th on."""
    return await rows.many(
        unit, _joined(unit).where(_visible()).order_by(people.c.id).offset(offset).limit(limit), _both
    )


async def after(unit: Unit, person_id: str, limit: int) -> tuple[User, ...]:
    """Users whose ids come after one, in their order."""
    statement = _joined(unit).where(people.c.id > person_id, _visible())
    return await rows.many(unit, statement.order_by(people.c.id).limit(limit), _both)


async def count(unit: Unit) -> int:
    found = _joined(unit).where(_visible()).with_only_columns(func.count())
    return int((await unit.execute(found)).scalar_one())


async def groups_of(unit: Unit, person_ids: Iterable[str]) -> dict[str, list[str]]:
    """Person → ids of the groups they are in."""
    found: dict[str, list[str]] = {}
    for chunk in rows.chunks(person_ids):
        statement = select(group_members.c.person, group_members.c.group).where(
            group_members.c.tenant == unit.tenant, group_members.c.person.in_(chunk)
        )
        for row in await unit.execute(statement.order_by(group_members.c.group)):
            found.setdefault(row.person, []).append(row.group)
    return found
