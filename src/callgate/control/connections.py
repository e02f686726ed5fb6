"""Resource /connections: people's accounts at upstreams. Tokens go in and never come out.

A person sees and changes their own; admins see those of others and end them; the operator names the person.
"""

from typing import Any

import msgspec

from callgate.accounts.accounts import personal
from callgate.control.fields import After, Email, Limit, Secret
from callgate.control.operations import Asked, Operation, Page, page_of
from callgate.control.people import find as find_person
from callgate.control.permissions import ADMIN, OPERATOR
from callgate.control.upstreams import find as find_upstream
from callgate.control.views import iso
from callgate.credentials.status import Connection, connection
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.person import Person
from callgate.model.upstream import OWN_TOKEN, Upstream
from callgate.store import grants, people
from callgate.store.unit import Unit


class ConnectionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose; left out, one's own."""

    person: Email | None = None


class ListQuery(ConnectionsQuery, frozen=True, forbid_unknown_fields=True):
    """A page of them, by the upstream's name."""

    after: After | None = None
    limit: Limit = 100


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token of one's own for an upstream; it is tried there, sealed, and never shown again."""

    token: Secret

    def __repr__(self) -> str:
        return "NewToken(…)"


class ConnectionView(msgspec.Struct, frozen=True):
    """One account. `state`: not_connected, connected, expiring, refused or needs_scopes; `url` is where to connect."""

    upstream: str
    person: str
    mode: str
    state: str
    reason: str
    scope: str
    issuer: str
    since: str | None
    expires: str | None
    url: str


class Tested(msgspec.Struct, frozen=True):
    """The upstream took the account."""

    upstream: str
    ok: bool


async def _person(asked: Asked[Any, Any], unit: Unit, *, others: bool) -> Person:
    """Whose connections are meant. Raises `Refused`: validation, forbidden, not_found."""
    actor, wanted = asked.actor, asked.query.person
    if wanted is None:
        own = await people.get(unit, actor.id) if actor.kind != OPERATOR else None
        if own is None:
            whose = "The operator has no accounts; say whose: `person` (on the command line --person EMAIL)."
            raise Refused("validation", whose)
        return own
    person = await find_person(unit, wanted)
    if actor.kind == OPERATOR or person.id == actor.id or (others and ADMIN in actor.roles):
        return person
    raise Refused("forbidden", "Only this person themselves may do that.")


def _view(asked: Asked[Any, Any], upstream: Upstream, person: Person, found: Connection) -> ConnectionView:
    base = asked.services.address(asked.tenant)
    return ConnectionView(
        upstream.name, person.email, personal(upstream), found.state, found.reason, found.scope, found.issuer,
        iso(found.since), iso(found.expires), f"{base}/connections/{upstream.name}",
    )  # fmt: skip


async def list_connections(asked: Asked[ListQuery, None]) -> Page[ConnectionView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        person = await _person(asked, unit, others=True)
        held = {one.upstream: one for one in await grants.of_person(unit, person.id)}
    known = asked.services.fleet.view(asked.tenant).upstreams.values()
    wanted = sorted((one for one in known if personal(one)), key=lambda one: one.name)
    rest = [one for one in wanted if query.after is None or one.name > query.after][: query.limit + 1]
    views = [_view(asked, one, person, connection(one, held.get(one.id))) for one in rest]
    return page_of(views, query.limit, lambda one: one.upstream)


async def _named(asked: Asked[ConnectionsQuery, Any], *, others: bool) -> tuple[Upstream, Person]:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        upstream = await find_upstream(unit, asked.path["upstream"])
        if not personal(upstream):
            raise Refused("validation", "This upstream does not know people: its auth mode is not a personal one.")
        return upstream, await _person(asked, unit, others=others)


async def _shown(asked: Asked[ConnectionsQuery, Any], upstream: Upstream, person: Person) -> ConnectionView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = connection(upstream, await grants.get(unit, person.id, upstream.id))
    return _view(asked, upstream, person, found)


async def get_connection(asked: Asked[ConnectionsQuery, None]) -> ConnectionView:
    return await _shown(asked, *await _named(asked, others=True))


async def put_token(asked: Asked[ConnectionsQuery, NewToken]) -> ConnectionView:
    upstream, person = await _named(asked, others=False)
    if personal(upstream) != OWN_TOKEN:
        raise Refused("validation", "This upstream takes no tokens of people; open its page and sign in there.")
    await asked.services.accounts.own_token(upstream, person.id, asked.body.token)
    async with asked.services.db.unit(asked.tenant) as unit:
        await record(unit, asked.actor, "connections.add", upstream.id)
    await asked.services.accounts.connected(asked.tenant, upstream.id)
    return await _shown(asked, upstream, person)


async def end_connection(asked: Asked[ConnectionsQuery, None]) -> None:
    upstream, person = await _named(asked, others=True)
    if not await asked.services.accounts.disconnect(asked.actor, person.id, upstream):
        raise Refused("not_found", "There is no account connected at this upstream.")


async def test_connection(asked: Asked[ConnectionsQuery, None]) -> Tested:
    upstream, person = await _named(asked, others=False)
    await asked.services.accounts.test(upstream, person.id)
    return Tested(upstream.name, True)


OPERATIONS = (
    Operation(
        "GET", "/connections", "People's accounts at upstreams.", list_connections, Page[ConnectionView],
        query=ListQuery, errors=("not_found",),
    ),
    Operation(
        "GET", "/connections/{upstream}", "One account.", get_connection, ConnectionView, query=ConnectionsQuery
    ),
    Operation(
        "PUT", "/connections/{upstream}/token", "Bring a token of one's own.", put_token, ConnectionView,
        query=ConnectionsQuery, body=NewToken, errors=("connection_failed",),
    ),
    Operation(
        "POST", "/connections/{upstream}/test", "Try an account.", test_connection, Tested, query=ConnectionsQuery,
        errors=("connection_failed",),
    ),
    Operation(
        "DELETE", "/connections/{upstream}", "Disconnect an account.", end_connection, None, query=ConnectionsQuery,
        status=204,
    ),
)  # fmt: skip
