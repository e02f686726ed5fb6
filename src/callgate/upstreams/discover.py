"""Discovery: one leased owner per upstream observes what it offers; only an observation moves statuses.

An observation is complete or an error, never partial, and is appended by compare-and-set. Fail closed: an error marks
the upstream broken, with the reason, and changes no definition; an upstream error never removes a tool.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from callgate import clock
from callgate.errors import Refused
from callgate.fingerprints.canonical import fingerprint
from callgate.fingerprints.states import next_status
from callgate.fleet.mail import Mail
from callgate.fleet.sync import Fleet
from callgate.model.definition import Observation, Observed
from callgate.model.upstream import Upstream, UpstreamState
from callgate.store import leases, states
from callgate.store.engine import Database
from callgate.store.observe import observe
from callgate.upstreams.facts import Facts
from callgate.upstreams.pool import Upstreams
from callgate.wire import jsonrpc

LEASE_SECONDS = 30.0
AT_ONCE = 8
WAIT_SECONDS = 90.0  # how long `refresh` waits for an owner on another replica
_log = structlog.get_logger(__name__)

_CHANGED = frozenset(f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources"))


class Discovery:
    """The observer of one replica: follows the upstreams whose lease it holds."""

    def __init__(self, db: Database, fleet: Fleet, mail: Mail, upstreams: Upstreams, interval: float) -> None:
        self._db = db
        self._fleet = fleet
        self._mail = mail
        self._upstreams = upstreams
        self._interval = interval
        self._owners: dict[str, asyncio.Task[None]] = {}
        self._followed: dict[str, Upstream] = {}
        self._wanted: dict[str, asyncio.Event] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._observing: dict[str, asyncio.Task[UpstreamState]] = {}
        self._stop: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        mail.on("refresh", self._on_mail)

    async def start(self) -> None:
        """Begin to follow every upstream of every tenant."""
        self._stop = self._fleet.subscribe(self._on_change)
        self._follow_all()

    async def stop(self) -> None:
        """Stop; leases are given back."""
        if self._stop is not None:
            self._stop()
        for task in (*self._owners.values(), *self._tasks):
            task.cancel()
        await asyncio.gather(*self._owners.values(), *self._tasks, return_exceptions=True)

    async def refresh(self, tenant: str, upstream_id: str) -> UpstreamState:
        """Observe now, here or on the replica that owns the upstream, and wait for it.

        Raises `Refused("not_found")`; an upstream that fails is no refusal but a state `broken` with its reason.
        """
        await self._fleet.refresh()
        upstream = self._fleet.view(tenant).upstreams.get(upstream_id)
        if upstream is None:
            raise Refused("not_found", "There is no such upstream.")
        if await self._lease(upstream):
            return await self._observed(upstream)
        async with self._db.unit(None, write=False) as unit:
            owner = await leases.holder_of(unit, _lease_name(upstream))
        before = await self._state(upstream)
        if owner is not None:
            await self._mail.send(owner, "refresh", f"{tenant} {upstream_id}".encode())
        return await self._wait_for(upstream, before)

    async def _wait_for(self, upstream: Upstream, before: UpstreamState) -> UpstreamState:
        """The state that the owner's next observation leaves, or the present one when it takes too long."""
        end = clock.monotonic() + WAIT_SECONDS
        while clock.monotonic() < end:
            now = await self._state(upstream)
            if now.observation != before.observation or now.reason != before.reason:
                await self._fleet.refresh()
                return now
            await asyncio.sleep(0.2)
        return before

    async def _state(self, upstream: Upstream) -> UpstreamState:
        async with self._db.unit(upstream.tenant, write=False) as unit:
            return await states.get(unit, upstream.id) or UpstreamState(upstream.id)

    # -- who follows what ------------------------------------------------------------------------------------------

    def _on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        if "upstreams" in aggregates:
            self._follow_all()

    def _follow_all(self) -> None:
        wanted: dict[str, Upstream] = {}
        for tenant in self._fleet.revisions():
            with contextlib.suppress(Refused):
                wanted.update(
                    (key, upstream) for key, upstream in self._fleet.view(tenant).upstreams.items() if upstream.enabled
                )
        for key in [key for key in self._owners if self._followed.get(key) != wanted.get(key)]:
            self._owners.pop(key).cancel()
            self._followed.pop(key)
            self._spawn(self._upstreams.forget(key))
        for key, upstream in wanted.items():
            if key not in self._owners:
                self._followed[key] = upstream
                self._wanted[key] = asyncio.Event()
                self._owners[key] = asyncio.create_task(self._follow(upstream), name="discover")

    async def _follow(self, upstream: Upstream) -> None:
        """Observe on the interval and on request, while the lease is ours."""
        watching: asyncio.Task[None] | None = None
        wanted = self._wanted[upstream.id]
        next_look = 0.0
        try:
            while True:
                ours = await self._lease(upstream)
                if ours and (wanted.is_set() or clock.monotonic() >= next_look):
                    wanted.clear()
                    await self._observed(upstream)
                    next_look = clock.monotonic() + self._interval
                if ours and watching is None:
                    watching = asyncio.create_task(self._watch(upstream))
                if not ours and watching is not None:
                    watching.cancel()
                    watching = None
                pause = max(0.05, min(LEASE_SECONDS / 3, next_look - clock.monotonic() if ours else LEASE_SECONDS / 3))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await wanted.wait()
        finally:
            if watching is not None:
                watching.cancel()

    async def _lease(self, upstream: Upstream) -> bool:
        try:
            async with self._db.unit(None) as unit:
                return await leases.acquire(unit, _lease_name(upstream), self._fleet.replica, LEASE_SECONDS)
        except Refused:
            return False

    async def _watch(self, upstream: Upstream) -> None:
        """Hear of changes; a change is observed at once and told to every replica's clients."""

        def tell(method: str, params: bytes) -> None:
            del params
            if method in _CHANGED:
                self._spawn(self._changed(upstream))

        with contextlib.suppress(Refused):
            await self._upstreams.watch(upstream, tell)

    async def _changed(self, upstream: Upstream) -> None:
        try:
            await self._observed(upstream)
            async with self._db.unit(upstream.tenant) as unit:
                await unit.bump("notices")
        except Refused as refused:
            _log.warning("notice_lost", upstream=upstream.id, code=refused.code)

    async def _on_mail(self, body: bytes) -> None:
        _, _, upstream_id = body.decode().partition(" ")
        wanted = self._wanted.get(upstream_id)
        if wanted is not None:
            wanted.set()

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- observing ---------------------------------------------------------------------------------------------------

    async def _observed(self, upstream: Upstream) -> UpstreamState:
        """One observation at a time per upstream; who asks meanwhile waits for the one after."""
        running = self._observing.get(upstream.id)
        if running is not None:
            await asyncio.wait({running})
        running = self._observing.get(upstream.id)
        if running is None:
            running = self._observing[upstream.id] = asyncio.ensure_future(self._observe(upstream))
            running.add_done_callback(lambda _: self._observing.pop(upstream.id, None))
        return await asyncio.shield(running)

    async def _observe(self, upstream: Upstream) -> UpstreamState:
        before = await self._state(upstream)
        try:
            async with self._slots:
                found = await self._upstreams.discovery(upstream)
            observation = await asyncio.to_thread(observed, upstream.id, found, clock.now())
            facts = _facts(upstream.id, found, observation.seen_at)
            async with self._db.unit(upstream.tenant) as unit:
                await observe(unit, observation, facts, before.observation, next_status)
        except Refused as refused:
            await self._broken(upstream, refused)
        with contextlib.suppress(Refused):
            await self._fleet.refresh()
        return await self._state(upstream)

    async def _broken(self, upstream: Upstream, refused: Refused) -> None:
        if refused.code == "conflict":
            return  # another observation came first, or the upstream is gone: nothing of ours counts
        try:
            async with self._db.unit(upstream.tenant) as unit:
                await states.broken(unit, upstream.id, refused.sentence)
        except Refused as error:
            _log.warning("state_not_written", upstream=upstream.id, code=error.code)


def observed(upstream_id: str, found: Facts, at: float) -> Observation:
    """An observation out of raw lists: every definition with its hashes. Pure; slow for thousands of tools."""
    definitions: list[Observed] = [fingerprint(item.kind, item.name, item.raw) for item in found.items]
    if found.instructions:
        definitions.append(fingerprint("instructions", "", jsonrpc.encoded(found.instructions)))
    return Observation(upstream_id, tuple(definitions), at, tuple(sorted(found.unlisted)))


def _facts(upstream_id: str, found: Facts, at: float) -> UpstreamState:
    reason = "; ".join(f"{kind}: {why}" for kind, why in sorted(found.unlisted.items()))
    return UpstreamState(
        upstream=upstream_id,
        state="ok",
        reason=reason,
        era=found.era,
        version=found.version,
        server_name=found.server_name,
        server_version=found.server_version,
        capabilities=found.capabilities,
        instructions=found.instructions,
        observed_at=at,
    )


def _lease_name(upstream: Upstream) -> str:
    return f"discover:{upstream.id}"
