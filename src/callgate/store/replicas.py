"""Running gateway processes: heartbeat, public key for mail, and which revisions each has seen.

Times by the clock that all replicas share. All functions need a unit over all tenants.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select

from callgate.store import rows
from callgate.store.schema import mail, replicas
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

Seen = Mapping[str, Mapping[str, int]]
"""tenant → aggregate → revision"""


class Replica(msgspec.Struct, frozen=True):
    """One gateway process. `info` are facts for people (version, host, pid); times in seconds since 1970."""

    id: str
    info: dict[str, str]
    public_key: bytes
    seen: dict[str, dict[str, int]]
    started: float
    beat: float


def _build(row: Row[Any]) -> Replica:
    return Replica(
        id=row.id,
        info=msgspec.json.decode(row.info, type=dict[str, str]),
        public_key=bytes(row.public_key),
        seen=msgspec.json.decode(row.seen, type=dict[str, dict[str, int]]),
        started=row.started,
        beat=row.beat,
    )


async def heartbeat(unit: Unit, replica: str, info: Mapping[str, str], public_key: bytes, seen: Seen) -> float:
    """Say that a replica lives and what it has seen; returns the shared time."""
    unit.require_system()
    now = await unit.now()
    values = {"info": rows.to_json(info), "public_key": public_key, "seen": rows.to_json(seen), "beat": now}
    statement = insert_or(unit.postgresql, replicas).values(id=replica, started=now, **values)
    await unit.execute(statement.on_conflict_do_update(index_elements=[replicas.c.id], set_=values))
    return now


async def get(unit: Unit, replica: str) -> Replica | None:
    unit.require_system()
    return await rows.one(unit, select(replicas).where(replicas.c.id == replica), _build)


async def alive(unit: Unit, within: float) -> tuple[Replica, ...]:
    """Replicas whose last heartbeat is at most `within` seconds ago, by id."""
    unit.require_system()
    statement = select(replicas).where(replicas.c.beat >= await unit.now() - within)
    return await rows.many(unit, statement.order_by(replicas.c.id), _build)


async def dead(unit: Unit, after: float) -> tuple[Replica, ...]:
    """Replicas that have not been heard of for `after` seconds and were not forgotten yet."""
    unit.require_system()
    statement = select(replicas).where(replicas.c.beat < await unit.now() - after)
    return await rows.many(unit, statement.order_by(replicas.c.id), _build)


async def forget(unit: Unit, replica: str) -> None:
    """Drop a replica and the mail nobody will fetch."""
    unit.require_system()
    await unit.execute(delete(replicas).where(replicas.c.id == replica))
    await unit.execute(delete(mail).where(mail.c.replica == replica))
