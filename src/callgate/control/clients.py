"""Resource /clients: the OAuth client programs that may ask people for permission, and what they were allowed.

Most register themselves; an admin enters those with a secret, pins copies of metadata documents where they cannot be
fetched, and says as which agent a client acts. A secret is in the answer of the POST and nowhere else.
"""

from typing import Any, Literal

import msgspec

from callgate import clock, ids
from callgate.control.agents import find as find_agent
from callgate.control.fields import After, Email, Limit, RedirectUri, RowId, Slug, Text, Url
from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.people import find as find_person
from callgate.control.views import iso
from callgate.errors import Refused
from callgate.identity import authorizing
from callgate.identity.recording import record
from callgate.model.oauth import DOCUMENT, ENTERED, Authorization, ClientFacts, OAuthClient
from callgate.store import oauth as rows
from callgate.store import people, tokens
from callgate.store.unit import Unit

_ACTING = ("authorization_code", "refresh_token")


class NewClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client to enter. With `document`, a pinned copy of the metadata document at this URL; else one of our own, with
    a secret where `confidential`. `owner` is the person it acts for with client credentials."""

    name: Text
    redirect_uris: tuple[RedirectUri, ...] = ()
    document: Url | None = None
    confidential: bool = False
    jwks: dict[str, Any] | None = None
    owner: Email | None = None
    agent: Slug | None = None


class ClientChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As which agent the client acts; null for none."""

    agent: Slug | None


class ClientView(msgspec.Struct, frozen=True):
    """A client. `secret` is shown once, where it was just made."""

    id: str
    client_id: str
    kind: Literal["dynamic", "document", "entered"]
    name: str
    redirect_uris: tuple[str, ...]
    method: str
    agent: str | None
    owner: str | None
    pinned: bool
    created: str | None
    used: str | None
    secret: str | None = None

    def __repr__(self) -> str:
        return f"ClientView({self.client_id})"


class AuthorizationsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients were allowed and may still do, of one person when asked so."""

    person: Email | None = None
    after: After | None = None
    limit: Limit = 100


class AuthorizationView(msgspec.Struct, frozen=True):
    """One sign-in of a client."""

    id: str
    person: str
    client: str
    agent: str | None
    scope: tuple[str, ...]
    created: str | None
    expires: str | None


async def _view(unit: Unit, one: OAuthClient, secret: str | None = None) -> ClientView:
    owner = await people.get(unit, one.owner) if one.owner is not None else None
    facts = one.facts
    return ClientView(
        one.id, one.client_id, one.kind, facts.name, facts.redirect_uris, facts.method, one.agent,  # type: ignore[arg-type]  # one of the three
        owner.email if owner is not None else None, one.pinned, iso(one.created), iso(one.used), secret,
    )  # fmt: skip


async def _find(unit: Unit, id_: str) -> OAuthClient:
    found = await rows.client_by_id(unit, id_)
    if found is None:
        raise Refused("not_found", "There is no such client.")
    return found


async def list_clients(asked: Asked[PageQuery, None]) -> Page[ClientView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.clients(unit, query.after, query.limit + 1)
        items = [await _view(unit, one) for one in found]
    return page_of(items, query.limit, lambda one: one.id)


async def add_client(asked: Asked[Any, NewClient]) -> ClientView:
    body = asked.body
    _check(body)
    secret = ids.new_secret(ids.CLIENT_SECRET) if body.confidential else None
    row, now = ids.new_id("cli"), clock.now()
    async with asked.services.db.unit(asked.tenant) as unit:
        owner = (await find_person(unit, body.owner)).id if body.owner is not None else None
        if body.agent is not None:
            await find_agent(unit, body.agent)
        client = OAuthClient(
            row, asked.tenant, body.document or row, DOCUMENT if body.document else ENTERED, _facts(body),
            None if secret is None else ids.token_hash(secret), body.agent, owner, now, None, now,
            body.document is not None,
        )  # fmt: skip
        if await rows.client(unit, client.client_id) is not None and body.document is None:
            raise Refused("conflict")
        await rows.put_client(unit, client)
        await record(unit, asked.actor, "clients.add", client.id)
        return await _view(unit, client, secret)


def _check(body: NewClient) -> None:
    if body.confidential and body.jwks is not None:
        raise Refused("validation", "A client has a secret or a key, not both.")
    proven = body.confidential or body.jwks is not None
    if body.owner is not None and not proven:
        raise Refused("validation", "A client that acts for its owner needs a secret (`confidential`) or `jwks`.")
    if body.document is not None and (body.owner is not None or body.confidential):
        raise Refused("validation", "A client with a metadata document has no secret of ours and no owner.")
    if not body.redirect_uris and body.owner is None and not proven:
        raise Refused("validation", "A client needs `redirect_uris`, or an `owner` to act for.")


def _facts(body: NewClient) -> ClientFacts:
    method = "private_key_jwt" if body.jwks is not None else "client_secret_basic" if body.confidential else "none"
    acts = ("client_credentials",) if body.owner is not None else ()
    keys = msgspec.json.encode(body.jwks).decode() if body.jwks is not None else ""
    grants = (*(_ACTING if body.redirect_uris else ()), *acts)
    return ClientFacts(body.name, body.redirect_uris, method, "", grants, keys)


async def change_client(asked: Asked[Any, ClientChange]) -> ClientView:
    async with asked.services.db.unit(asked.tenant) as unit:
        client = await _find(unit, asked.path["id"])
        if asked.body.agent is not None:
            await find_agent(unit, asked.body.agent)
        client = msgspec.structs.replace(client, agent=asked.body.agent)
        await rows.put_client(unit, client)
        await _end(unit, client, "changed")  # what was issued before acts as somebody else
        await record(unit, asked.actor, "clients.change", client.id)
        view = await _view(unit, client)
    await asked.services.seen(asked.tenant)
    return view


async def remove_client(asked: Asked[Any, None]) -> None:
    async with asked.services.db.unit(asked.tenant) as unit:
        client = await _find(unit, asked.path["id"])
        await _end(unit, client, "client removed")
        await rows.remove_client(unit, client.client_id)
        await record(unit, asked.actor, "clients.remove", client.id)
    await asked.services.seen(asked.tenant)


async def _end(unit: Unit, client: OAuthClient, why: str) -> None:
    now = clock.now()
    await rows.end_authorizations(unit, rows.of_client(client.client_id), now, why)
    await tokens.revoke_of_client(unit, client.client_id, now)


async def list_authorizations(asked: Asked[AuthorizationsQuery, None]) -> Page[AuthorizationView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        person = None if query.person is None else (await find_person(unit, query.person)).id
        found = await rows.authorizations_of(unit, person, query.after, query.limit + 1)
        emails = await people.emails_of(unit, {one.person for one in found})
    items = [_authorization(one, emails.get(one.person, one.person)) for one in found]
    return page_of(items, query.limit, lambda one: one.id)


def _authorization(one: Authorization, email: str) -> AuthorizationView:
    return AuthorizationView(one.id, email, one.client, one.agent, one.scope, iso(one.created), iso(one.expires))


async def end_authorization(asked: Asked[Any, None]) -> None:
    family: RowId = asked.path["id"]
    async with asked.services.db.unit(asked.tenant) as unit:
        if await rows.authorization(unit, family) is None:
            raise Refused("not_found", "There is no such authorization.")
        await authorizing.end(unit, asked.actor.id, family, "ended")
    await asked.services.seen(asked.tenant)


OPERATIONS = (
    Operation("GET", "/clients", "List OAuth clients.", list_clients, Page[ClientView], query=PageQuery),
    Operation(
        "POST", "/clients", "Enter a client, or pin its metadata document.", add_client, ClientView, body=NewClient,
        status=201, errors=("conflict", "not_found"),
    ),
    Operation(
        "PATCH", "/clients/{id}", "Say as which agent a client acts.", change_client, ClientView, body=ClientChange
    ),
    Operation("DELETE", "/clients/{id}", "Remove a client; its tokens end.", remove_client, None, status=204),
    Operation(
        "GET", "/authorizations", "What clients may do for whom.", list_authorizations, Page[AuthorizationView],
        query=AuthorizationsQuery, errors=("not_found",),
    ),
    Operation("DELETE", "/authorizations/{id}", "End one; its tokens end.", end_authorization, None, status=204),
)  # fmt: skip
