"""Grants of people, clients of the gateway at vendors, and connections under way (aggregate "grants").

A change that replicas must hear of raises the revision: a grant made, ended, refused, or one that lacks scopes. A new
access token does not: who has the old one finds out when it is over.
"""

from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from callgate.model.grant import CONNECTED, Connect, Grant, GrantFacts, UpstreamClient
from callgate.store import rows
from callgate.store.identity_schema import connects, grants, upstream_clients
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

AGGREGATE = "grants"
_facts = msgspec.json.Decoder(GrantFacts).decode


def _build(row: Row[Any]) -> Grant:
    return Grant(
        tenant=row.tenant, person=row.person, upstream=row.upstream, kind=row.kind, state=row.state,
        facts=_facts(row.content), sealed=None if row.sealed is None else bytes(row.sealed), expires=row.expires,
        created=row.created, changed=row.changed, edition=row.edition, revision=row.revision,
    )  # fmt: skip


async def put(unit: Unit, one: Grant) -> Grant:
    """Write a grant, in the place of an earlier one of the same person for the same upstream."""
    revision = await unit.bump(AGGREGATE)
    fresh = {
        "kind": one.kind, "state": one.state, "sealed": one.sealed, "content": rows.to_json(one.facts),
        "expires": one.expires, "created": one.created, "changed": one.changed, "revision": revision, "deleted": False,
    }  # fmt: skip
    keys = {"tenant": unit.tenant, "person": one.person, "upstream": one.upstream}
    statement = insert_or(unit.postgresql, grants).values(**keys, **fresh, edition=1)
    await unit.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_={**fresh, "edition": grants.c.edition + 1})
    )
    found = await get(unit, one.person, one.upstream)
    assert found is not None  # noqa: S101  just written
    return found


async def get(unit: Unit, person: str, upstream: str) -> Grant | None:
    mine = (grants.c.person == person) & (grants.c.upstream == upstream)
    return await rows.one(unit, rows.own(unit, grants, mine), _build)


async def of_person(unit: Unit, person: str) -> tuple[Grant, ...]:
    return await rows.many(unit, rows.own(unit, grants, grants.c.person == person).order_by(grants.c.upstream), _build)


async def to_end(unit: Unit, person: str | None = None, upstream: str | None = None) -> tuple[Grant, ...]:
    """The grants of a person, for an upstream, or both, whatever their state; what is renewed meanwhile waits, and is
    then nobody's."""
    await unit.bump(AGGREGATE)  # before their rows, as everybody else
    mine = [] if person is None else [grants.c.person == person]
    if upstream is not None:
        mine.append(grants.c.upstream == upstream)
    statement = rows.own(unit, grants, *mine).order_by(grants.c.person, grants.c.upstream)
    return await rows.many(unit, statement.with_for_update() if unit.postgresql else statement, _build)


async def of_upstream(unit: Unit, upstream: str) -> tuple[Grant, ...]:
    """The grants for an upstream that work, the oldest first."""
    statement = rows.own(unit, grants, grants.c.upstream == upstream, grants.c.state == CONNECTED)
    return await rows.many(unit, statement.order_by(grants.c.created), _build)


async def write_back(unit: Unit, one: Grant, edition: int) -> bool:
    """Write what a vendor renewed, if nobody has written since `edition`."""
    c = grants.c
    mine = (c.tenant == unit.tenant) & (c.person == one.person) & (c.upstream == one.upstream) & (c.edition == edition)
    statement = update(grants).where(mine, rows.live(grants))
    values = {
        "sealed": one.sealed, "content": rows.to_json(one.facts), "expires": one.expires, "changed": one.changed,
        "edition": edition + 1,
    }  # fmt: skip
    return (await unit.execute(statement.values(**values))).rowcount == 1


async def mark(unit: Unit, one: Grant, state: str, facts: GrantFacts) -> bool:
    """Say that a vendor refuses a grant, or wants more, unless it has changed since."""
    revision = await unit.bump(AGGREGATE)
    c = grants.c
    mine = (c.tenant == unit.tenant) & (c.person == one.person) & (c.upstream == one.upstream)
    statement = update(grants).where(mine, c.edition == one.edition, rows.live(grants))
    values = {"state": state, "content": rows.to_json(facts), "edition": one.edition + 1, "revision": revision}
    return (await unit.execute(statement.values(**values))).rowcount == 1


