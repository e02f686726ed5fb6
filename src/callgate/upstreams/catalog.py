"""One look at an upstream becomes one observation in the catalogue.

A look is complete or an error, never partial; it is written by compare-and-set on the observation's number, so of two
looks at once one counts. Fail closed: an error marks the upstream broken, with the reason, and changes no definition;
an error never removes a tool.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from callgate import clock
from callgate.errors import Refused
from callgate.fingerprints.canonical import fingerprint
from callgate.fingerprints.states import Review, Terms, seen_again, vanished
from callgate.fleet.sync import Fleet
from callgate.model.definition import DRIFT_DETECTED, Definition, Observation, Observed
from callgate.model.finding import Finding
from callgate.model.upstream import PIN, Upstream, UpstreamState
from callgate.store import revisions, states, upstreams
from callgate.store.engine import Database
from callgate.store.observe import observe
from callgate.telemetry.logs import get_logger
from callgate.upstreams.facts import Facts, Item
from callgate.wire import jsonrpc

AT_ONCE = 8
PATIENCE_SECONDS = 10.0  # after so long a slow upstream gives its place to the next
LOOK_SECONDS = 300.0  # the longest look, all pages together
_log = get_logger(__name__)

Known = Mapping[tuple[str, str], Definition]  # by kind and name


class Observer(Protocol):
    """What discovery needs of the upstreams (`pool.Upstreams`)."""

    on_change: Callable[[Upstream, str], None] | None

    async def discovery(self, upstream: Upstream) -> Facts: ...

    async def watch(self, upstream: Upstream, tell: Callable[[str, bytes], None]) -> None: ...

    async def forget(self, upstream_id: str) -> None: ...


class Scanner(Protocol):
    """What discovery needs of the scanner (`scans.Scans`)."""

    version: str

    async def scan(
        self, tenant: str, upstream: Upstream, items: tuple[Observed, ...], known: Known
    ) -> Mapping[tuple[str, str], tuple[Finding, ...]]: ...


class Catalog:
    """Looks at upstreams and writes down what it saw."""

    def __init__(self, db: Database, fleet: Fleet, observer: Observer, scanner: Scanner) -> None:
        self._db = db
        self._fleet = fleet
        self._observer = observer
        self._scanner = scanner
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: dict[tuple[str, int], asyncio.Task[UpstreamState]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, upstream: Upstream) -> UpstreamState:
        """Look now and return the state that this left: `broken`, with the reason, when the upstream failed.

        One look at a time per upstream; who asks meanwhile waits for the one after. Raises
        `Refused("store_unavailable")`.
        """
        key = (upstream.id, upstream.revision)
        running = self._running.get(key)
        if running is not None:
            await asyncio.wait({running})
            running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.create_task(self._look(upstream), name="look")
            running.add_done_callback(lambda done: self._looked(upstream, done))
        return await asyncio.shield(running)

    async def state(self, upstream: Upstream) -> UpstreamState:
        """The state as the store has it. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(upstream.tenant, write=False) as unit:
            return await states.get(unit, upstream.id) or UpstreamState(upstream.id)

    async def close(self) -> None:
        """Give up the looks in flight."""
        tasks = (*self._running.values(), *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _looked(self, upstream: Upstream, done: asyncio.Task[UpstreamState]) -> None:
        self._running.pop((upstream.id, upstream.revision), None)
        if done.cancelled() or done.exception() is None or isinstance(done.exception(), Refused):
            return  # taking the exception also says that it was seen: everybody who waited may be gone
        task = asyncio.create_task(self._broken(upstream, Refused("internal", "This server's lists cannot be read.")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, upstream: Upstream) -> UpstreamState:
        before = await self.state(upstream)
        try:
            found = await self._ask(upstream)
            await self._write(upstream, found, before.observation)
        except Refused as refused:
            await self._broken(upstream, refused)
        await self._fleet.refresh_now(upstream.tenant)
        return await self.state(upstream)

    async def _ask(self, upstream: Upstream) -> Facts:
        async with self._slots:
            asking = asyncio.create_task(self._observer.discovery(upstream), name="discovery")
            try:
                await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
            except asyncio.CancelledError:
                asking.cancel()
                raise
        try:
            async with asyncio.timeout(LOOK_SECONDS - PATIENCE_SECONDS):
                return await asking
        except TimeoutError:
            raise Refused("upstream_timeout", f"Its lists were not complete after {LOOK_SECONDS:.0f} s.") from None

    async def _write(self, upstream: Upstream, found: Facts, expected: int) -> None:
        known, revision = self._known(upstream)
        version = self._scanner.version
        terms = Terms(upstream.review, upstream.trust_below)
        observation = await asyncio.to_thread(observed, upstream, found, clock.now(), known)
        unchanged = await asyncio.to_thread(says_nothing_new, known, observation, terms, version)
        facts = _facts(upstream.id, found, observation.seen_at)
        review = Review(terms, version)
        if not unchanged:
            items = tuple(item for item in observation.definitions if _to_scan(known, item, version))
            review = Review(terms, version, await self._scanner.scan(upstream.tenant, upstream, items, known))
        async with self._db.unit(upstream.tenant) as unit:
            current = await upstreams.get(unit, upstream.id)
            if current is None or current.identity != upstream.identity:
                raise Refused("conflict", "The upstream became another one during the look.")
            if unchanged and (await revisions.of_tenant(unit)).get("definitions", 0) == revision:
                await states.advance(unit, facts, expected)  # spares reading thousands of rows to change none
            else:
                await observe(unit, observation, facts, expected, review)

    def _known(self, upstream: Upstream) -> tuple[Known, int]:
        """The upstream's definitions as this replica has them, and at which revision."""
        try:
            view = self._fleet.view(upstream.tenant)
        except Refused:
            return {}, -1
        return view.by_upstream.get(upstream.id, {}), view.revisions.get("definitions", 0)

    async def _broken(self, upstream: Upstream, refused: Refused) -> None:
        if refused.code == "conflict":
            return  # another observation came first, or the upstream is another now: nothing of ours counts
        try:
            async with self._db.unit(upstream.tenant) as unit:
                await states.broken(unit, upstream.id, refused.sentence)
        except Refused as error:
            _log.warning("state not written", upstream_id=upstream.id, code=error.code)


def observed(upstream: Upstream, found: Facts, at: float, known: Known) -> Observation:
    """An observation out of raw lists: every definition with its hashes, `at` seconds since 1970. Pure.

    What is known with the same bytes has the same hashes and is not hashed again. What the server says of itself is two
    definitions more: its instructions, and its identity.
    """
    items = (*found.items, Item("server", "", _identity(upstream, found)))
    if found.instructions:
        items = (*items, Item("instructions", "", jsonrpc.encoded(found.instructions)))
    definitions = tuple(_hashed(item, known.get((item.kind, item.name))) for item in items)
    return Observation(upstream.id, definitions, at, tuple(sorted(found.unlisted)))


def _identity(upstream: Upstream, found: Facts) -> bytes:
    """Who answers: what the server calls itself, and the hash of its URL or command line."""
    facts = {"name": found.server_name, "version": found.server_version, "identity": upstream.identity}
    return jsonrpc.joined({name: jsonrpc.encoded(value) for name, value in facts.items()})


def _to_scan(known: Known, item: Observed, version: str) -> bool:
    """Whether an item is new, changed, or was scanned by other rules."""
    current = known.get((item.kind, item.name))
    return current is None or current.raw != item.raw or current.scanned != version


def _hashed(item: Item, known: Definition | None) -> Observed:
    if known is None or known.raw != item.raw:
        return fingerprint(item.kind, item.name, item.raw)
    return Observed(item.kind, item.name, known.raw, known.core, known.full, known.quarantined)


def says_nothing_new(known: Known, seen: Observation, terms: Terms, version: str) -> bool:
    """Whether an observation would leave every definition as it is. Pure."""
    for item in seen.definitions:
        current = known.get((item.kind, item.name))
        if current is None or not current.listed or _to_scan(known, item, version):
            return False
        # a pin is judged with the approved content at hand, which only the store has
        if seen_again(current, item, terms, current.pinned).cause or (terms.mode == PIN and _unpinned(current)):
            return False
    listed = {(item.kind, item.name) for item in seen.definitions}
    return all(
        key in listed or current.kind in seen.unlisted or not vanished(current).cause for key, current in known.items()
    )


def _unpinned(current: Definition) -> bool:
    return current.status == DRIFT_DETECTED and current.pinned is None


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
