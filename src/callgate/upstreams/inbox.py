"""The events of one exchange: called through to a sink, or queued for an iterator with back-pressure."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from callgate.upstreams.exchange import Answered, Ended, Event, Failed, Piece, Sink

_LAST = (Answered, Ended, Failed)
_HIGH, _LOW = 1024 * 1024, 256 * 1024  # bytes of pieces that may wait for the reader


class Inbox:
    """Base of every exchange. The transport calls `emit`; `_pause` and `_resume` hold the source back."""

    def __init__(self, era: str, sink: Sink | None = None) -> None:
        self.era = era
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
        self.over = isinstance(event, _LAST)
        if self.sink is not None:
            self.sink(event)
            return
        self._events.append(event)
        if isinstance(event, Piece):
            self._waiting += len(event.data)
            if self._waiting > _HIGH and not self._paused:
                self._paused = True
                self._pause()
        if self._wake is not None:
            self._wake.set()

    def _pause(self) -> None:
        """Stop reading from the source."""

    def _resume(self) -> None:
        """Go on reading from the source."""

    async def __aiter__(self) -> AsyncIterator[Event]:
        wake = self._wake = asyncio.Event()
        while True:
            while not self._events:
                wake.clear()
                await wake.wait()
            event = self._events.popleft()
            if isinstance(event, Piece):
                self._taken(len(event.data))
            yield event
            if isinstance(event, _LAST):
                return

    def _taken(self, size: int) -> None:
        self._waiting -= size
        if self._paused and self._waiting < _LOW:
            self._paused = False
            self._resume()
