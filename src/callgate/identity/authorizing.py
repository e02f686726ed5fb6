"""Codes, access tokens and refresh tokens of OAuth clients: each step is one transaction.

An authorization is a family of tokens (RFC 9700, section 4.14.2): a refresh token is good once; one that comes again
ends the whole family, except within a few seconds, when the answer may have been lost on its way. A code that comes
again does the same (RFC 6749, section 4.1.2). Fail closed: an authorization that ended, a person or an owner who is
inactive, an agent that was stopped: nothing is issued.
"""

import msgspec

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.oauth import Authorization, Code, OAuthClient, RefreshToken
from callgate.model.person import Person, Token
from callgate.store import agents, oauth, people, tokens
from callgate.store.unit import Unit

CODE_SECONDS = 60.0
GRACE_SECONDS = 30.0  # in which an answer with a new refresh token may have been lost
FAMILY_SECONDS = 90 * 86400.0
SYSTEM = "gateway"  # the actor of what nobody asked for


class Lifetimes(msgspec.Struct, frozen=True):
    """Seconds."""

    access: float
    refresh: float


class Issued(msgspec.Struct, frozen=True):
    """What a client gets; the clear texts are kept nowhere."""

    access: str
    refresh: str | None
    scope: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        return "Issued(…)"


class Reused(Exception):
    """A code or refresh token came again: its family was ended in this unit, which has to be committed."""


async def new_code(unit: Unit, code: Code) -> str:
    """Keep what a person allowed; returns the code in clear. Its `hash` and `expires` are set here."""
    clear = ids.new_secret(ids.CODE)
    stored = msgspec.structs.replace(code, hash=ids.token_hash(clear), expires=clock.now() + CODE_SECONDS)
    await oauth.add_code(unit, stored)
    return clear


async def redeem(unit: Unit, clear: str, client: OAuthClient, lifetimes: Lifetimes) -> tuple[Code, Issued] | None:
    """The tokens for a code that was made for this client; None for one that is unknown or over.

    What else has to fit (redirect URI, verifier, resource) is for the caller, who rolls back. Raises `Reused`,
    `Refused("person_inactive")`.
    """
    code = await oauth.code(unit, ids.token_hash(clear))
    if code is None or code.client != client.client_id or code.expires <= clock.now():
        return None
    family = ids.new_id("aut")
    if code.family is not None or not await oauth.use_code(unit, code.hash, family):
        again = await oauth.code(unit, code.hash)
        if again is not None and again.family is not None:
            await end(unit, SYSTEM, again.family, "reuse")
        raise Reused
    person = await _active(unit, code.person)
    authorization = Authorization(
        family, unit.tenant, person.id, client.client_id, client.agent, code.scope, clock.now(),
        clock.now() + FAMILY_SECONDS,
    )  # fmt: skip
    await oauth.add_authorization(unit, authorization)
    await oauth.touch_client(unit, client.client_id, clock.now())
    await record(unit, _actor(unit, person.id), "authorizations.add", family)
    renews = "refresh_token" in client.facts.grant_types
    refresh = await _refresh(unit, authorization, lifetimes) if renews else None
    return code, await _issued(unit, authorization, refresh, lifetimes)


async def renew(
    unit: Unit, clear: str, client: OAuthClient, scope: tuple[str, ...] | None, lifetimes: Lifetimes
) -> Issued | None:
    """New tokens for a refresh token of this client; None for one that is unknown, over, or asks for more.

    Raises `Reused`, `Refused("person_inactive")`.
    """
    digest = ids.token_hash(clear)
    known = await oauth.refresh(unit, digest)
    if known is None or known.expires <= clock.now():
        return None
    authorization = await oauth.authorization(unit, known.family)
    if authorization is None or authorization.client != client.client_id or not _open(authorization):
        return None
    if scope is not None and not set(scope) <= set(authorization.scope):
        return None
    await _active(unit, authorization.person)
    authorization = await oauth.locked_authorization(unit, known.family)  # it may have ended while we waited
    if authorization is None or not _open(authorization):
        return None
    fresh = ids.new_secret(ids.REFRESH)
    if not await _used_once(unit, known, ids.token_hash(fresh)):
        await end(unit, SYSTEM, known.family, "reuse")
        raise Reused
    await _keep_refresh(unit, authorization, fresh, lifetimes)
    await oauth.touch_client(unit, client.client_id, clock.now())
    narrowed = authorization if scope is None else msgspec.structs.replace(authorization, scope=scope)
    return await _issued(unit, narrowed, fresh, lifetimes)


