"""Resource /people: who is accountable for calls. Deactivating ends all tokens in the same transaction."""

from typing import Any

import msgspec

from callgate import clock
from callgate.control.documents import Role
from callgate.control.fields import After, Email, Limit, Slug
from callgate.control.operations import Asked, Operation, Page, page_of
from callgate.control.views import PersonView, iso, person_view
from callgate.errors import Refused
from callgate.identity import local
from callgate.identity import people as identity
from callgate.identity.recording import record
from callgate.model.offboarding import Summary
from callgate.model.person import Person
from callgate.model.signin import INVITE
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


class Leaving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How somebody leaves: who gets the agents that they answer for (null: these are stopped). `dry_run` shows what
    would be ended, and ends nothing."""

    transfer_to: Email | None = None
    dry_run: bool = False


class LeftView(PersonView, frozen=True):
    """Somebody who left, or would. `receipt` is the id of the signed receipt; null where nothing was left to end."""

    dry_run: bool
    summary: Summary
    receipt: str | None


async def deactivate_person(asked: Asked[Any, Leaving]) -> LeftView:
    body, services = asked.body, asked.services
    async with services.db.unit(asked.tenant, write=False) as unit:
        person = await find(unit, asked.path["email"])
        heir = None if body.transfer_to is None else await find(unit, body.transfer_to)
    if body.dry_run:
        return _left(person, True, await services.accounts.preview(asked.tenant, person, heir), None)
    found = await services.accounts.leave(asked.actor, person, heir)
    await services.seen(asked.tenant)
    gone = msgspec.structs.replace(person, active=False)
    return _left(gone, False, found.summary if found is not None else Summary(), found.id if found else None)


def _left(person: Person, dry_run: bool, summary: Summary, receipt: str | None) -> LeftView:
    return LeftView(
        **msgspec.structs.asdict(person_view(person)), dry_run=dry_run, summary=summary, receipt=receipt
    )  # fmt: skip


async def reactivate_person(asked: Asked[Any, None]) -> PersonView:
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await find(unit, asked.path["email"])
        person = await identity.reactivate(unit, asked.actor, person)
    await asked.services.seen(asked.tenant)
    return person_view(person)


class LinkView(msgspec.Struct, frozen=True):
    """A one-time link; whoever opens it becomes this person."""

    url: str
    expires: str | None


async def invite_person(asked: Asked[Any, None]) -> LinkView:
    base = asked.services.address(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await find(unit, asked.path["email"])
        if not person.active:
            raise Refused("person_inactive")
        clear = await local.new_link(unit, INVITE, person.id)
        await record(unit, asked.actor, "people.invite", person.id)
    return LinkView(f"{base}/signin/link/{clear}", iso(clock.now() + local.LINK_SECONDS))


OPERATIONS = (
    Operation("GET", "/people", "List people.", list_people, Page[PersonView], query=PeopleQuery),
    Operation(
        "POST", "/people", "Add a person.", add_person, PersonView, body=NewPerson, status=201, errors=("conflict",)
    ),
    Operation("GET", "/people/{email}", "One person.", get_person, PersonView),
    Operation(
        "PATCH", "/people/{email}", "Change roles and teams.", change_person, PersonView, body=PersonChange
    ),
    Operation(
        "POST", "/people/{email}/link", "A one-time link to set a password.", invite_person, LinkView, status=201
    ),
    Operation(
        "POST", "/people/{email}/deactivate", "Off-board a person: all their access, everywhere.", deactivate_person,
        LeftView, body=Leaving, errors=("conflict",),
    ),
    Operation(
        "POST", "/people/{email}/reactivate", "Let a person in again; no token revives.", reactivate_person, PersonView
    ),
)  # fmt: skip
