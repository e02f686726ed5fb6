"""People and their access tokens: every change is one transaction with its record.

Fail closed: deactivating a person ends all their tokens in the same transaction; reactivating revives none.
"""

from collections.abc import Iterable

import msgspec

from callgate import clock, ids
from callgate.errors import Refused
from callgate.model.caller import ROLES, Actor
from callgate.model.event import Change
from callgate.model.person import Person, Token
from callgate.store import agents, audit, people, tokens
from callgate.store.unit import Unit


async def record(unit: Unit, actor: Actor, action: str, subject: str, before: str = "", after: str = "") -> None:
    """Write an administrative change into the audit, in the same transaction."""
    await record_all(unit, actor, action, [(subject, before, after)])


async def record_all(unit: Unit, actor: Actor, action: str, changes: Iterable[tuple[str, str, str]]) -> None:
    """The same for many of one kind: (subject, before, after) each."""
    now = clock.now_us()
    await audit.append(unit, *(Change(ids.new_id("chg"), now, unit.tenant, actor.id, action, *one) for one in changes))


async def add(
    unit: Unit, actor: Actor, email: str, roles: tuple[str, ...] = ("member",), teams: tuple[str, ...] = ()
) -> Person:
    """Add a person. Raises `Refused`: validation, conflict (the address is taken)."""
    check_roles(roles)
    email = email.strip().lower()
    name, at, domain = email.partition("@")
    if not (name and at and domain) or len(email) > 254 or any(char.isspace() for char in email):
        raise Refused("validation", f"`{email[:64]}` is not an e-mail address.")
    if await people.by_email(unit, email) is not None:
        raise Refused("conflict", f"There is already a person with the address {email}.")
    person = Person(
        id=ids.new_id("per"),
        tenant=unit.tenant,
        email=email,
        roles=tuple(sorted(set(roles))),
        teams=tuple(sorted(set(teams))),
        created=clock.now(),
    )
    person = await people.add(unit, person)
    await record(unit, actor, "people.add", person.id)
    return person


async def change(
    unit: Unit, actor: Actor, person: Person, roles: tuple[str, ...] | None, teams: tuple[str, ...] | None
) -> Person:
    """Replace roles or teams; None leaves them."""
    if roles is not None:
        check_roles(roles)
        person = msgspec.structs.replace(person, roles=tuple(sorted(set(roles))))
    if teams is not None:
        person = msgspec.structs.replace(person, teams=tuple(sorted(set(teams))))
    person = await people.update_one(unit, person)
    await record(unit, actor, "people.change", person.id)
    return person


async def deactivate(unit: Unit, actor: Actor, person: Person) -> tuple[Person, int]:
    """End a person's access: returns the person and how many tokens ended. Idempotent."""
    ended = await tokens.revoke_of_person(unit, person.id, clock.now())
    if person.active:
        person = await people.update_one(unit, msgspec.structs.replace(person, active=False))
        await record(unit, actor, "people.deactivate", person.id, "active", "inactive")
    return person, ended


async def reactivate(unit: Unit, actor: Actor, person: Person) -> Person:
    """Let a person in again. Tokens that ended stay ended."""
    if not person.active:
        person = await people.update_one(unit, msgspec.structs.replace(person, active=True))
        await record(unit, actor, "people.reactivate", person.id, "inactive", "active")
    return person


async def issue(
    unit: Unit, actor: Actor, person: Person, *, agent: str | None, client: str | None, expires: float | None
) -> tuple[Token, str]:
    """Issue an access token: returns the row and the clear text, which is kept nowhere.

    Raises `Refused`: person_inactive, validation (no such agent, already over).
    """
    if not person.active:
        raise Refused("person_inactive")
    if agent is not None and await agents.by_name(unit, agent) is None:
        raise Refused("validation", f"There is no agent `{agent}`; add it first: callgate agents add {agent}")
    if expires is not None and expires <= clock.now():
        raise Refused("validation", "The token would be over already.")
    clear = ids.new_token()
    token = Token(
        id=ids.new_id("tok"),
        tenant=unit.tenant,
        hash=ids.token_hash(clear),
        person=person.id,
        agent=agent,
        client=client,
        created=clock.now(),
        expires=expires,
    )
    token = await tokens.add(unit, token)
    await record(unit, actor, "tokens.issue", token.id)
    return token, clear


async def revoke(unit: Unit, actor: Actor, token_id: str) -> Token:
    """End a token. Raises `Refused("not_found")`."""
    token = await tokens.revoke(unit, token_id, clock.now())
    await record(unit, actor, "tokens.revoke", token.id)
    return token


def check_roles(roles: tuple[str, ...]) -> None:
    """Raise `Refused("validation")` for a role that does not exist."""
    for role in roles:
        if role not in ROLES:
            raise Refused("validation", f"`{role}` is no role; the roles are {', '.join(ROLES)}.")