async def _used_once(unit: Unit, known: RefreshToken, successor: bytes) -> bool:
    """Whether a refresh token may be answered: used now, or a moment ago, when the answer may have been lost or another
    process of the client was quicker. Of several that were given for one the first that is used counts; the others are
    as good as used."""
    now = clock.now()
    if await oauth.use_refresh(unit, known.hash, successor, now):
        await oauth.use_other_refreshes(unit, known.family, successor, now)
        return True
    again = await oauth.refresh(unit, known.hash)
    return again is not None and again.used is not None and now - again.used <= GRACE_SECONDS


async def for_owner(unit: Unit, client: OAuthClient, scope: tuple[str, ...], lifetimes: Lifetimes) -> Issued:
    """A token for a client that acts for itself, in the name of its owner (RFC 6749, section 4.4).

    Raises `Refused`: person_inactive.
    """
    return await for_person(unit, client, client.owner or "", scope, lifetimes)


async def for_person(
    unit: Unit, client: OAuthClient, person_id: str, scope: tuple[str, ...], lifetimes: Lifetimes
) -> Issued:  # fmt: skip
    """An access token without a refresh token. Raises `Refused`: person_inactive."""
    person = await _active(unit, person_id)
    now = clock.now()
    authorization = Authorization(
        ids.new_id("aut"), unit.tenant, person.id, client.client_id, client.agent, scope, now, now + lifetimes.access
    )
    await oauth.add_authorization(unit, authorization)
    await oauth.touch_client(unit, client.client_id, now)
    await record(unit, _actor(unit, person.id), "authorizations.add", authorization.id)
    return await _issued(unit, authorization, None, lifetimes)


async def end(unit: Unit, actor: str, family: str, why: str) -> bool:
    """End an authorization with all its tokens; whether it was open."""
    now = clock.now()
    ended = await oauth.end_authorizations(unit, oauth.with_id(family), now, why)
    await tokens.revoke_family(unit, family, now)
    if ended:
        await record(unit, Actor(unit.tenant, "person", actor, ()), "authorizations.end", family, "open", why)
    return bool(ended)


async def revoke(unit: Unit, clear: str, client: OAuthClient) -> None:
    """End what a client gives back (RFC 7009): a refresh token its whole family, an access token just itself."""
    digest = ids.token_hash(clear)
    refresh = await oauth.refresh(unit, digest)
    if refresh is not None:
        family = await oauth.authorization(unit, refresh.family)
        if family is not None and family.client == client.client_id:
            await end(unit, family.person, family.id, "revoked")
        return
    token = await tokens.by_hash(unit, digest)
    if token is not None and token.client == client.client_id and token.revoked_at is None:
        await tokens.revoke(unit, token.id, clock.now())
        await record(unit, _actor(unit, token.person), "tokens.revoke", token.id)


# -- inside ------------------------------------------------------------------------------------------------------------


async def _refresh(unit: Unit, authorization: Authorization, lifetimes: Lifetimes) -> str:
    clear = ids.new_secret(ids.REFRESH)
    await _keep_refresh(unit, authorization, clear, lifetimes)
    return clear


async def _keep_refresh(unit: Unit, authorization: Authorization, clear: str, lifetimes: Lifetimes) -> None:
    now = clock.now()
    expires = min(now + lifetimes.refresh, authorization.expires)
    await oauth.add_refresh(
        unit, RefreshToken(ids.token_hash(clear), unit.tenant, authorization.id, now, expires)
    )  # fmt: skip


async def _issued(
    unit: Unit, authorization: Authorization, refresh: str | None, lifetimes: Lifetimes
) -> Issued:  # fmt: skip
    if authorization.agent is not None:
        agent = await agents.by_name(unit, authorization.agent)
        if agent is None or not agent.active:
            raise Refused("forbidden", "The agent of this client was removed or stopped; an admin can say why.")
    clear = ids.new_token()
    token = Token(
        id=ids.new_id("tok"),
        tenant=unit.tenant,
        hash=ids.token_hash(clear),
        person=authorization.person,
        agent=authorization.agent,
        client=authorization.client,
        created=clock.now(),
        expires=clock.now() + lifetimes.access,
        family=authorization.id,
        scope=authorization.scope,
    )
    await tokens.add(unit, token)
    return Issued(clear, refresh, authorization.scope, lifetimes.access)


async def _active(unit: Unit, person_id: str) -> Person:
    """The person, locked: who is deactivated meanwhile gets no token any more."""
    person = await people.locked(unit, person_id)
    if person is None or not person.active:
        raise Refused("person_inactive")
    return person


def _open(authorization: Authorization) -> bool:
    return authorization.ended is None and authorization.expires > clock.now()


def _actor(unit: Unit, person: str) -> Actor:
    return Actor(unit.tenant, "person", person, ())
