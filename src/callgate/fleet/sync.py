"""Keeps this replica's snapshots current: woken by commits, with a version poll as the guarantee.

One look reads the revisions of all tenants in one query and, for tenants that moved, the rows that changed.
Fail closed: when the store has been out of reach for longer than the grace, `view` refuses (promise 7).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import structlog

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.snapshot import Delta, Snapshot, apply
from callgate.fleet.supervise import supervised
from callgate.store import agents, definitions, options, replicas, revisions, rules, states, tenants, upstreams
from callgate.store.engine import Database
from callgate.store.unit import Unit

GRACE_SECONDS = 25.0
HEARTBEAT_SECONDS = 5.0
_LARGE = 500  # rows of a delta that are applied off the event loop
_log = structlog.get_logger(__name__)

OnChange = Callable[[str, frozenset[str]], None]


class Fleet:
    """One replica's view of all tenants."""

    def __init__(
        self, db: Database, replica: str, info: Mapping[str, str], public_key: bytes, poll_seconds: float
    ) -> None:  # fmt: skip
        self.replica = replica
        self._db = db
        self._info = info
        self._public_key = public_key
        self._poll = poll_seconds
        self._snapshots: dict[str, Snapshot] = {}
        self._checked = 0.0
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._untold: dict[str, set[str]] = {}
        self._subscribers: dict[int, OnChange] = {}
        self._next = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._unlisten: Callable[[], None] | None = None

    async def start(self) -> None:
        """Load every tenant, then follow. Raises `Refused("store_unavailable")` when the first look fails."""
        self._unlisten = self._db.listen(self._woken)
        await self._beat()
        await self.refresh()
        self._tasks = [
            supervised("fleet-follow", self._follow),
            supervised("fleet-heartbeat", self._heartbeat),
        ]

    async def stop(self) -> None:
        """Stop following and leave the fleet."""
        if self._unlisten is not None:
            self._unlisten()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Refused):
            async with self._db.unit(None) as unit:
                await replicas.forget(unit, self.replica)

    def view(self, tenant: str) -> Snapshot:
        """What is known of a tenant. Raises `Refused`: store_unavailable (too old), not_found."""
        if clock.monotonic() - self._checked > GRACE_SECONDS:
            raise Refused("store_unavailable")
        snapshot = self._snapshots.get(tenant)
        if snapshot is None:
            raise Refused("not_found", "There is no tenant of this name here.")
        return snapshot

    @property
    def fresh(self) -> bool:
        """Whether the store was reached within the grace."""
        return clock.monotonic() - self._checked <= GRACE_SECONDS

    def revisions(self) -> dict[str, dict[str, int]]:
        """Tenant → aggregate → revision that this replica has."""
        return {tenant: dict(snapshot.revisions) for tenant, snapshot in self._snapshots.items()}

    def subscribe(self, callback: OnChange) -> Callable[[], None]:
        """Be told (tenant, aggregates) after each swap; the returned function takes it back.

        What moved is told in the end even if a look fails half-way. A callback must not raise.
        """
        self._next += 1
        number = self._next
        self._subscribers[number] = callback
        return lambda: self._subscribers.pop(number, None) and None

    async def refresh(self) -> None:
        """Look now. Raises `Refused("store_unavailable")`."""
        async with self._lock:
            began = clock.monotonic()  # what is read is at least this new
            async with self._db.unit(None, write=False) as unit:
                known = await revisions.of_all(unit)
                everybody = await tenants.all_ids(unit)
            for tenant in everybody:
                await self._catch_up(tenant, known.get(tenant, {}))
            for tenant in self._snapshots.keys() - set(everybody):
                del self._snapshots[tenant]
            self._checked = began
            self._tell()

    def _tell(self) -> None:
        """Tell what moved, once every view is good again: those who are told look at it."""
        while self._untold:
            tenant, moved = self._untold.popitem()
            for callback in tuple(self._subscribers.values()):
                callback(tenant, frozenset(moved))

    async def refresh_now(self, tenant: str) -> None:
        """Make one's own change visible here before answering; failing is no harm, the poll follows."""
        del tenant  # one look covers all
        with contextlib.suppress(Refused):
            await self.refresh()

    async def _catch_up(self, tenant: str, current: Mapping[str, int]) -> None:
        """Swap in a tenant's next snapshot, and note what is to be told."""
        snapshot = self._snapshots.get(tenant) or Snapshot(tenant)
        if tenant in self._snapshots and dict(snapshot.revisions) == dict(current):
            return
        async with self._db.unit(tenant, write=False) as unit:
            delta = await _read(unit, snapshot.revisions)
        if delta.size > _LARGE:
            fresh = await asyncio.to_thread(apply, snapshot, delta)
        else:
            fresh = apply(snapshot, delta)
        self._snapshots[tenant] = fresh
        moved = {name for name, number in delta.revisions.items() if number != snapshot.revisions.get(name, 0)}
        if moved:
            self._untold.setdefault(tenant, set()).update(moved)

    def _woken(self, payload: str) -> None:
        if not payload.startswith(("mail:", "approval:")):
            self._wake.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.refresh()
            except Refused as refused:
                _log.warning("store_out_of_reach", code=refused.code)
                await asyncio.sleep(min(self._poll, 1.0))

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._beat()
            except Refused as refused:
                _log.warning("heartbeat_failed", code=refused.code)

    async def _beat(self) -> None:
        async with self._db.unit(None) as unit:
            await replicas.heartbeat(unit, self.replica, self._info, self._public_key, self.revisions())


async def _read(unit: Unit, since: Mapping[str, int]) -> Delta:
    """The rows that changed after the revisions a snapshot has, in one consistent read."""
    now = await revisions.of_tenant(unit)

    def moved(name: str) -> bool:
        return now.get(name, 0) != since.get(name, 0)

    ups = await upstreams.changed_since(unit, since.get("upstreams", 0)) if moved("upstreams") else ((), ())
    seen = await states.changed_since(unit, since.get("states", 0)) if moved("states") else ((), ())
    defs = await definitions.changed_since(unit, since.get("definitions", 0)) if moved("definitions") else ((), ())
    own_rules = await rules.changed_since(unit, since.get("rules", 0)) if moved("rules") else ((), ())
    chosen = await options.get(unit) if moved("rules") or moved("options") else None
    profiles = await agents.changed_since(unit, since.get("agents", 0)) if moved("agents") else ((), ())
    return Delta(
        revisions=MappingProxyType(now),
        upstreams=ups[0],
        gone_upstreams=ups[1],
        states=seen[0],
        definitions=defs[0],
        gone_definitions=defs[1],
        rules=own_rules[0],
        gone_rules=own_rules[1],
        default_effect=chosen.default_effect if chosen is not None else None,
        keep_arguments_s=chosen.keep_arguments_s if chosen is not None else None,
        agents=profiles[0],
        gone_agents=profiles[1],
    )
