"""Who observes an upstream: one replica at a time, by a lease that a dead one does not keep for long.

A store in this process alone (SQLite) has no other replica, so everything is ours. Fail closed: who cannot reach the
store owns nothing; two owners at once (a replica that was cut off) are told apart by the observation's number.
"""

from collections.abc import Iterable

from callgate.fleet.mail import ALIVE_SECONDS
from callgate.store import leases, replicas
from callgate.store.engine import Database

LEASE_SECONDS = 30.0


class Ownership:
    """The leases of one replica. All methods raise `Refused("store_unavailable")`."""

    def __init__(self, db: Database, replica: str) -> None:
        self._db = db
        self._replica = replica
        self.alone = db.dialect != "postgresql"

    async def claim(self, upstreams: Iterable[str]) -> frozenset[str]:
        """Which of these upstreams are ours for the next 30 s: what was ours, and what is free."""
        wanted = sorted(upstreams)
        if self.alone or not wanted:
            return frozenset(wanted)
        async with self._db.unit(None) as unit:
            return frozenset(
                [one for one in wanted if await leases.acquire(unit, _name(one), self._replica, LEASE_SECONDS)]
            )

    async def take(self, upstream: str) -> str | None:
        """Make one upstream ours if it is free or its owner is dead; else the owner's replica id."""
        if self.alone:
            return None
        name = _name(upstream)
        async with self._db.unit(None) as unit:
            if await leases.acquire(unit, name, self._replica, LEASE_SECONDS):
                return None
            owner = await leases.holder_of(unit, name)
            if owner is None or owner in {one.id for one in await replicas.alive(unit, ALIVE_SECONDS)}:
                return owner or ""
            await leases.release(unit, name, owner)
            return None if await leases.acquire(unit, name, self._replica, LEASE_SECONDS) else ""

    async def give(self, upstreams: Iterable[str]) -> None:
        """Give leases back; what is not ours stays as it is."""
        wanted = sorted(upstreams)
        if self.alone or not wanted:
            return
        async with self._db.unit(None) as unit:
            for one in wanted:
                await leases.release(unit, _name(one), self._replica)


def _name(upstream: str) -> str:
    return f"discover:{upstream}"
