"""Small facts about one session that every replica must find; each expires by itself."""

from sqlalchemy import delete, select

from callgate import clock
from callgate.store.schema import notes
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


async def put(unit: Unit, session: str, key: str, value: bytes, lifetime: float) -> None:
    """Keep a value for `lifetime` seconds, in the place of an older one."""
    values = {"value": value, "expires": clock.now() + lifetime}
    statement = insert_or(unit.postgresql, notes).values(tenant=unit.tenant, session=session, key=key, **values)
    index = [notes.c.tenant, notes.c.session, notes.c.key]
    await unit.execute(statement.on_conflict_do_update(index_elements=index, set_=values))


async def put_first(unit: Unit, session: str, key: str, value: bytes, lifetime: float) -> bool:
    """Keep a value where there is none yet; whether it was the first."""
    values = {"tenant": unit.tenant, "session": session, "key": key, "value": value, "expires": clock.now() + lifetime}
    statement = insert_or(unit.postgresql, notes).values(**values).on_conflict_do_nothing()
    return (await unit.execute(statement)).rowcount == 1


async def all_of(unit: Unit, session: str) -> dict[str, bytes]:
    """Key → value of one session."""
    statement = select(notes.c.key, notes.c.value).where(
        notes.c.tenant == unit.tenant, notes.c.session == session, notes.c.expires > clock.now()
    )
    return {key: bytes(value) for key, value in await unit.execute(statement)}


async def with_key(unit: Unit, key: str) -> dict[str, bytes]:
    """Session → value of every session of the tenant that has this key."""
    statement = select(notes.c.session, notes.c.value).where(
        notes.c.tenant == unit.tenant, notes.c.key == key, notes.c.expires > clock.now()
    )
    return {session: bytes(value) for session, value in await unit.execute(statement)}


async def remove(unit: Unit, session: str, key: str | None = None) -> None:
    """Forget one value, or everything of a session."""
    statement = delete(notes).where(notes.c.tenant == unit.tenant, notes.c.session == session)
    await unit.execute(statement if key is None else statement.where(notes.c.key == key))


async def prune(unit: Unit) -> int:
    """Delete what has expired, of all tenants; needs a unit over all tenants."""
    unit.require_system()
    return (await unit.execute(delete(notes).where(notes.c.expires <= clock.now()))).rowcount
