"""Messages between replicas: sealed to the receiver's key, deleted when read. Needs a unit over all tenants."""

from sqlalchemy import delete, insert

from callgate import clock
from callgate.store.schema import mail
from callgate.store.unit import Unit


async def put(unit: Unit, replica: str, kind: str, body: bytes) -> None:
    """Leave a sealed message for a replica and wake it."""
    unit.require_system()
    await unit.execute(insert(mail).values(replica=replica, kind=kind, body=body, created=clock.now()))
    unit.wake(f"mail:{replica}")


async def take(unit: Unit, replica: str) -> tuple[tuple[str, bytes], ...]:
    """(kind, body) of everything for a replica, oldest first; what is taken is gone."""
    unit.require_system()
    statement = delete(mail).where(mail.c.replica == replica).returning(mail.c.id, mail.c.kind, mail.c.body)
    found = sorted((number, kind, bytes(body)) for number, kind, body in await unit.execute(statement))
    return tuple((kind, body) for _, kind, body in found)


async def prune(unit: Unit, older_than: float) -> int:
    """Delete messages from before a time (seconds since 1970): their receiver is gone."""
    unit.require_system()
    return (await unit.execute(delete(mail).where(mail.c.created < older_than))).rowcount
