"""Who comes when an identity provider vouches for somebody: found by subject, else by e-mail address, else added.

A subject is who it was bound to at first sight, whatever address the provider names later. An address counts only when
it is verified and of a domain that an admin gave this provider. Groups become roles and teams as the provider's mapping
says; teams that it does not speak of stay. Providers leave the claim out for somebody who is in no group: at a sign-in
that is an answer, too. Fail closed: somebody inactive, a foreign domain, an address that is not
verified, or nobody known where none may be added: refused with what to do.
"""

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.identity import people as identity
from callgate.jose.tokens import Claims
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.model.signin import Provider, ProviderConfig
from callgate.store import people, providers
from callgate.store.unit import Unit


async def arrive(unit: Unit, provider: Provider, claims: Claims, *, signed_in: bool) -> Person:
    """The person behind verified claims: of a sign-in, or of an assertion, which need not speak of groups.

    Raises `Refused`: sign_in_failed, person_inactive.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Refused("sign_in_failed", "The provider did not say who you are.")
    actor = Actor(unit.tenant, "person", f"provider:{provider.name}", ())
    known = await providers.person_of(unit, provider.id, subject)
    person = await people.get(unit, known) if known is not None else None
    if person is None:
        person = await _by_address(unit, provider, claims, actor)
        await providers.bind(unit, provider.id, subject, person.id, clock.now())
    now = await people.locked_to_change(unit, person.id)  # what is kept of this sign-in ends with all else of theirs
    if now is None or not now.active:
        raise Refused("person_inactive", "You were deactivated here; an admin can let you in again.")
    groups = _groups(claims, provider.config.groups_claim, signed_in)
    return now if groups is None else await _mapped(unit, provider.config, groups, now, actor)


async def _by_address(unit: Unit, provider: Provider, claims: Claims, actor: Actor) -> Person:
    email = claims.get("email")
    config = provider.config
    if not isinstance(email, str) or "@" not in email:
        raise Refused("sign_in_failed", "The provider did not tell your e-mail address; it needs the scope `email`.")
    if claims.get("email_verified") not in (True, "true") and not config.trust_email:  # Apple and Cognito send a text
        raise Refused(
            "sign_in_failed",
            "The provider does not say that your e-mail address is verified. An admin can trust its addresses.",
        )
    email = email.strip().lower()
    if email.rpartition("@")[2] not in {one.lower() for one in config.domains}:
        raise Refused("sign_in_failed", "Your e-mail address is not of a domain that may sign in here; ask an admin.")
    person = await people.by_email(unit, email)
    if person is not None:
        return person
    if not config.just_in_time:
        raise Refused("sign_in_failed", "You are not known here yet; ask an admin to add you.")
    return await identity.add(unit, actor, email)


def _groups(claims: Claims, claim: str, signed_in: bool) -> set[str] | None:
    """The groups that somebody is in, None where nothing is said of them."""
    given = claims.get(claim)
    if isinstance(given, str):  # some send the only one by itself
        return {given}
    if isinstance(given, list):
        return {one for one in given if isinstance(one, str)}
    elsewhere = claims.get("_claim_names")  # Entra: more of them than go into a token (Core, section 5.6.2)
    if not signed_in or claim in claims or (isinstance(elsewhere, dict) and claim in elsewhere):
        return None
    return set()


async def _mapped(unit: Unit, config: ProviderConfig, groups: set[str], person: Person, actor: Actor) -> Person:
    """The person with the roles and teams that their groups give them."""
    roles, teams = person.roles, person.teams
    if config.roles:
        roles = tuple(sorted({"member", *(role for group, role in config.roles.items() if group in groups)}))
    if config.teams:
        others = set(teams) - set(config.teams.values())
        teams = tuple(sorted(others | {team for group, team in config.teams.items() if group in groups}))
    if (roles, teams) == (person.roles, person.teams):
        return person
    if "admin" in person.roles and "admin" not in roles and await people.admins(unit, person.id) == 0:
        roles = person.roles  # somebody has to be able to mend the mapping
        if teams == person.teams:
            return person
    return await identity.change(unit, actor, msgspec.structs.replace(person), roles, teams)
