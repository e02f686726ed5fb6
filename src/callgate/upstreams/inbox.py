"""The events of one exchange: called through to a sink, or queued for an iterator with back-pressure.

Fail closed: a source that cannot be held back loses its notices, never its answer, when nobody reads.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from callgate.errors import Refused
from callgate.upstreams.exchange import Answered, Ask, Ended, Event, Failed, Notice, Piece, Sink

_LAST = (Answered, Ended, Failed)
_HIGH, _LOW = 128 * 1024, 64 * 1024  # bytes of events that may wait for the reader, where the source can be held back
_MOST_NOTICES = 1024 * 1024  # bytes that may wait before notices are dropped, where it cannot
NO_ROOTS = b'{"result":{"roots":[]}}'
NOBODY_TO_ASK = b'{"error":{"code":-32601,"message":"Nobody can be asked this now."}}'


class Inbox:
    """Base of every exchange. The transport calls `emit`; `_pause` and `_resume` hold the source back."""

    def __init__(self, era: str, own_id: bytes, sink: Sink | None = None) -> None:
        self.era = era
        self.own_id = own_id  # raw id of the request; where progress was asked for, also its token
        self.sink = sink
        self.over = False
        self._events: deque[Event] = deque()
        self._waiting = 0
        self._paused = False
        self._wake: asyncio.Event | None = None

    def emit(self, event: Event) -> None:
        """Deliver one event. Nothing follows an `Answered`, `Ended` or `Failed`."""
        if self.over:
            return
        if isinstance(event, _LAST):
            self.over = True
            self._finished()
        if self.sink is not None:
            self.sink(event)
            return
        if isinstance(event, Notice) and self._waiting > _MOST_NOTICES and not self._can_pause:
            return
        self._events.append(event)
        self._waiting += _size(event)
        if self._waiting > _HIGH and not self._paused:
            self._paused = True
            self._pause()
        if self._wake is not None:
            self._wake.set()

    _can_pause = False

    def _pause(self) -> None:
        """Stop reading from the source."""

    def _resume(self) -> None:
        """Go on reading from the source."""

    def _finished(self) -> None:
        """The exchange is over."""

    async def __aiter__(self) -> AsyncIterator[Event]:
        wake = self._wake = asyncio.Event()
        while True:
            while not self._events:
                wake.clear()
                await wake.wait()
            event = self._events.popleft()
            self._taken(_size(event))
            yield event
            if isinstance(event, _LAST):
                return

    def unread(self, events: Sequence[Event]) -> None:
        """Put back events that were taken but not handled: whoever reads next gets them first, in their order."""
        self._events.extendleft(reversed(events))
        self._waiting += sum(map(_size, events))

    def _taken(self, size: int) -> None:
        self._waiting -= size
        if self._paused and self._waiting < _LOW:
            self._paused = False
            self._resume()

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a question of the upstream; one that cannot be delivered ends the exchange with `Failed`."""
        raise NotImplementedError

    async def cancel(self) -> None:
        """Tell the upstream to stop, and close."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Give up what is held; no events follow."""
        raise NotImplementedError


def _size(event: Event) -> int:
    if isinstance(event, Piece):
        return len(event.data)
    if isinstance(event, Notice):
        return len(event.raw)
    return len(event.params) if isinstance(event, Ask) else 0


def refusal_of(failed: Failed) -> Refused:
    """The refusal that a failure amounts to."""
    return Refused(failed.code, failed.detail, {"challenge": failed.challenge} if failed.challenge else {})


def failure_of(refused: Refused) -> Failed:
    """The same the other way round, for what was sent: without a challenge it may have run."""
    challenge = str(refused.data.get("challenge", ""))
    return Failed(refused.code, refused.detail, not challenge, challenge)


async def whole(exchange: Inbox) -> tuple[str, bytes]:
    """Wait for the answer of a small exchange of the gateway's own: (`result` or `error`, value). Raises `Refused`."""
    pieces: list[bytes] = []
    async for event in exchange:
        if isinstance(event, Failed):
            raise refusal_of(event)
        if isinstance(event, Answered):
            return event.kind, event.raw
        if isinstance(event, Ended):
            break
        if isinstance(event, Piece):
            pieces.append(event.data)
        elif isinstance(event, Ask):
            await exchange.answer(event.id, NO_ROOTS if event.method == "roots/list" else NOBODY_TO_ASK)
    return "result", b"".join(pieces)
