"""Ending what lets somebody in, without ending the person: sessions, authorizations, tokens, kept sign-ins.

This is the first half of offboarding, and all of what follows when a provider says that somebody signed out there.
Fail closed: the person's row is locked first, so nothing that is issued meanwhile is missed.
"""

import msgspec

from callgate import clock
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.store import oauth, people, provider_tokens, providers, signin, tokens
from callgate.store.engine import Database
from callgate.store.unit import Unit


class Ended(msgspec.Struct, frozen=True):
    """How much was ended."""

    sessions: int = 0
    authorizations: int = 0
    tokens: int = 0


async def end_access(unit: Unit, person: str, why: str, *, issued_too: bool) -> Ended:
    """End every browser session and authorization of a person with its tokens, and forget what they agreed to;
    `issued_too`: also the tokens that an admin issued for them."""
    now = clock.now()
    await people.locked_to_change(unit, person)
    sessions = await signin.end_sessions_of(unit, person)
    authorizations = await oauth.end_authorizations(unit, oauth.of_person(person), now, why)
    await oauth.drop_codes(unit, person)
    await oauth.forget_consents(unit, person)
    await provider_tokens.remove(unit, person=person)
    ended = await tokens.revoke_of_person(unit, person, now, families_only=not issued_too)
    return Ended(sessions, authorizations, ended)


async def signed_out(db: Database, tenant: str, provider: str, who: tuple[object, object]) -> None:
    """A provider's back-channel logout: of one of its sessions, or of a subject altogether."""
    sid, subject = who
    async with db.unit(tenant) as unit:
        person = await providers.person_of(unit, provider, subject) if isinstance(subject, str) else None
        of = sid if isinstance(sid, str) else None
        touched = set(await signin.end_provider_session(unit, provider, of, person))
        if of is None and person is not None:
            touched.add(person)
        for one in touched:
            await end_access(unit, one, "signed out", issued_too=False)
            await record(unit, Actor(tenant, "person", f"provider:{provider}", ()), "sessions.end", one)
