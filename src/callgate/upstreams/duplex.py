"""A conversation over one two-way channel (stdio, HTTP+SSE): many requests in flight, told apart by their ids.

An upstream that asks the client for things gets one call at a time, so that a question has one possible origin.
Fail closed: an answer to an id that was not asked is dropped; a call without a sign of life is given up; when the
channel ends, every call in flight fails.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from callgate import clock
from callgate.errors import Refused
from callgate.upstreams.conversation import Conversation, answer_body, undelivered
from callgate.upstreams.exchange import Answered, Ask, Event, Failed, Sent, Sink
from callgate.upstreams.inbox import Inbox, failure_of
from callgate.upstreams.routing import LISTEN
from callgate.wire import eras, jsonrpc

MAX_DEPTH = 512
_WRITE_SECONDS = 5.0
_QUEUED = "Another call of yours to this server waits for an answer; finish or cancel that one first."


class Channel(Protocol):
    """Whole messages both ways. `messages` ends when the other side is gone."""

    async def send(self, message: bytes) -> None: ...

    def messages(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...

    def carry(self, credential: tuple[str, str] | None) -> None:
        """Use this credential from here on."""
        ...

    def reason(self) -> str:
        """Why the channel ended: a sentence without payload."""
        ...


# the id of an answer that is no valid JSON: in front of anything nested, or behind all of it
_HEAD_ID = re.compile(rb'\s*\{[^{}\[\]]*?"id"\s*:\s*(\d+)\s*,')
_TAIL_ID = re.compile(rb'"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')


class DuplexConversation(Conversation):
    """One upstream process or stream, for one peer (in the modern era over stdio: for all with its credential)."""

    def __init__(self, channel: Channel, capabilities: bytes, silence: float) -> None:
        super().__init__(eras.LEGACY, eras.LATEST_LEGACY, capabilities)
        self._silence = silence  # seconds without a sign of life after which a call is given up
        self._channel = channel
        self._ended = asyncio.Event()
        self._queue: deque[DuplexExchange] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._read())

    def start(self, sent: Sent, sink: Sink | None = None) -> "DuplexExchange":
        """Send one request, or queue it behind the one in flight."""
        exchange = DuplexExchange(self, sent, sink, self._silence)
        if self.lost:
            failed = Failed("upstream_unavailable", self._channel.reason(), False)
            asyncio.get_running_loop().call_soon(exchange.emit, failed)
        elif self.router.asks and self.router.busy and sent.method != LISTEN:
            self._queue.append(exchange)
        else:
            self._send(exchange)
        return exchange

    @property
    def busy(self) -> bool:
        """Whether somebody waits for something of it."""
        return super().busy or bool(self._queue)

    def carry(self, credential: tuple[str, str] | None) -> None:
        """What is sent from here on carries it."""
        self._channel.carry(credential)

    async def tell(self, body: bytes, method: str = "") -> None:
        """Send a notification or an answer. Raises `Refused` when the channel is gone."""
        del method
        await self._channel.send(body)

    def given_up(self, exchange: "DuplexExchange") -> None:
        """A call is over or given up; the next one may go."""
        if exchange in self._queue:
            self._queue.remove(exchange)
        self.router.over(exchange.own_id)
        while self._queue and not self.router.busy and not self.lost:
            self._send(self._queue.popleft())

    def withdraw(self, own_id: bytes) -> None:
        """Tell the server that nobody waits for a call any more."""
        self._spawn(self._replied(cancelled(own_id)))

    async def hear(self) -> bool:
        """The channel carries everything."""
        return True

    async def until_lost(self) -> None:
        """Wait for the end of the channel."""
        await self._ended.wait()

    async def close(self) -> None:
        """End the channel; calls in flight fail."""
        self.lost = True
        await self._channel.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end(Failed("upstream_broke_off", self._channel.reason(), True))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _send(self, exchange: "DuplexExchange") -> None:
        self.router.add(exchange.sent.method, exchange)
        exchange.waits = False
        exchange.writing = self._spawn(self._write(self.body(exchange.sent, exchange.own_id), exchange))

    async def _write(self, body: bytes, exchange: "DuplexExchange") -> None:
        try:
            await self._channel.send(body)
        except Refused as refused:
            exchange.emit(failure_of(refused))

    async def _read(self) -> None:
        failed: Failed | None = None
        try:
            async for raw in self._channel.messages():
                self._message(raw)
        except Refused as refused:
            failed = Failed(refused.code, refused.detail, True)
        self._end(failed or Failed("upstream_broke_off", self._channel.reason(), True))

    def _end(self, failed: Failed) -> None:
        self.lost = True
        self._ended.set()
        queued, self._queue = self._queue, deque()
        for exchange in (*self.router.calls.values(), *self.router.streams.values()):
            exchange.emit(failed)
        for waiting in queued:
            waiting.emit(Failed(failed.code, failed.detail, False))

    def _message(self, raw: bytes) -> None:
        try:
            message = jsonrpc.parse(raw, MAX_DEPTH, lenient=True)
        except Refused as refused:
            self._unreadable(raw, refused)
            return
        if message.is_response:
            id_ = bytes(message.id)
            exchange = self.router.calls.get(id_) or self.router.streams.get(id_)
            if exchange is not None:
                kind, value = ("result", message.result) if message.result else ("error", message.error)
                exchange.emit(Answered(kind, bytes(value)))
        elif message.is_request:
            self.router.question(message)
        else:
            self.router.notification(message, raw)

    def _unreadable(self, raw: bytes, refused: Refused) -> None:
        """Noise between messages is a bad habit; an answer that cannot be read ends the call that waits for it."""
        found = _HEAD_ID.match(raw, 0, 512) or _TAIL_ID.search(raw, max(0, len(raw) - 512))
        exchange = self.router.calls.get(found[1]) if found is not None else None
        if exchange is not None:
            reason = f"The server's answer cannot be read. {refused.sentence}"
            exchange.emit(Failed("upstream_invalid", reason, True))

    def _reply(self, ask_id: bytes, reply: bytes) -> None:
        self._spawn(self._replied(answer_body(ask_id, reply)))

    async def _replied(self, body: bytes) -> None:
        with contextlib.suppress(Refused):  # the reader notices that the channel is gone
            await self._channel.send(body)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class DuplexExchange(Inbox):
    """One request over a channel."""

    def __init__(self, conversation: DuplexConversation, sent: Sent, sink: Sink | None, silence: float) -> None:
        super().__init__(conversation.era, conversation.next_id(), sink)
        self.sent = sent
        self.waits = True  # not sent yet
        self.writing: asyncio.Task[None] | None = None
        self._conversation = conversation
        self._silence = silence
        self._alive = clock.monotonic()
        self._asked: set[bytes] = set()
        self._timer = self._arm(silence) if sent.method != LISTEN else None

    def emit(self, event: Event) -> None:
        """Deliver one event: a sign of life."""
        self._alive = clock.monotonic()
        if isinstance(event, Ask):
            self._asked.add(event.id)
        super().emit(event)

    def _finished(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._conversation.given_up(self)

    def _arm(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Give up after too long a silence; while somebody thinks about a question, silence is no failure."""
        left = self._alive + self._silence - clock.monotonic()
        if self._asked or left > 0:
            self._timer = self._arm(max(left, 0.01) if not self._asked else self._silence)
        elif self.waits:
            self.emit(Failed("upstream_timeout", _QUEUED, False))
        else:
            self._conversation.withdraw(self.own_id)
            self.emit(Failed("upstream_timeout", f"The server was silent for {self._silence:g} s.", True))

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a question of the upstream."""
        self._alive = clock.monotonic()
        self._asked.discard(ask_id)
        try:
            await self._conversation.tell(answer_body(ask_id, reply))
        except Refused as refused:
            self.emit(Failed("upstream_broke_off", undelivered(refused), True))

    async def cancel(self) -> None:
        """Tell the upstream to stop (both eras, on a channel: 2026-07-28 /basic/patterns/cancellation)."""
        if not self.over and self.writing is not None:
            await asyncio.wait({self.writing}, timeout=_WRITE_SECONDS)  # a cancel must not overtake its request
            with contextlib.suppress(Refused):  # the upstream may be gone; then there is nothing left to cancel
                await self._conversation.tell(cancelled(self.own_id))
        await self.aclose()

    async def aclose(self) -> None:
        """Hear nothing more."""
        if not self.over:
            self.over = True
            self._finished()


def cancelled(own_id: bytes) -> bytes:
    """The notification that cancels a request of ours."""
    return jsonrpc.notification("notifications/cancelled", b'{"requestId":%b}' % own_id)
