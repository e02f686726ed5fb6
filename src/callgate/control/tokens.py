"""Resource /tokens: access tokens. The clear text is in the answer of the POST and nowhere else."""

from typing import Any

import msgspec

from callgate import clock
from callgate.control.fields import After, Duration, Email, Limit, RowId, Slug, Text, seconds
from callgate.control.operations import Asked, Operation, Page, page_of
from callgate.control.people import find as find_person
from callgate.control.views import IssuedToken, TokenView, iso, token_view
from callgate.identity import people as identity
from callgate.model.person import Token
from callgate.store import people as people_rows
from callgate.store import tokens as rows
from callgate.store.unit import Unit


class TokensQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of tokens, of one person when asked so."""

    after: After | None = None
    limit: Limit = 100
    person: Email | None = None


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to issue. `client` names the program it is for; `cli` is good for this API, `scim` for provisioning.
    `expires` null is never."""

    person: Email
    agent: Slug | None = None
    client: Text | None = None
    expires: Duration | None = None


async def _shown(unit: Unit, found: tuple[Token, ...]) -> list[TokenView]:
    emails: dict[str, str] = {}
    for one in found:
        if one.person not in emails:
            person = await people_rows.get(unit, one.person)
            emails[one.person] = person.email if person is not None else one.person
    return [token_view(one, emails[one.person]) for one in found]


async def list_tokens(asked: Asked[TokensQuery, None]) -> Page[TokenView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        person = None if query.person is None else (await find_person(unit, query.person)).id
        found = await rows.page(unit, query.after, query.limit + 1, person=person)
        items = await _shown(unit, found)
    return page_of(items, query.limit, lambda one: one.id)


async def issue_token(asked: Asked[Any, NewToken]) -> IssuedToken:
    body = asked.body
    expires = None if body.expires is None else clock.now() + seconds(body.expires)
    async with asked.services.db.unit(asked.tenant) as unit:
        person = await find_person(unit, body.person)
        token, clear = await identity.issue(
            unit, asked.actor, person, agent=body.agent, client=body.client, expires=expires
        )
    await asked.services.seen(asked.tenant)
    return IssuedToken(token.id, clear, person.email, token.agent, token.client, iso(token.expires))


async def revoke_token(asked: Asked[Any, None]) -> None:
    token_id: RowId = asked.path["id"]
    async with asked.services.db.unit(asked.tenant) as unit:
        await identity.revoke(unit, asked.actor, token_id)
    await asked.services.seen(asked.tenant)


OPERATIONS = (
    Operation(
        "GET", "/tokens", "List tokens.", list_tokens, Page[TokenView], query=TokensQuery, errors=("not_found",)
    ),
    Operation(
        "POST", "/tokens", "Issue a token.", issue_token, IssuedToken, body=NewToken, status=201,
        errors=("not_found", "person_inactive", "validation"),
    ),
    Operation("DELETE", "/tokens/{id}", "Revoke a token.", revoke_token, None, status=204),
)  # fmt: skip
