"""Sealed secrets. Rows are immutable: a new value is a new id, so a cache by id never goes stale.

Only sealed bytes come here; who can open them is no matter of the store.
"""

from sqlalchemy import delete, insert, select

from callgate import clock
from callgate.store.schema import secrets
from callgate.store.unit import Unit


async def put(unit: Unit, secret_id: str, purpose: str, sealed: bytes, owner: str | None = None) -> None:
    """Keep a sealed secret. `owner` is the person it belongs to, None = the tenant. Raises `Refused("conflict")`."""
    values = {"id": secret_id, "purpose": purpose, "sealed": sealed, "owner": owner, "created": clock.now()}
    await unit.execute(insert(secrets).values(tenant=unit.tenant, **values))


async def get(unit: Unit, secret_id: str) -> bytes | None:
    """The sealed bytes, or None."""
    statement = select(secrets.c.sealed).where(secrets.c.tenant == unit.tenant, secrets.c.id == secret_id)
    sealed = (await unit.execute(statement)).scalar_one_or_none()
    return None if sealed is None else bytes(sealed)


async def remove(unit: Unit, secret_id: str) -> bool:
    """Delete a secret; whether it was there."""
    statement = delete(secrets).where(secrets.c.tenant == unit.tenant, secrets.c.id == secret_id)
    return (await unit.execute(statement)).rowcount == 1
