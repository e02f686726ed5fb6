"""Replicas without a gateway around them: fleets over one store, and what tests put into it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from callgate.credentials.replica_key import ReplicaKey
from callgate.fingerprints.states import Review
from callgate.fleet.sync import Fleet
from callgate.model.definition import Definition, Observation, Observed
from callgate.model.upstream import Upstream, UpstreamState
from callgate.store import states, tenants, upstreams
from callgate.store.engine import Database
from callgate.store.observe import observe

SLOW_POLL = 3600.0  # a poll that no test waits for: only wake-ups propagate


def new_fleet(db: Database, name: str, poll: float = SLOW_POLL, key: ReplicaKey | None = None) -> Fleet:
    """A fleet that has not started."""
    return Fleet(db, name, {"host": "test"}, (key or ReplicaKey.generate()).public, poll)


@asynccontextmanager
async def fleet(
    db: Database, name: str, poll: float = SLOW_POLL, key: ReplicaKey | None = None
) -> AsyncIterator[Fleet]:
    """A running fleet over a store that has the default tenant."""
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    found = new_fleet(db, name, poll, key)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


async def add_upstream(db: Database, key: str = "ups_1", name: str = "files", tenant: str = "default") -> Upstream:
    async with db.unit(tenant) as unit:
        return await upstreams.add(
            unit,
            Upstream(id=key, tenant=tenant, name=name, kind="http", url="http://127.0.0.1:9/mcp", allow_private=True),
        )


async def see(db: Database, names: Iterable[str], key: str = "ups_1", text: str = "") -> tuple[Definition, ...]:
    """One complete observation of tools with these names."""
    seen = tuple(
        Observed("tool", name, f'{{"name":"{name}","description":"{text}"}}'.encode(), "c", f"f{text}")
        for name in names
    )
    async with db.unit("default") as unit:
        current = await states.get(unit, key) or UpstreamState(key)
        facts = UpstreamState(key, state="ok")
        observation = Observation(key, seen, seen_at=1.0)
        return await observe(unit, observation, facts, current.observation, Review())
