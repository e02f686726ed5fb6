"""Access tokens by the hash of their clear text (aggregate "identity"). The clear text never comes here."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, bindparam, delete, func, insert, select, update

from callgate.errors import Refused
from callgate.model.oauth import scopes_of
from callgate.model.person import Person, Token
from callgate.store import rows
from callgate.store.schema import people, tokens
from callgate.store.unit import Unit

AGGREGATE = "identity"


def _build(row: Row[Any]) -> Token:
    return Token(
        id=row.id, tenant=row.tenant, hash=bytes(row.hash), person=row.person, agent=row.agent, client=row.client,
        created=row.created, expires=row.expires, revoked_at=row.revoked_at, last_used=row.last_used,
        revision=row.revision, family=row.family, scope=scopes_of(row.scope),
    )  # fmt: skip


async def add(unit: Unit, token: Token) -> Token:
    """Add a token. Raises `Refused("conflict")` when the hash is taken.

    One of an authorization raises no revision: nobody can have asked for it before, so no cache has to hear of it.
    """
    revision = await unit.bump(AGGREGATE) if token.family is None else 0
    token = msgspec.structs.replace(token, tenant=unit.tenant, revision=revision)
    scope = None if token.scope is None else " ".join(token.scope)
    await unit.execute(insert(tokens).values(**{**msgspec.structs.asdict(token), "scope": scope}))
    return token


async def find(unit: Unit, token_hash: bytes) -> tuple[Token, Person] | None:
    """The token of this hash and its person, of whatever tenant; revoked and expired ones too.

    Needs a unit over all tenants: the token is what tells the tenant. None when the hash is unknown.
    """
    unit.require_system()
    owner = (people.c.tenant == tokens.c.tenant) & (people.c.id == tokens.c.person)
    statement = (
        select(
            tokens, people.c.email, people.c.roles, people.c.teams, people.c.active, people.c.deleted,
            people.c.created.label("person_created"), people.c.revision.label("person_revision"),
        )
        .join(people, owner)
        .where(tokens.c.hash == token_hash)
    )  # fmt: skip
    row = (await unit.execute(statement)).one_or_none()
    if row is None:
        return None
    person = Person(
        id=row.person, tenant=row.tenant, email=row.email, roles=rows.names_from(row.roles),
        teams=rows.names_from(row.teams), active=row.active and not row.deleted, created=row.person_created,
        revision=row.person_revision,
    )  # fmt: skip
    return _build(row), person


async def by_hash(unit: Unit, digest: bytes) -> Token | None:
    return await rows.one(unit, rows.own(unit, tokens, tokens.c.hash == digest), _build)


async def get(unit: Unit, token_id: str) -> Token | None:
    return await rows.one(unit, rows.own(unit, tokens, tokens.c.id == token_id), _build)


async def revoke(unit: Unit, token_id: str, at: float) -> Token:
    """End a token. Ending one that has ended changes nothing. Raises `Refused("not_found")`."""
    await _revoke(unit, at, tokens.c.id == token_id)
    token = await get(unit, token_id)
    if token is None:
        raise Refused("not_found", "There is no such token.")
    return token


async def revoke_of_person(unit: Unit, person_id: str, at: float, *, families_only: bool = False) -> int:
    """End all tokens of a person, or just those of authorizations; how many there were."""
    mine = tokens.c.person == person_id
    return await _revoke(unit, at, mine & tokens.c.family.is_not(None) if families_only else mine)


async def revoke_family(unit: Unit, family: str, at: float) -> int:
    """End the access tokens of an authorization; how many there were."""
    return await _revoke(unit, at, tokens.c.family == family)


async def revoke_of_client(unit: Unit, client_id: str, at: float) -> int:
    """End the access tokens of an OAuth client; how many there were."""
    return await _revoke(unit, at, (tokens.c.client == client_id) & tokens.c.family.is_not(None))


async def count_open(unit: Unit, person_id: str, now: float) -> int:
    """How many tokens of a person work."""
    mine = (tokens.c.tenant == unit.tenant) & (tokens.c.person == person_id) & tokens.c.revoked_at.is_(None)
    still = tokens.c.expires.is_(None) | (tokens.c.expires > now)
    return int((await unit.execute(select(func.count()).where(mine, still))).scalar_one())


async def prune(unit: Unit, before: float) -> None:
    """Delete the tokens of authorizations that were over by then; others stay, for the list."""
    unit.require_system()
    await unit.execute(delete(tokens).where(tokens.c.family.is_not(None), tokens.c.expires < before))


async def touch(unit: Unit, used: Mapping[str, float]) -> None:
    """Write when tokens were last used: token id → seconds since 1970. Raises no revision; never on a call's path."""
    if not used:
        return
    statement = update(tokens).where(tokens.c.tenant == unit.tenant, tokens.c.id == bindparam("token"))
    values = [{"token": token_id, "used": at} for token_id, at in used.items()]
    await unit.execute(statement.values(last_used=bindparam("used")), values)


async def page(
    unit: Unit, after: str | None = None, limit: int = 100, *, person: str | None = None
) -> tuple[Token, ...]:  # fmt: skip
    statement = rows.own(unit, tokens)
    if person is not None:
        statement = statement.where(tokens.c.person == person)
    return await rows.many(unit, rows.after_key(statement, tokens, after, limit), _build)


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[Token, ...], tuple[str, ...]]:
    """(new and revoked tokens, ()) after a revision of "identity"; token rows are never deleted."""
    return await rows.changed(unit, tokens, revision, _build)


async def _revoke(unit: Unit, at: float, condition: ColumnElement[bool]) -> int:
    revision = await unit.bump(AGGREGATE)
    statement = update(tokens).where(tokens.c.tenant == unit.tenant, tokens.c.revoked_at.is_(None), condition)
    result = await unit.execute(statement.values(revoked_at=at, revision=revision))
    return result.rowcount
