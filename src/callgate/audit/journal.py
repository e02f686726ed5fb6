"""The embedded recorder: an append-only journal per process, loaded into SQLite behind the calls.

A group is durable when it is synced in the journal (`group.py`, `rotation.py`, `disk.py`); the journal is part of the
store: `flush` loads it, a start replays what a killed process left, and ends its open calls as `unknown`. Relaxed
outcomes are answered at once and synced within 500 ms. Fail closed: an error or a sync that takes 5 s fails its group
and makes `healthy` False until a fresh file can be written; a journal that cannot be written at all stops the start.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import structlog

from callgate import clock
from callgate.audit import events, writer
from callgate.audit.disk import Disk
from callgate.audit.group import Group, GroupWriter, Item
from callgate.audit.journal_loader import JournalLoader
from callgate.audit.rotation import Rotation
from callgate.audit.writer import LONGEST_S, Done, NotDurable, tell
from callgate.errors import Refused
from callgate.model.event import Event, Intent, Outcome
from callgate.store.audit_sqlite import SQLiteAudit

SEGMENT_BYTES = 16 * 1024 * 1024
_RELAXED_S = 0.25
_IDLE_S = 1.0  # how long nothing was written before the journal is loaded
_WATCH_S = 1.0
_GRACE_S = 0.05  # for the loop to hear of what has come through while the whole process stood still
_DRAIN_S = 10.0
_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Event).decode


class JournalRecorder:
    """Records into a directory and a SQLite file. Use from one event loop; `await start()` first."""

    def __init__(
        self,
        directory: Path,
        database: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        disk: Callable[[asyncio.AbstractEventLoop], Disk] = Disk,
    ) -> None:
        self._directory = directory
        self._open: dict[str, bytes] = {}  # lines of the intents of open calls, by call
        self._files = Rotation(directory, segment_bytes, lambda: list(self._open.values()))
        self._disk = disk
        self._writer: GroupWriter
        self._loader = JournalLoader(self._files.segments, SQLiteAudit(database))
        self._pool = ThreadPoolExecutor(1, "audit-load")
        self._encode = msgspec.json.Encoder().encode
        self._loop: asyncio.AbstractEventLoop
        self._healthy = False
        self._stopped = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wrote = 0.0  # monotonic time of the last group

    async def start(self) -> None:
        """Replay what an earlier process left, then take records.

        Raises `Refused`: not_recorded (the directory cannot be written durably), store_unavailable.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._pool, self._loader.replay, self._directory)
            await self._files.start()
        except OSError as error:
            self._pool.shutdown()
            raise Refused(
                "not_recorded", f"The journal {self._directory} cannot be written: {error.strerror}."
            ) from None
        self._writer = GroupWriter(self._disk(self._loop), self._files, self._finished, self._mended)
        self._healthy = True

    @property
    def healthy(self) -> bool:
        return self._healthy

    def write(self, event: Event, done: Done) -> None:
        """The hot path: encode, queue, wake the writer if it rests."""
        if not self._healthy:
            self._loop.call_soon(done, NotDurable("the journal cannot be written"))
            self._note_lost_end(event)
            return
        line = self._encode(event)
        kind = type(event)
        if kind is Intent:
            self._open[event.id] = line
        elif kind is Outcome:
            self._open.pop(event.id, None)
            if event.durability == "relaxed":  # type: ignore[union-attr]  # `kind` has told
                self._write_relaxed(line, done)
                return
        writer = self._writer
        writer.queue.append((line, done))
        if writer.resting:
            writer.wake()
        if "watch" not in self._timers:
            self._after("watch", _WATCH_S, self._watch)

    async def record(self, event: Event) -> None:
        await writer.record(self, event)

    async def flush(self) -> None:
        """Load everything that is durable by now into SQLite. Raises `Refused("store_unavailable")`."""
        if self._healthy:
            await asyncio.wait([self._writer.mark()], timeout=LONGEST_S)
        await self._loop.run_in_executor(self._pool, self._loader.load)

    async def stop(self) -> None:
        """Sync and load everything; a journal that was loaded whole is deleted."""
        self._healthy = False
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        await self._writer.drain(_DRAIN_S)
        if self._writer.current is not None or self._writer.queue:
            self._fail(self._writer.current, NotDurable("the journal was closed"))
        try:
            await self._loop.run_in_executor(self._pool, self._loader.finish)
        except Refused as refused:
            _log.warning("audit_left_in_journal", reason=str(refused))
        self._pool.shutdown()

    # -- on the loop ----------------------------------------

    def _write_relaxed(self, line: bytes, done: Done) -> None:
        self._writer.queue.append((line, None))
        self._loop.call_soon(done, None)
        if "relaxed" not in self._timers:
            self._after("relaxed", _RELAXED_S, self._sync_relaxed)

    def _sync_relaxed(self) -> None:
        del self._timers["relaxed"]
        self._writer.wake()

    def _after(self, name: str, seconds: float, call: object) -> None:
        self._timers[name] = self._loop.call_later(seconds, call)  # type: ignore[arg-type]

    def _watch(self) -> None:
        """Fail what waits for a sync that hangs; nobody waits longer than 5 s and a little."""
        del self._timers["watch"]
        group = self._writer.current
        if group is not None and clock.monotonic() - group.since > LONGEST_S:
            self._after("watch", _GRACE_S, lambda: self._give_up(group))
        elif group is not None or self._writer.queue:
            self._after("watch", _WATCH_S, self._watch)

    def _give_up(self, group: Group) -> None:
        if group is self._writer.current:
            self._fail(group, NotDurable("the disk does not answer"))
        self._after("watch", _WATCH_S, self._watch)

    def _finished(self, group: Group, error: OSError | None) -> None:
        if error is not None:
            _log.error("audit_not_durable", error=error.strerror)
            self._fail(group, NotDurable(error.strerror or "the journal cannot be written"))
            return
        if group.told:  # it had been given up, and came through after all
            self._healthy = not self._stopped
            return
        group.told = True
        self._wrote = clock.monotonic()
        if "load" not in self._timers:
            self._after("load", _IDLE_S, self._load_when_idle)
        tell(self._loop, [done for _, done in group.items], None)

    def _fail(self, group: Group | None, error: NotDurable) -> None:
        """Refuse what is waiting and what comes, until the journal works again."""
        self._healthy = False
        items: list[Item] = []
        if group is not None and not group.told:
            group.told = True
            items += group.items
        items += self._writer.queue
        self._writer.queue = []
        for line, done in items:
            self._note_failure(line, done)
        tell(self._loop, [done for _, done in items], error)

    def _note_failure(self, line: bytes, done: Done | None) -> None:
        if not line:
            return
        if done is None:  # answered already: written when writing works again
            self._writer.queue.append((line, None))
            return
        event = _decode(line)
        self._open.pop(event.id, None)
        truth = events.not_recorded(event)
        if truth is not None:
            self._writer.queue.append((self._encode(truth), None))

    def _note_lost_end(self, event: Event) -> None:
        """An outcome is refused whose intent is in the journal: say so when writing works again."""
        truth = events.not_recorded(event) if isinstance(event, Outcome) else None
        if truth is not None and self._open.pop(event.id, None) is not None and not self._stopped:
            self._writer.queue.append((self._encode(truth), None))

    def _mended(self) -> None:
        _log.info("audit_durable_again")
        self._healthy = not self._stopped

    def _load_when_idle(self) -> None:
        del self._timers["load"]
        rested = clock.monotonic() - self._wrote
        if rested < _IDLE_S and not self._loader.behind:
            self._after("load", _IDLE_S - rested, self._load_when_idle)
            return
        work = self._loop.run_in_executor(self._pool, self._loader.load)
        work.add_done_callback(self._loaded)

    def _loaded(self, work: "asyncio.Future[None]") -> None:
        error = None if work.cancelled() else work.exception()
        if error is not None:
            _log.warning("audit_load_failed", reason=str(error))
            if self._healthy and "load" not in self._timers:
                self._after("load", LONGEST_S, self._load_when_idle)
