"""The GET stream of a handshake-era session: what the server says outside the answers to our requests.

It comes back by itself after a break, from where it broke (2025-11-25, streamable HTTP, "Listening for Messages from
the Server"). A server that offers none is simply not heard. Fail closed: an answer that says the session is unknown
ends the conversation, so that the next call opens a new one.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from callgate.errors import Refused
from callgate.net.errors import EgressError
from callgate.net.exchange import Headers, Ticket
from callgate.upstreams.place import media_type
from callgate.wire import jsonrpc
from callgate.wire.sse import SseParser

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
READY_SECONDS = 2.0  # some servers send no head before the first event
_MAX_DEPTH = 512
_FORGOTTEN = frozenset({400, 404})


class Source(Protocol):
    """Opens the stream: `last_id` is the event to go on after."""

    def __call__(self, handler: "Stream", last_id: str | None) -> Ticket: ...


class Hearing:
    """Keeps one GET stream open. `take` gets every message; `forgotten` is called when the session is gone."""

    def __init__(
        self, source: Source, take: Callable[[jsonrpc.Message, bytes], None], forgotten: Callable[[], None], cap: int
    ) -> None:
        self._source = source
        self._take = take
        self._forgotten = forgotten
        self._cap = cap
        self._last_id: str | None = None
        self._first: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="upstreams-hearing")

    async def ready(self) -> bool:
        """Whether there is a stream, as far as is known within a moment."""
        await asyncio.wait({self._first}, timeout=READY_SECONDS)
        return not self._first.done() or self._first.result()

    async def close(self) -> None:
        """Hear no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def heard(self, raw: bytes) -> None:
        """One event of the stream."""
        try:
            message = jsonrpc.parse(raw, _MAX_DEPTH, lenient=True)
        except Refused:
            return  # noise on a side channel harms nobody
        self._take(message, raw)

    async def _run(self) -> None:
        wait = FIRST_WAIT
        while True:
            stream = Stream(self, self._cap)
            ticket = self._source(stream, self._last_id)
            try:
                await stream.over
            finally:
                ticket.abort()
            if stream.opened:
                wait = FIRST_WAIT
            elif not self._first.done():
                if 200 <= stream.status < 500:
                    self._first.set_result(False)
                    return
            elif stream.status in _FORGOTTEN:
                self._forgotten()
                return
            self._last_id = stream.last_id or self._last_id
            await asyncio.sleep(max(wait, stream.retry))
            wait = min(wait * 2, LONGEST_WAIT)

    def opened(self) -> None:
        """The stream is there."""
        if not self._first.done():
            self._first.set_result(True)


class Stream:
    """One connection of the stream."""

    def __init__(self, hearing: Hearing, cap: int) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.opened = False
        self.last_id: str | None = None
        self.retry = 0.0
        self._hearing = hearing
        self._parser = SseParser(cap)

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        if status == 200 and media_type(headers) == b"text/event-stream":
            self.opened = True
            self._hearing.opened()
        else:
            self._end()

    def on_chunk(self, data: bytes) -> None:
        if self.over.done():
            return
        try:
            for event in self._parser.feed(data):
                self.last_id = event.id or self.last_id
                if event.retry is not None:
                    self.retry = min(event.retry / 1000, LONGEST_WAIT)
                if event.event == "message" and event.data:
                    self._hearing.heard(event.data)
        except Refused:
            self._end()

    def on_end(self) -> None:
        self._end()

    def on_error(self, error: EgressError) -> None:
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
