"""The recorder on PostgreSQL: groups straight into the database, no local state.

While the server is away `healthy` is False and new records are refused at once; a group that was on its way is tried
again (an event that got in after all is not doubled) until it is 5 s old, then it fails. Relaxed outcomes were
answered already and are kept until they are in, and so is what became true of open calls by failing: no intent stays
without an outcome. An event that no column can hold fails alone, not its group.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import structlog

from callgate import clock
from callgate.audit import events, writer
from callgate.audit.writer import LONGEST_S, Done, NotDurable, tell
from callgate.errors import Refused
from callgate.model.event import Event, Intent, Outcome
from callgate.store.audit_postgresql import PostgreSQLAudit

_GROUP = 2000  # events of one statement
_WORKERS = 2  # one group is on its way while the next one is made up
_RETRY_S = 0.2
_Item = tuple[Event | None, Done | None]
_log = structlog.get_logger(__name__)


class PostgreSQLRecorder:
    """Records over connections of its own. Use from one event loop; `await start()` first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._healthy = False
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._on_the_way: set[asyncio.Future[None]] = set()
        self._open: set[str] = set()  # calls whose intent was taken and whose outcome was not
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Connect and take records. Raises `Refused("store_unavailable")`."""
        self._loop = asyncio.get_running_loop()
        store = PostgreSQLAudit(self._url)
        await store.ping()
        self._healthy = True
        stores = [store, *(PostgreSQLAudit(self._url) for _ in range(_WORKERS - 1))]
        self._tasks = [asyncio.create_task(self._work(store), name="audit-postgresql") for store in stores]

    @property
    def healthy(self) -> bool:
        return self._healthy and not any(task.done() for task in self._tasks)

    def write(self, event: Event, done: Done) -> None:
        """The hot path: append, wake a worker."""
        kind = type(event)
        if not self._healthy:
            self._loop.call_soon(done, NotDurable("the database is away"))
            if kind is Outcome and event.id in self._open:
                self._later_truth(event)
            return
        if kind is Intent:
            self._open.add(event.id)
        elif kind is Outcome:
            self._open.discard(event.id)
        if kind is Outcome and event.durability == "relaxed":  # type: ignore[union-attr]  # `kind` has told
            self._loop.call_soon(done, None)
            self._queue.append((event, None))
        else:
            self._queue.append((event, done))
        self._wake.set()

    def _later_truth(self, event: Event) -> None:
        """An event failed: what is true of its call now is written when the server is back."""
        self._open.discard(event.id)
        truth = events.not_recorded(event)
        if truth is not None:
            self._queue.append((truth, None))
            self._wake.set()

    async def record(self, event: Event) -> None:
        await writer.record(self, event)

    async def flush(self) -> None:
        """Wait until what was written so far is in, at most 5 s."""
        if not self._healthy:
            return
        reached: asyncio.Future[None] = self._loop.create_future()
        self._queue.append((None, lambda _error: None if reached.done() else reached.set_result(None)))
        self._wake.set()
        try:
            async with asyncio.timeout(LONGEST_S):
                await reached
                if self._on_the_way:
                    await asyncio.wait(tuple(self._on_the_way))
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Write what is queued, for 5 s at most, then close the connections."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LONGEST_S)
            for task in late:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._healthy = False

    # -- a worker ----------------------------------------

    async def _work(self, store: PostgreSQLAudit) -> None:
        try:
            while items := await self._take():
                way = self._loop.create_future()
                self._on_the_way.add(way)
                try:
                    await self._put(store, items)
                finally:
                    self._on_the_way.discard(way)
                    way.set_result(None)
        finally:
            await store.close()

    async def _take(self) -> list[_Item]:
        while not self._queue:
            if self._stopping:
                return []
            self._wake.clear()
            await self._wake.wait()
        return [self._queue.popleft() for _ in range(min(len(self._queue), _GROUP))]

    async def _put(self, store: PostgreSQLAudit, items: Sequence[_Item]) -> None:
        """Insert a group, for as long as it takes; its callbacks wait 5 s at most."""
        deadline = clock.monotonic() + LONGEST_S
        while True:
            group = [event for event, _ in items if event is not None]
            try:
                if group or not self._healthy:  # an empty group finds out whether the server is back
                    await store.insert(group)
                break
            except ValueError:
                await self._one_by_one(store, items)
                return
            except Refused:
                self._lost()
            if self._stopping or clock.monotonic() > deadline:
                items = self._given_up(items)
                deadline = float("inf")
            if self._stopping:
                return
            await asyncio.sleep(_RETRY_S)
        self._back()
        self._tell([done for _, done in items], None)

    async def _one_by_one(self, store: PostgreSQLAudit, items: Sequence[_Item]) -> None:
        for event, done in items:
            error: NotDurable | None = None
            if event is not None:
                try:
                    await store.insert([event])
                except (ValueError, Refused):
                    error = NotDurable("no column can hold this event")
                    self._open.discard(event.id)
            self._tell([done], error)

    def _tell(self, waiting: Sequence[Done | None], error: NotDurable | None) -> None:
        # not from inside the worker: a callback that raises must not end it
        self._loop.call_soon(tell, self._loop, waiting, error)

    def _lost(self) -> None:
        if self._healthy:
            _log.error("audit_not_durable", error="the database is away")
        self._healthy = False

    def _back(self) -> None:
        if not self._healthy:
            _log.info("audit_durable_again")
        self._healthy = True

    def _given_up(self, items: Sequence[_Item]) -> list[_Item]:
        """Fail who waits; what is left to write is what was answered already, and what became true by failing."""
        left: list[_Item] = []
        for event, done in items:
            if event is not None and done is None:
                left.append((event, None))
            elif event is not None:
                self._later_truth(event)
        self._tell([done for _, done in items], NotDurable("the database is away"))
        return left
