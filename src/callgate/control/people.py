"""Resource /people: who is accountable for calls. Deactivating ends all tokens in the same transaction."""

from typing import Any

import msgspec

from callgate.control.documents import Role
from callgate.control.fields import After, Email, Limit, Slug
from callgate.control.operations import Asked, Operation, Page, page_of
from callgate.control.views import PersonView, person_view
from callgate.errors import Refused
from callgate.identity import people as identity
from callgate.model.person import Person
from callgate.store import people as rows
from callgate.store.unit import Unit


class PeopleQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of people; `active` narrows it."""

    after: After | None = None
    limit: Limit = 100
    active: bool | None = None


class NewPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person to add."""

    email: Email
    roles: tuple[Role, ...] = ("member",)
    teams: tuple[Slug, ...] = ()


class PersonChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    roles: tuple[Role, ...] | None = None
    teams: tuple[Slug, ...] | None = None


async def find(unit: Unit, email: str) -> Person:
    """The person of an e-mail address. Raises `Refused("not_found")`."""
    person = await rows.by_email(unit, email)
    if person is None:
        raise Refused("not_found", "There is no person with this e-mail address.")
    return person


async def list_people(asked: Asked[PeopleQuery, None]) -> Page[PersonView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, query.after, query.limit + 1, active=query.active)
    return page_of([person_view(one) for one in found], query.limit, lambda one: one.id)


async def get_person(asked: Asked[Any, None]) -> PersonView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return person_view(await find(unit, asked.path["email"]))


async def add_person(asked: Asked[Any, NewPerson]) -> PersonView:
    body = asked.body
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await identity.add(unit, asked.actor, body.email, body.roles, body.teams)
    await asked.services.seen(asked.tenant)
    return person_view(person)


async def change_person(asked: Asked[Any, PersonChange]) -> PersonView:
    body = asked.body
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await find(unit, asked.path["email"])
        person = await identity.change(unit, asked.actor, person, body.roles, body.teams)
    await asked.services.seen(asked.tenant)
    return person_view(person)


async def deactivate_person(asked: Asked[Any, None]) -> PersonView:
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await find(unit, asked.path["email"])
        person, _ended = await identity.deactivate(unit, asked.actor, person)
    await asked.services.seen(asked.tenant)
    return person_view(person)


async def reactivate_person(asked: Asked[Any, None]) -> PersonView:
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await find(unit, asked.path["email"])
        person = await identity.reactivate(unit, asked.actor, person)
    await asked.services.seen(asked.tenant)
    return person_view(person)


OPERATIONS = (
    Operation("GET", "/people", "List people.", list_people, Page[PersonView], query=PeopleQuery),
    Operation(
        "POST", "/people", "Add a person.", add_person, PersonView, body=NewPerson, status=201, errors=("conflict",)
    ),
    Operation("GET", "/people/{email}", "One person.", get_person, PersonView),
    Operation(
        "PATCH", "/people/{email}", "Change roles and teams.", change_person, PersonView, body=PersonChange
    ),
    Operation("POST", "/people/{email}/deactivate", "End a person's access.", deactivate_person, PersonView),
    Operation(
        "POST", "/people/{email}/reactivate", "Let a person in again; no token revives.", reactivate_person, PersonView
    ),
)  # fmt: skip