async def remove(unit: Unit, person: str, upstream: str | None = None) -> int:
    """End the grants of a person, all or one; the sealed secrets are gone with it. How many there were."""
    revision = await unit.bump(AGGREGATE)
    mine = [grants.c.tenant == unit.tenant, grants.c.person == person, rows.live(grants)]
    if upstream is not None:
        mine.append(grants.c.upstream == upstream)
    ended = await unit.execute(update(grants).where(*mine).values(deleted=True, sealed=None, revision=revision))
    which = [connects.c.tenant == unit.tenant, connects.c.person == person]
    if upstream is not None:
        which.append(connects.c.upstream == upstream)
    await unit.execute(delete(connects).where(*which))
    return ended.rowcount


async def remove_upstream(unit: Unit, upstream: str) -> None:
    """The upstream is gone, or is another one: nothing of it is kept."""
    revision = await unit.bump(AGGREGATE)
    mine = (grants.c.tenant == unit.tenant) & (grants.c.upstream == upstream)
    await unit.execute(
        update(grants).where(mine, rows.live(grants)).values(deleted=True, sealed=None, revision=revision)
    )
    for table in (upstream_clients, connects):
        await unit.execute(delete(table).where(table.c.tenant == unit.tenant, table.c.upstream == upstream))


async def changed_since(unit: Unit, revision: int) -> list[tuple[str, str]]:
    """(person, upstream) of every grant that was made, ended or marked after a revision of "grants"."""
    statement = select(grants.c.person, grants.c.upstream).where(
        grants.c.tenant == unit.tenant, grants.c.revision > revision
    )
    return [(row.person, row.upstream) for row in await unit.execute(statement)]


# -- clients and connections ---------------------------------------------------------------------------------------


def _client(row: Row[Any]) -> UpstreamClient:
    sealed = None if row.sealed is None else bytes(row.sealed)
    return UpstreamClient(**{**row._asdict(), "sealed": sealed})


async def put_client(unit: Unit, one: UpstreamClient) -> None:
    values = {**msgspec.structs.asdict(one), "tenant": unit.tenant}
    statement = insert_or(unit.postgresql, upstream_clients).values(**values)
    index = ["tenant", "upstream", "issuer"]
    fresh = {key: value for key, value in values.items() if key not in index}
    await unit.execute(statement.on_conflict_do_update(index_elements=index, set_=fresh))


async def client(unit: Unit, upstream: str, issuer: str) -> UpstreamClient | None:
    c = upstream_clients.c
    return await rows.one(unit, rows.own(unit, upstream_clients, c.upstream == upstream, c.issuer == issuer), _client)


async def clients(unit: Unit, upstream: str) -> tuple[UpstreamClient, ...]:
    return await rows.many(unit, rows.own(unit, upstream_clients, upstream_clients.c.upstream == upstream), _client)


async def drop_client(unit: Unit, upstream: str, issuer: str) -> None:
    c = upstream_clients.c
    mine = (c.tenant == unit.tenant) & (c.upstream == upstream) & (c.issuer == issuer)
    await unit.execute(delete(upstream_clients).where(mine))


async def begin(unit: Unit, one: Connect) -> None:
    await unit.execute(insert(connects).values(tenant=unit.tenant, **msgspec.structs.asdict(one)))


async def take(unit: Unit, digest: bytes, now: float) -> Connect | None:
    """Take a connection under way, once."""
    c = connects.c
    statement = delete(connects).where(c.tenant == unit.tenant, c.hash == digest, c.expires > now).returning(
        c.hash, c.person, c.upstream, c.session, c.sealed, c.expires
    )  # fmt: skip
    row = (await unit.execute(statement)).one_or_none()
    if row is None:
        return None
    return Connect(bytes(row.hash), row.person, row.upstream, bytes(row.session), bytes(row.sealed), row.expires)


async def prune(unit: Unit, now: float) -> None:
    """Delete connections that nobody finished, of all tenants."""
    unit.require_system()
    await unit.execute(delete(connects).where(connects.c.expires < now))
