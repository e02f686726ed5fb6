"""Resource /replicas: which gateway processes run, and which revision each has."""

from typing import Any

import msgspec

from callgate.control.operations import Asked, Operation
from callgate.control.views import iso
from callgate.store import replicas as rows
from callgate.store import revisions

ALIVE_SECONDS = 60.0


class ReplicaView(msgspec.Struct, frozen=True):
    """One process. `revisions` are those of the tenant that it has; `current` says whether they are the newest."""

    id: str
    info: dict[str, str]
    started: str | None
    heard: str | None
    revisions: dict[str, int]
    current: bool


class Replicas(msgspec.Struct, frozen=True):
    """All that were heard of within a minute, and the tenant's newest revisions."""

    items: list[ReplicaView]
    revisions: dict[str, int]


async def list_replicas(asked: Asked[Any, None]) -> Replicas:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        newest = await revisions.of_tenant(unit)
    async with asked.services.db.unit(None, write=False) as unit:
        found = await rows.alive(unit, ALIVE_SECONDS)
    items = []
    for one in found:
        seen = one.seen.get(asked.tenant, {})
        if one.id == asked.services.replica:
            seen = asked.services.fleet.revisions().get(asked.tenant, {})
        items.append(ReplicaView(one.id, one.info, iso(one.started), iso(one.beat), seen, seen == newest))
    return Replicas(items, newest)


OPERATIONS = (
    Operation("GET", "/replicas", "Running gateway processes and their revisions.", list_replicas, Replicas),
)  # fmt: skip
