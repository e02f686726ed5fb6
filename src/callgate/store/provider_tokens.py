"""What people hold from the OpenID providers at which they sign in, sealed: to be exchanged for tokens of upstreams."""

from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, update

from callgate.model.grant import ProviderTokens
from callgate.store import rows
from callgate.store.identity_schema import provider_tokens
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

_columns = provider_tokens.c


def _build(row: Row[Any]) -> ProviderTokens:
    return ProviderTokens(row.tenant, row.provider, row.person, bytes(row.sealed), row.changed, row.edition)


async def put(unit: Unit, one: ProviderTokens) -> None:
    """Keep what a sign-in brought, in the place of what there was."""
    fresh = {"sealed": one.sealed, "changed": one.changed}
    keys = {"tenant": unit.tenant, "provider": one.provider, "person": one.person}
    statement = insert_or(unit.postgresql, provider_tokens).values(**keys, **fresh, edition=1)
    more = {**fresh, "edition": _columns.edition + 1}
    await unit.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=more))


async def get(unit: Unit, provider: str, person: str) -> ProviderTokens | None:
    mine = (_columns.provider == provider) & (_columns.person == person)
    return await rows.one(unit, rows.own(unit, provider_tokens, mine), _build)


async def people(unit: Unit, provider: str, limit: int) -> list[str]:
    """Row ids of people who have tokens of a provider, the newest first."""
    statement = select(_columns.person).where(_columns.tenant == unit.tenant, _columns.provider == provider)
    return list((await unit.execute(statement.order_by(_columns.changed.desc()).limit(limit))).scalars())


async def write_back(unit: Unit, one: ProviderTokens, before: ProviderTokens) -> bool:
    """Write what the provider renewed, if nobody has written since `before`."""
    fresh = {"sealed": one.sealed, "changed": one.changed, "edition": before.edition + 1}
    return (await unit.execute(update(provider_tokens).where(_is(unit, before)).values(**fresh))).rowcount == 1


async def drop(unit: Unit, one: ProviderTokens) -> None:
    """Forget what a provider refuses, if nobody has written since."""
    await unit.execute(delete(provider_tokens).where(_is(unit, one)))


def _is(unit: Unit, one: ProviderTokens) -> ColumnElement[bool]:
    mine = (_columns.tenant == unit.tenant) & (_columns.provider == one.provider) & (_columns.person == one.person)
    # editions begin anew after a row was deleted
    return mine & (_columns.edition == one.edition) & (_columns.changed == one.changed)


async def remove(unit: Unit, *, person: str | None = None, provider: str | None = None) -> int:
    """Forget what a person holds, what is held of a provider, or both; how many that were."""
    mine = [_columns.tenant == unit.tenant]
    if person is not None:
        mine.append(_columns.person == person)
    if provider is not None:
        mine.append(_columns.provider == provider)
    return (await unit.execute(delete(provider_tokens).where(*mine))).rowcount
