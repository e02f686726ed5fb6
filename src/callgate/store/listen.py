"""Wake-ups: in this process right after a commit, from other replicas by PostgreSQL's LISTEN.

On failure: while the server is away, wake-ups from elsewhere are lost and this connects again with back-off; those
who listen poll as well, so a lost wake-up only delays.
"""

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg
import structlog

from callgate.store.unit import CHANNEL

_log = structlog.get_logger(__name__)
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Listener:
    """Hands payloads to callbacks. `dsn` is None where no other process can write (SQLite)."""

    def __init__(self, dsn: str | None) -> None:
        self._dsn = dsn
        self._callbacks: dict[int, Callable[[str], None]] = {}
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    def add(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Register a callback; the returned function takes it back."""
        self._next += 1
        number = self._next
        self._callbacks[number] = callback
        return lambda: self._callbacks.pop(number, None) and None

    def wake(self, payload: str) -> None:
        """Call everybody, on the loop, after the present callback."""
        loop = asyncio.get_running_loop()
        for callback in tuple(self._callbacks.values()):
            loop.call_soon(callback, payload)

    async def start(self) -> None:
        """Listen until `stop`; the first connection is made before this returns, if the server lets us."""
        if self._dsn is None:
            return
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(ready), name="store-listen")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), _LONGEST_WAIT)

    async def stop(self) -> None:
        """Stop listening; no callback comes after this."""
        self._callbacks.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self, ready: asyncio.Event) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                await self._listen(ready)
                wait = _FIRST_WAIT
            except _LOST as error:
                _log.warning("store_listen_lost", error=type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _listen(self, ready: asyncio.Event) -> None:
        connection = await asyncpg.connect(dsn=self._dsn, timeout=_LONGEST_WAIT)
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _connection: gone.set())
            await connection.add_listener(CHANNEL, lambda _connection, _pid, _channel, payload: self.wake(payload))
            ready.set()
            await gone.wait()
        finally:
            connection.terminate()
