"""OAuth clients, consents, authorizations, codes and refresh tokens. Secrets come here as hashes alone.

What must happen once (a code redeemed, a refresh token used) is one conditional UPDATE; who changed no row was late.
"""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Table, case, delete, func, insert, select, update

from callgate.model.oauth import Authorization, ClientFacts, Code, OAuthClient, RefreshToken
from callgate.store import rows
from callgate.store.identity_schema import authorizations, consents, oauth_clients, oauth_codes, refresh_tokens
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

_facts = msgspec.json.Decoder(ClientFacts).decode


def _client(row: Row[Any]) -> OAuthClient:
    return OAuthClient(
        id=row.id, tenant=row.tenant, client_id=row.client_id, kind=row.kind, facts=_facts(row.content),
        secret=None if row.secret is None else bytes(row.secret), agent=row.agent, owner=row.owner,
        created=row.created, used=row.used, checked=row.checked, pinned=row.pinned,
    )  # fmt: skip


def _client_values(client: OAuthClient) -> dict[str, object]:
    values = msgspec.structs.asdict(client)
    content = rows.to_json(values.pop("facts"))
    return {**values, "content": content}


async def put_client(unit: Unit, client: OAuthClient) -> None:
    """Write a client, new or known by its `client_id`."""
    values = {**_client_values(client), "tenant": unit.tenant}
    statement = insert_or(unit.postgresql, oauth_clients).values(**values)
    kept = {key: value for key, value in values.items() if key not in ("tenant", "id", "client_id", "created")}
    await unit.execute(statement.on_conflict_do_update(index_elements=["tenant", "client_id"], set_=kept))


async def put_facts(unit: Unit, client_id: str, facts: ClientFacts, checked: float) -> bool:
    """Write what a client says of itself now, and nothing of what an admin said of it; False where it is not known."""
    mine = (oauth_clients.c.tenant == unit.tenant) & (oauth_clients.c.client_id == client_id)
    content = case((oauth_clients.c.pinned, oauth_clients.c.content), else_=rows.to_json(facts))
    result = await unit.execute(update(oauth_clients).where(mine).values(content=content, checked=checked))
    return result.rowcount == 1


async def client(unit: Unit, client_id: str) -> OAuthClient | None:
    return await rows.one(unit, rows.own(unit, oauth_clients, oauth_clients.c.client_id == client_id), _client)


async def client_by_id(unit: Unit, id_: str) -> OAuthClient | None:
    return await rows.one(unit, rows.own(unit, oauth_clients, oauth_clients.c.id == id_), _client)


