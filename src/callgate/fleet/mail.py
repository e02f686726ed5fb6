"""Messages between replicas: answers, cancels, changes of sessions. They are payload, so they are sealed to the
receiver's key, deleted when read, and never put into a wake-up.

Fail closed: mail that does not open is dropped; mail for a replica that is gone is deleted after ten minutes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import structlog

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.supervise import supervised
from callgate.store import mail as box
from callgate.store import replicas
from callgate.store.engine import Database

ALIVE_SECONDS = 20.0
_POLL_SECONDS = 2.0
_LOST_SECONDS = 600.0  # mail that is not fetched for so long has nobody to fetch it
_CLEAN_SECONDS = 60.0
_log = structlog.get_logger(__name__)
Handler = Callable[[bytes], Awaitable[None]]


class ReplicaKey(Protocol):
    """A replica's key pair: anybody can seal for a public key, only its owner opens."""

    @property
    def public(self) -> bytes: ...

    def open(self, sealed: bytes) -> bytes | None: ...

    def seal_for(self, public: bytes, data: bytes) -> bytes: ...


class Mail:
    """One replica's letter box."""

    def __init__(self, db: Database, replica: str, key: ReplicaKey) -> None:
        self._db = db
        self._replica = replica
        self._key = key
        self._handlers: dict[str, Handler] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unlisten: Callable[[], None] | None = None

    def on(self, kind: str, handler: Handler) -> None:
        """Who handles mail of one kind."""
        self._handlers[kind] = handler

    async def start(self) -> None:
        """Begin to fetch. A single process on SQLite has nobody to write to it, and nothing to fetch."""
        if self._db.dialect != "postgresql":
            return
        self._unlisten = self._db.listen(self._woken)
        self._task = supervised("fleet-mail", self._fetch)

    async def stop(self) -> None:
        """Stop fetching."""
        if self._unlisten is not None:
            self._unlisten()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def send(self, replica: str, kind: str, body: bytes) -> bool:
        """Leave a message for one replica; False when it is gone or has not been heard of lately."""
        async with self._db.unit(None) as unit:
            receiver = await replicas.get(unit, replica)
            if receiver is None or receiver.beat < await unit.now() - ALIVE_SECONDS:
                return False
            await box.put(unit, replica, kind, self._key.seal_for(receiver.public_key, body))
            return True

    async def alive(self) -> frozenset[str]:
        """The replicas that have been heard of lately. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(None) as unit:
            return frozenset(one.id for one in await replicas.alive(unit, ALIVE_SECONDS))

    async def broadcast(self, kind: str, body: bytes) -> None:
        """Leave a message for every other live replica."""
        if self._db.dialect != "postgresql":
            return
        async with self._db.unit(None) as unit:
            for receiver in await replicas.alive(unit, ALIVE_SECONDS):
                if receiver.id != self._replica:
                    await box.put(unit, receiver.id, kind, self._key.seal_for(receiver.public_key, body))

    def _woken(self, payload: str) -> None:
        if payload == f"mail:{self._replica}":
            self._wake.set()

    async def _fetch(self) -> None:
        clean_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                async with self._db.unit(None) as unit:
                    found = await box.take(unit, self._replica)
                    if clean_at <= clock.monotonic():
                        await box.prune(unit, clock.now() - _LOST_SECONDS)
                        clean_at = clock.monotonic() + _CLEAN_SECONDS
            except Refused as refused:
                _log.warning("mail_failed", code=refused.code)
                continue
            for kind, body in found:
                await self._deliver(kind, body)

    async def _deliver(self, kind: str, body: bytes) -> None:
        handler = self._handlers.get(kind)
        if handler is None:
            return  # a broadcast about calls reaches replicas that serve none
        opened = self._key.open(body)
        if opened is None:
            _log.warning("mail_dropped", kind=kind)
            return
        try:
            await handler(opened)
        except Refused as refused:  # one message that cannot be handled takes no other along
            _log.warning("mail_refused", kind=kind, code=refused.code)
        except msgspec.MsgspecError:  # a replica of another version writes what this one cannot read
            _log.warning("mail_not_understood", kind=kind)
