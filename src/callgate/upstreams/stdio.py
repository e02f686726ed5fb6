"""stdio upstreams: a child process as a channel, started with back-off, its stderr kept for `upstreams show`.

One process per conversation: handshake-era conversations are never shared between people, nor are processes.
Fail closed: a child that cannot be isolated is not started; one that keeps failing is started ever more rarely.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from callgate import clock
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.upstreams.process import Backoff, Child, ChildSpec, ProcessError, spawn

STOP_SECONDS = 2.0
STEADY_SECONDS = 30.0  # a child that lived so long is taken to work
SHORT_SECONDS = 1.0  # a back-off that is waited for; a longer one is said
MakeSpec = Callable[[Upstream, dict[str, str]], ChildSpec]
_MAX_STDERR = 1000  # upstreams whose last stderr is kept


class ChildChannel:
    """One running child: newline-delimited JSON both ways (2025-11-25 and 2026-07-28, stdio)."""

    def __init__(self, child: Child, ended: Callable[[], None]) -> None:
        self._child = child
        self._ended = ended  # called once if the process ends by itself
        self._closing = False
        self._why = "The server's process has ended."

    async def send(self, message: bytes) -> None:
        """Write one message. Raises `Refused("upstream_broke_off")` when the process is gone."""
        try:
            await self._child.send(message.replace(b"\n", b" "))
        except ProcessError as error:
            raise Refused("upstream_broke_off", str(error)) from None

    async def messages(self) -> AsyncIterator[bytes]:
        """Messages until the process ends."""
        try:
            async for line in self._child.messages():
                if line.strip():
                    yield line
        except ProcessError as error:
            self._why = str(error)
        if not self._closing:
            self._ended()

    async def close(self) -> None:
        """End the process and all it started."""
        self._closing = True
        await self._child.stop(STOP_SECONDS)

    def carry(self, credential: tuple[str, str] | None) -> None:
        """A program has what it needs in its environment."""

    def reason(self) -> str:
        return self._why


class Children:
    """Starts the children of all stdio upstreams of one replica."""

    def __init__(self, make_spec: MakeSpec) -> None:
        self._make_spec = make_spec
        self._backoff: dict[str, tuple[Backoff, float]] = {}  # upstream → back-off, not before
        self._stderr: OrderedDict[str, Callable[[], str]] = OrderedDict()

    async def spawn(self, upstream: Upstream, variables: dict[str, str]) -> ChildChannel:
        """Start a child. Raises `Refused("upstream_unavailable")` with the reason, also while it backs off for long."""
        backoff, not_before = self._backoff.get(upstream.id, (Backoff(), 0.0))
        wait = not_before - clock.monotonic()
        if wait > SHORT_SECONDS:
            raise Refused(
                "upstream_unavailable", f"The server's process keeps failing; the next try is in {wait:.0f} s."
            )
        await asyncio.sleep(max(0.0, wait))
        began = clock.monotonic()
        self._backoff[upstream.id] = (backoff, 0.0)
        try:
            child = await spawn(self._make_spec(upstream, variables))
        except ProcessError as error:
            self._failed(upstream.id, backoff)
            raise Refused("upstream_unavailable", str(error)) from None
        self._stderr[upstream.id] = child.stderr_tail
        self._stderr.move_to_end(upstream.id)
        while len(self._stderr) > _MAX_STDERR:
            self._stderr.popitem(last=False)

        def ended() -> None:
            if clock.monotonic() - began < STEADY_SECONDS:
                self._failed(upstream.id, backoff)
            else:
                self._backoff.pop(upstream.id, None)

        return ChildChannel(child, ended)

    def stderr(self, upstream_id: str) -> str:
        """The last lines an upstream wrote to stderr, control characters made visible; "" when there are none."""
        tail = self._stderr.get(upstream_id)
        return tail() if tail is not None else ""

    def _failed(self, upstream_id: str, backoff: Backoff) -> None:
        self._backoff[upstream_id] = (backoff, clock.monotonic() + backoff.next())