async def clients(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[OAuthClient, ...]:
    return await rows.many(unit, rows.after_key(rows.own(unit, oauth_clients), oauth_clients, after, limit), _client)


async def touch_client(unit: Unit, client_id: str, at: float) -> None:
    """Note that a client was used; one that never is expires."""
    mine = (oauth_clients.c.tenant == unit.tenant) & (oauth_clients.c.client_id == client_id)
    await unit.execute(update(oauth_clients).where(mine).values(used=at))


async def count_unused(unit: Unit) -> int:
    """How many clients came by themselves, by registration or document, and were never used."""
    c = oauth_clients.c
    statement = select(func.count()).where(
        c.tenant == unit.tenant, c.kind != "entered", c.used.is_(None), c.pinned.is_(False)
    )
    return int((await unit.execute(statement)).scalar_one())


async def remove_client(unit: Unit, client_id: str) -> bool:
    """Delete a client; whether it was there."""
    mine = (oauth_clients.c.tenant == unit.tenant) & (oauth_clients.c.client_id == client_id)
    return (await unit.execute(delete(oauth_clients).where(mine))).rowcount == 1


async def consent(unit: Unit, person: str, client_id: str) -> tuple[str, str] | None:
    """(scope, redirect URI) that a person allowed a client before."""
    c = consents.c
    statement = select(c.scope, c.redirect).where(c.tenant == unit.tenant, c.person == person, c.client == client_id)
    row = (await unit.execute(statement)).one_or_none()
    return None if row is None else (row.scope, row.redirect)


async def put_consent(unit: Unit, person: str, client_id: str, allowed: tuple[str, str], at: float) -> None:
    """Remember (scope, redirect URI) that a person allowed a client."""
    fresh = {"scope": allowed[0], "redirect": allowed[1], "at": at}
    values = {"tenant": unit.tenant, "person": person, "client": client_id, **fresh}
    statement = insert_or(unit.postgresql, consents).values(**values)
    await unit.execute(
        statement.on_conflict_do_update(index_elements=["tenant", "person", "client"], set_=fresh)
    )  # fmt: skip


async def forget_consents(unit: Unit, person: str) -> int:
    """Delete what a person allowed; how many there were."""
    return (
        await unit.execute(delete(consents).where(consents.c.tenant == unit.tenant, consents.c.person == person))
    ).rowcount


# -- authorizations --------------------------------------------------------------------------------------------------


def _authorization(row: Row[Any]) -> Authorization:
    return Authorization(
        id=row.id, tenant=row.tenant, person=row.person, client=row.client, agent=row.agent,
        scope=tuple(row.scope.split()), created=row.created, expires=row.expires, ended=row.ended,
        ended_by=row.ended_by,
    )  # fmt: skip


def _values(unit: Unit, one: Authorization | Code) -> dict[str, object]:
    return {**msgspec.structs.asdict(one), "tenant": unit.tenant, "scope": " ".join(one.scope)}


async def add_authorization(unit: Unit, one: Authorization) -> None:
    await unit.execute(insert(authorizations).values(**_values(unit, one)))


async def authorization(unit: Unit, id_: str) -> Authorization | None:
    return await rows.one(unit, rows.own(unit, authorizations, authorizations.c.id == id_), _authorization)


async def locked_authorization(unit: Unit, id_: str) -> Authorization | None:
    """The same, for this unit alone: whoever ends it waits for what is issued, or is seen."""
    statement = rows.own(unit, authorizations, authorizations.c.id == id_)
    return await rows.one(unit, statement.with_for_update() if unit.postgresql else statement, _authorization)


async def authorizations_of(
    unit: Unit, person: str | None = None, after: str | None = None, limit: int = 500
) -> tuple[Authorization, ...]:
    """Those that have not ended, of one person or of all."""
    statement = rows.own(unit, authorizations, authorizations.c.ended.is_(None))
    if person is not None:
        statement = statement.where(authorizations.c.person == person)
    return await rows.many(unit, rows.after_key(statement, authorizations, after, limit), _authorization)


async def end_authorizations(unit: Unit, condition: ColumnElement[bool], at: float, why: str) -> int:
    """End authorizations; how many there were. Their access tokens are `tokens.revoke_families`' business."""
    open_ = (authorizations.c.tenant == unit.tenant) & authorizations.c.ended.is_(None)
    result = await unit.execute(update(authorizations).where(open_, condition).values(ended=at, ended_by=why))
    return result.rowcount


def of_person(person: str) -> ColumnElement[bool]:
    return authorizations.c.person == person


def of_client(client_id: str) -> ColumnElement[bool]:
    return authorizations.c.client == client_id


def with_id(id_: str) -> ColumnElement[bool]:
    return authorizations.c.id == id_


# -- codes and refresh tokens ----------------------------------------------------------------------------------------


def _code(row: Row[Any]) -> Code:
    return Code(
        hash=bytes(row.hash), tenant=row.tenant, client=row.client, person=row.person, redirect_uri=row.redirect_uri,
        challenge=row.challenge, resource=row.resource, scope=tuple(row.scope.split()), expires=row.expires,
        family=row.family,
    )  # fmt: skip


async def add_code(unit: Unit, one: Code) -> None:
    await unit.execute(insert(oauth_codes).values(**_values(unit, one)))


async def code(unit: Unit, digest: bytes) -> Code | None:
    return await rows.one(unit, rows.own(unit, oauth_codes, oauth_codes.c.hash == digest), _code)


async def use_code(unit: Unit, digest: bytes, family: str) -> bool:
    """Redeem a code for an authorization; False when somebody did before."""
    mine = (oauth_codes.c.tenant == unit.tenant) & (oauth_codes.c.hash == digest) & oauth_codes.c.family.is_(None)
    return (await unit.execute(update(oauth_codes).where(mine).values(family=family))).rowcount == 1


async def drop_codes(unit: Unit, person: str) -> int:
    """Delete the codes of a person; how many there were."""
    mine = (oauth_codes.c.tenant == unit.tenant) & (oauth_codes.c.person == person)
    return (await unit.execute(delete(oauth_codes).where(mine))).rowcount


def _refresh(row: Row[Any]) -> RefreshToken:
    return RefreshToken(
        hash=bytes(row.hash), tenant=row.tenant, family=row.family, created=row.created, expires=row.expires,
        used=row.used, successor=None if row.successor is None else bytes(row.successor),
    )  # fmt: skip


async def add_refresh(unit: Unit, one: RefreshToken) -> None:
    await unit.execute(insert(refresh_tokens).values(**{**msgspec.structs.asdict(one), "tenant": unit.tenant}))


async def refresh(unit: Unit, digest: bytes) -> RefreshToken | None:
    return await rows.one(unit, rows.own(unit, refresh_tokens, refresh_tokens.c.hash == digest), _refresh)


async def use_refresh(unit: Unit, digest: bytes, successor: bytes, at: float) -> bool:
    """Use a refresh token once; False when it was used before."""
    c = refresh_tokens.c
    mine = (c.tenant == unit.tenant) & (c.hash == digest) & c.used.is_(None)
    result = await unit.execute(update(refresh_tokens).where(mine).values(used=at, successor=successor))
    return result.rowcount == 1


async def use_other_refreshes(unit: Unit, family: str, successor: bytes, at: float) -> None:
    """Use up every refresh token of an authorization that is unused."""
    c = refresh_tokens.c
    mine = (c.tenant == unit.tenant) & (c.family == family) & c.used.is_(None)
    await unit.execute(update(refresh_tokens).where(mine).values(used=at, successor=successor))


async def prune(unit: Unit, now: float, unused_before: float) -> None:
    """Delete what is over: codes, refresh tokens, clients that came by themselves and were not used."""
    unit.require_system()
    await unit.execute(delete(oauth_codes).where(oauth_codes.c.expires < now - 3600.0))
    await unit.execute(delete(refresh_tokens).where(refresh_tokens.c.expires < now))
    c = oauth_clients.c
    idle = (c.used.is_(None) & (c.created < unused_before)) | (c.used < unused_before - 60 * 86400.0)
    open_ = select(authorizations.c.client).where(
        authorizations.c.tenant == c.tenant, authorizations.c.client == c.client_id, authorizations.c.ended.is_(None),
        authorizations.c.expires > now,
    )  # fmt: skip
    await unit.execute(delete(oauth_clients).where(c.kind != "entered", c.pinned.is_(False), idle, ~open_.exists()))
    await _prune_authorizations(unit, authorizations, now)


async def _prune_authorizations(unit: Unit, table: Table, now: float) -> None:
    week = 7 * 86400.0
    await unit.execute(delete(table).where((table.c.expires < now - week) | (table.c.ended < now - week)))
