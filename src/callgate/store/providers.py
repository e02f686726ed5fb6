"""OpenID providers of a tenant, and who their subjects are."""

from typing import Any

import msgspec
from sqlalchemy import Row, delete, select

from callgate.model.signin import Provider, ProviderConfig
from callgate.store import rows
from callgate.store.identity_schema import identities, provider_tokens, providers
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

_config = msgspec.json.Decoder(ProviderConfig).decode


def _build(row: Row[Any]) -> Provider:
    return Provider(row.id, row.tenant, row.name, _config(row.content), row.secret_id, row.created)


async def put(unit: Unit, one: Provider) -> None:
    """Write a provider, new or known by its name."""
    fresh = {"content": rows.to_json(one.config), "secret_id": one.secret_id}
    values = {"tenant": unit.tenant, "id": one.id, "name": one.name, "created": one.created, **fresh}
    statement = insert_or(unit.postgresql, providers).values(**values)
    await unit.execute(statement.on_conflict_do_update(index_elements=["tenant", "name"], set_=fresh))


async def by_name(unit: Unit, name: str) -> Provider | None:
    return await rows.one(unit, rows.own(unit, providers, providers.c.name == name), _build)


async def get(unit: Unit, id_: str) -> Provider | None:
    return await rows.one(unit, rows.own(unit, providers, providers.c.id == id_), _build)


async def page(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[Provider, ...]:
    return await rows.many(unit, rows.after_key(rows.own(unit, providers), providers, after, limit), _build)


async def remove(unit: Unit, id_: str) -> None:
    """Delete a provider, who its subjects are, and what they hold of it."""
    await unit.execute(delete(providers).where(providers.c.tenant == unit.tenant, providers.c.id == id_))
    for table in (identities, provider_tokens):
        await unit.execute(delete(table).where(table.c.tenant == unit.tenant, table.c.provider == id_))


async def person_of(unit: Unit, provider: str, subject: str) -> str | None:
    """Row id of the person behind a subject, or None."""
    c = identities.c
    statement = select(c.person).where(c.tenant == unit.tenant, c.provider == provider, c.subject == subject)
    found = (await unit.execute(statement)).scalar_one_or_none()
    return None if found is None else str(found)


async def subjects_of(unit: Unit, provider: str, person: str) -> tuple[str, ...]:
    """Subjects that a person has at a provider."""
    c = identities.c
    statement = select(c.subject).where(c.tenant == unit.tenant, c.provider == provider, c.person == person)
    return tuple(row.subject for row in await unit.execute(statement))


async def bind(unit: Unit, provider: str, subject: str, person: str, at: float) -> None:
    """Note who a subject is."""
    values = {"tenant": unit.tenant, "provider": provider, "subject": subject, "person": person, "created": at}
    statement = insert_or(unit.postgresql, identities).values(**values)
    await unit.execute(statement.on_conflict_do_nothing())


async def forget_subjects(unit: Unit, provider: str) -> None:
    """Forget who the subjects of a provider are."""
    await unit.execute(delete(identities).where(identities.c.tenant == unit.tenant, identities.c.provider == provider))


async def unbind(unit: Unit, person: str) -> int:
    """Forget every subject of a person; how many there were."""
    mine = (identities.c.tenant == unit.tenant) & (identities.c.person == person)
    return (await unit.execute(delete(identities).where(mine))).rowcount
