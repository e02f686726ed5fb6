"""A conversation over one two-way channel (stdio, HTTP+SSE): many requests in flight, told apart by their ids.

Fail closed: an answer to an id that was not asked is dropped; a question that belongs to no call is answered with an
error; when the channel ends, every call in flight fails.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec

from callgate.errors import Refused
from callgate.upstreams.exchange import Answered, Ask, Failed, Notice, Sink
from callgate.upstreams.http import CLIENT_INFO, Sent, enveloped
from callgate.upstreams.inbox import Inbox
from callgate.wire import eras, jsonrpc

MAX_DEPTH = 512
OnNotice = Callable[[str, bytes], None]  # method, raw params
_NO_ROOTS = b'{"result":{"roots":[]}}'
_NOT_HERE = b'{"error":{"code":-32601,"message":"This question belongs to no call."}}'
_FOR_A_CALL = frozenset({"notifications/message"})


class Channel(Protocol):
    """Whole messages both ways. `messages` ends when the other side is gone."""

    async def send(self, message: bytes) -> None: ...

    def messages(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...

    def reason(self) -> str:
        """Why the channel ended: a sentence without payload."""
        ...


class DuplexConversation:
    """One upstream process or stream, for one peer."""

    def __init__(self, channel: Channel) -> None:
        self.era = eras.LEGACY
        self.version = eras.LATEST_LEGACY
        self.server: bytes = b"{}"
        self.capabilities = b"{}"
        self.lost = False
        self.ended = asyncio.Event()
        self.on_notice: OnNotice | None = None
        self._channel = channel
        self._next = 0
        self._open: dict[bytes, DuplexExchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._read())

    def start(self, sent: Sent, sink: Sink | None = None) -> "DuplexExchange":
        """Send one request."""
        self._next += 1
        exchange = DuplexExchange(self, b"%d" % self._next, sink)
        if self.lost:
            exchange.emit(Failed("upstream_unavailable", self._channel.reason(), False))
            return exchange
        self._open[exchange.own_id] = exchange
        params = enveloped(sent.params, self._meta(sent, exchange.own_id))
        self._spawn(self._write(jsonrpc.request(exchange.own_id, sent.method, params), exchange))
        return exchange

    @property
    def busy(self) -> bool:
        """Whether calls are in flight."""
        return bool(self._open)

    def _meta(self, sent: Sent, own_id: bytes) -> dict[str, bytes]:
        extra: dict[str, bytes] = {}
        if sent.progress:
            extra["progressToken"] = own_id
        if self.era == eras.MODERN:
            extra[eras.VERSION_KEY] = jsonrpc.encoded(self.version)
            extra[eras.CAPABILITIES_KEY] = self.capabilities
            extra[eras.CLIENT_INFO_KEY] = CLIENT_INFO
            if sent.log_level is not None:
                extra[eras.LOG_LEVEL_KEY] = jsonrpc.encoded(sent.log_level)
        return extra

    async def tell(self, body: bytes, method: str = "") -> None:
        """Send a notification or an answer. Raises `Refused` when the channel is gone."""
        del method
        await self._channel.send(body)

    def forget(self, own_id: bytes) -> None:
        """A call is over or given up."""
        self._open.pop(own_id, None)

    async def close(self) -> None:
        """End the channel; calls in flight fail."""
        self.lost = True
        self.ended.set()
        await self._channel.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_all()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _write(self, body: bytes, exchange: "DuplexExchange") -> None:
        try:
            await self._channel.send(body)
        except Refused as refused:
            self.forget(exchange.own_id)
            exchange.emit(Failed(refused.code, refused.detail, True))

    async def _read(self) -> None:
        try:
            async for raw in self._channel.messages():
                self._message(raw)
        except Refused as refused:
            self.lost = True
            self._fail_all(refused)
        self.lost = True
        self.ended.set()
        self._fail_all()

    def _fail_all(self, refused: Refused | None = None) -> None:
        failed = Failed("upstream_broke_off", self._channel.reason(), True)
        if refused is not None:
            failed = Failed(refused.code, refused.detail, True)
        for exchange in tuple(self._open.values()):
            self.forget(exchange.own_id)
            exchange.emit(failed)

    def _message(self, raw: bytes) -> None:
        try:
            message = jsonrpc.parse(raw, MAX_DEPTH)
        except Refused:
            return  # noise between messages is a server's bad habit, not a reason to end it
        if message.is_response:
            exchange = self._open.get(bytes(message.id))
            if exchange is not None:
                self.forget(exchange.own_id)
                kind, value = ("result", message.result) if message.result else ("error", message.error)
                exchange.emit(Answered(kind, bytes(value)))
        elif message.is_request:
            self._question(message)
        else:
            self._notification(message, raw)

    def _question(self, message: jsonrpc.Message) -> None:
        method, ask_id = message.method or "", bytes(message.id)
        asked = self._latest()
        if method == "ping":
            self._spawn(self._reply(ask_id, b'{"result":{}}'))
        elif asked is not None:
            asked.emit(Ask(ask_id, method, bytes(message.params or b"{}")))
        else:
            self._spawn(self._reply(ask_id, _NO_ROOTS if method == "roots/list" else _NOT_HERE))

    def _notification(self, message: jsonrpc.Message, raw: bytes) -> None:
        method = message.method or ""
        if method == "notifications/progress":
            fields = jsonrpc.members(message.params) if message.params else {}
            exchange = self._open.get(bytes(fields.get("progressToken", b"")))
        else:
            exchange = self._latest() if method in _FOR_A_CALL else None
        if exchange is not None:
            exchange.emit(Notice(method, raw))
        elif self.on_notice is not None and method not in _FOR_A_CALL:
            self.on_notice(method, bytes(message.params or b"{}"))

    def _latest(self) -> "DuplexExchange | None":
        return next(reversed(self._open.values()), None)

    async def _reply(self, ask_id: bytes, reply: bytes) -> None:
        fields: dict[str, bytes | msgspec.Raw] = {"jsonrpc": b'"2.0"', "id": ask_id}
        fields.update(jsonrpc.members(reply))
        try:
            await self._channel.send(jsonrpc.joined(fields))
        except Refused:
            return  # the reader notices that the channel is gone

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class DuplexExchange(Inbox):
    """One request over a channel."""

    def __init__(self, conversation: DuplexConversation, own_id: bytes, sink: Sink | None) -> None:
        super().__init__(conversation.era, sink)
        self.own_id = own_id
        self._conversation = conversation

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a question of the upstream."""
        fields: dict[str, bytes | msgspec.Raw] = {"jsonrpc": b'"2.0"', "id": ask_id}
        fields.update(jsonrpc.members(reply))
        await self._conversation.tell(jsonrpc.joined(fields))

    async def cancel(self) -> None:
        """Tell the upstream to stop (both eras, on a channel: 2026-07-28 /basic/patterns/cancellation)."""
        if self.over:
            return
        params = b'{"requestId":%b}' % self.own_id
        with contextlib.suppress(Refused):  # the upstream may be gone; then there is nothing left to cancel
            await self._conversation.tell(jsonrpc.notification("notifications/cancelled", params))
        await self.aclose()

    async def aclose(self) -> None:
        """Hear nothing more."""
        self.over = True
        self._conversation.forget(self.own_id)
