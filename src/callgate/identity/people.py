"""People and their access tokens: every change is one transaction with its record.

Fail closed: the last admin cannot be taken away; reactivating somebody revives nothing that ended (`offboarding`).
"""

import msgspec

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.caller import ROLES, SCIM_CLIENT, Actor
from callgate.model.person import Person, Token, is_address
from callgate.store import agents, people, tokens
from callgate.store.unit import Unit


async def add(
    unit: Unit, actor: Actor, email: str, roles: tuple[str, ...] = ("member",), teams: tuple[str, ...] = ()
) -> Person:
    """Add a person. Raises `Refused`: validation, conflict (the address is taken)."""
    check_roles(roles)
    email = await _free_address(unit, email)
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
    """Replace roles or teams; None leaves them. Raises `Refused`: validation, not_found, conflict (the last admin)."""
    person = await _as_now(unit, person)
    if roles is not None:
        check_roles(roles)
        if "admin" not in roles:
            await keep_an_admin(unit, actor, person)
        person = msgspec.structs.replace(person, roles=tuple(sorted(set(roles))))
    if teams is not None:
        person = msgspec.structs.replace(person, teams=tuple(sorted(set(teams))))
    person = await people.update_one(unit, person)
    await record(unit, actor, "people.change", person.id)
    return person


async def rename(unit: Unit, actor: Actor, person: Person, email: str) -> Person:
    """Give a person another e-mail address. Raises `Refused`: validation, conflict (the address is taken)."""
    email, person = await _free_address(unit, email), await _as_now(unit, person)
    person = await people.update_one(unit, msgspec.structs.replace(person, email=email))
    await record(unit, actor, "people.change", person.id)
    return person


async def _as_now(unit: Unit, person: Person) -> Person:
    """The person, locked: who left since they were read is not let in again by writing down what was read."""
    known = await people.locked_to_change(unit, person.id)
    if known is None:
        raise Refused("not_found", "There is no such person.")
    return known


async def _free_address(unit: Unit, email: str) -> str:
    email = email.strip().lower()
    if not is_address(email):
        raise Refused("validation", f"`{email[:64]}` is not an e-mail address.")
    if await people.by_email(unit, email) is not None:
        raise Refused("conflict", f"There is already a person with the address {email}.")
    return email


async def some_admin_stays(unit: Unit, without: str = "") -> None:
    """Refuse a change after which nobody may manage the tenant: call it when the change is made, or name the person
    who is about to leave. Raises `Refused("last_admin")`."""
    await unit.bump(people.AGGREGATE)  # of two who remove each other at once, the second looks after the first
    if await people.admins(unit, without) == 0:
        raise Refused("last_admin")


async def reactivate(unit: Unit, actor: Actor, person: Person) -> Person:
    """Let a person in again. Tokens that ended stay ended."""
    person = await _as_now(unit, person)
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
    if client == SCIM_CLIENT and (agent is not None or "admin" not in person.roles):
        raise Refused("validation", "A token for `scim` is for an admin, without an agent.")
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


async def keep_an_admin(unit: Unit, actor: Actor, person: Person) -> None:
    """Refuse to take the last admin away; the operator may, who can add another. Raises `Refused("last_admin")`."""
    if actor.kind != "operator" and person.active and "admin" in person.roles:
        await some_admin_stays(unit, without=person.id)


def check_roles(roles: tuple[str, ...]) -> None:
    """Raise `Refused("validation")` for a role that does not exist."""
    for role in roles:
        if role not in ROLES:
            raise Refused("validation", f"`{role}` is no role; the roles are {', '.join(ROLES)}.")
