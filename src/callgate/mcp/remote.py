"""Exchanges in conversations that another replica holds: going on with a call, or asking about a task.

A modern client's retry may land anywhere, while the handshake-era upstream that asked is in the middle of its answer on
one replica. The answer travels there by mail, and the exchange's further events travel back, sealed both ways.
On failure: an exchange that is gone, or a replica that died, ends in `Failed`; nothing is sent to the upstream twice.
What waits for a slow client here is bounded: more than that ends the exchange.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from callgate import clock
from callgate.call.model import Waiting
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.upstreams.exchange import Answered, Ask, Ended, Event, Exchange, Failed, Notice, Piece, Sent
from callgate.upstreams.inbox import Inbox
from callgate.wire import eras

WATCH_SECONDS = 5.0  # how often a replica that holds an exchange is looked after
MAX_WAITING = 16 * 1024 * 1024  # bytes of events from another replica that nobody has taken yet
GONE = "The replica that held this call has gone; start it again."
_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in (Notice, Ask, Answered, Piece, Ended, Failed)}
_pack = msgspec.msgpack.Encoder().encode


class Begin(msgspec.Struct, frozen=True, array_like=True):
    """A request for the conversation that a replica holds with an upstream: who asks, and what is sent."""

    upstream: str
    session: str | None
    capabilities: bytes
    sent: Sent


class Keeper(Protocol):
    """The registry of suspended exchanges (`inflight.InFlight`)."""

    def take(self, key: str, person: tuple[str, str]) -> Exchange: ...

    async def begin(self, tenant: str, person: str, wanted: Begin) -> Exchange: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What the holder is asked to do. `what`: begin, resume, answer, cancel or close; `stream` names the events that
    come back."""

    what: str
    stream: str
    sender: str
    exchange: str = ""
    tenant: str = ""
    person: str = ""
    ask_id: bytes = b""
    reply: bytes = b""
    begin: Begin | None = None


class Said(msgspec.Struct, frozen=True, array_like=True):
    """One event on its way back."""

    stream: str
    kind: str
    event: msgspec.Raw


class RemoteExchange(Inbox):
    """An exchange that another replica holds."""

    def __init__(self, remote: "Remote", holder: str, stream: str) -> None:
        super().__init__(eras.LEGACY, b"")
        self.holder = holder
        self.stream = stream
        self._remote = remote

    def emit(self, event: Event) -> None:
        """Deliver one event, unless too much waits already."""
        if self._waiting > MAX_WAITING and not isinstance(event, Failed):
            self._remote.spawn(self._order("close"))
            event = Failed("upstream_too_large", "The answer came faster than it was read, from another replica.")
        super().emit(event)

    def _finished(self) -> None:
        self._remote.forget(self.stream)

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a further question of the upstream."""
        order = Order("answer", self.stream, "", ask_id=ask_id, reply=reply)
        try:
            delivered = await self._remote.order(self.holder, order)
        except Refused:
            delivered = False
        if not delivered:
            self.emit(Failed("upstream_broke_off", GONE))

    async def cancel(self) -> None:
        """Have the holder tell the upstream to stop."""
        await self._leave("cancel")

    async def aclose(self) -> None:
        """Have the holder give the exchange up."""
        await self._leave("close")

    async def _leave(self, how: str) -> None:
        if not self.over:
            self.over = True
            self._finished()
            await self._order(how)

    async def _order(self, what: str) -> None:
        with contextlib.suppress(Refused):  # the holder notices when its events are no longer taken
            await self._remote.order(self.holder, Order(what, self.stream, ""))


class Remote:
    """Both ends of such exchanges on one replica. `take` gives the live exchange that is suspended here."""

    def __init__(self, replica: str, mail: Mail, keeper: Keeper) -> None:
        self._replica = replica
        self._mail = mail
        self._keeper = keeper
        self._hearing: dict[str, RemoteExchange] = {}
        self._lent: dict[str, tuple[Exchange, asyncio.Task[Any] | None]] = {}
        self._watching = False
        mail.on("exchange-order", self._on_order)
        mail.on("exchange-event", self._on_event)

    async def resume(self, waiting: Waiting, reply: bytes) -> RemoteExchange:
        """Have the holding replica go on with an exchange; its events come here."""
        wanted = Order(
            "resume", clock.random_urlsafe(12), self._replica, waiting.exchange or "", waiting.tenant, waiting.person,
            waiting.ask_id.encode(), reply,
        )  # fmt: skip
        exchange = await self._hear(waiting.replica or "", wanted)
        if exchange is None:
            raise Refused("upstream_broke_off", GONE)
        return exchange

    async def begin(self, holder: str, person: tuple[str, str], wanted: Begin) -> RemoteExchange | None:
        """Have another replica start a request in its conversation; its events come here. None when it is gone."""
        stream = clock.random_urlsafe(12)
        return await self._hear(holder, Order("begin", stream, self._replica, "", *person, begin=wanted))

    async def _hear(self, holder: str, order: Order) -> RemoteExchange | None:
        exchange = RemoteExchange(self, holder, order.stream)
        self._hearing[exchange.stream] = exchange
        try:
            delivered = await self.order(holder, order)
        except Refused:
            self.forget(exchange.stream)
            raise
        if not delivered:
            self.forget(exchange.stream)
            return None
        if not self._watching:
            self._watching = True
            self.spawn(self._watch())
        return exchange

    async def order(self, holder: str, order: Order) -> bool:
        """Send an order; False when the replica is gone."""
        return await self._mail.send(holder, "exchange-order", _pack(order))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the requests."""
        self._keeper.spawn(work)

    def forget(self, stream: str) -> None:
        """Events of this stream are no longer wanted."""
        self._hearing.pop(stream, None)

    async def _watch(self) -> None:
        """End what replicas held that have died meanwhile."""
        while self._hearing:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                alive = await self._mail.alive()
            except Refused:
                continue  # nothing is known while the store is away
            for exchange in tuple(self._hearing.values()):
                if exchange.holder not in alive:
                    exchange.emit(Failed("upstream_broke_off", GONE))
        self._watching = False

    async def _on_event(self, body: bytes) -> None:
        said = msgspec.msgpack.decode(body, type=Said)
        exchange = self._hearing.get(said.stream)
        kind = _TYPES.get(said.kind)
        if exchange is not None and kind is not None:
            event: Event = msgspec.msgpack.decode(said.event, type=kind)
            exchange.emit(event)

    async def _on_order(self, body: bytes) -> None:
        order = msgspec.msgpack.decode(body, type=Order)
        lent = self._lent.get(order.stream)
        if order.what in ("begin", "resume"):
            self.spawn(self._lend(order))
        elif lent is not None:  # beside the mail: a slow upstream must not hold up other people's
            self.spawn(_done(order, *lent))

    async def _lend(self, order: Order) -> None:
        """Begin, or answer the question, then send every further event to the replica that asked."""
        try:
            exchange = await self._wanted(order)
        except Refused as refused:
            code = "upstream_broke_off" if order.begin is None else refused.code
            await self._say(order, Failed(code, refused.sentence))
            return
        self._lent[order.stream] = (exchange, asyncio.current_task())
        try:
            if order.begin is None:
                await exchange.answer(order.ask_id, order.reply)
            async for event in exchange:
                if not await self._say(order, event):
                    await exchange.cancel()
                    return
        finally:
            self._lent.pop(order.stream, None)
            await exchange.aclose()

    async def _wanted(self, order: Order) -> Exchange:
        if order.begin is not None:
            return await self._keeper.begin(order.tenant, order.person, order.begin)
        return self._keeper.take(order.exchange, (order.tenant, order.person))

    async def _say(self, order: Order, event: Event) -> bool:
        """Send one event; False when the replica that asked is gone, or cannot be told."""
        said = Said(order.stream, type(event).__name__, msgspec.Raw(_pack(event)))
        try:
            return await self._mail.send(order.sender, "exchange-event", _pack(said))
        except Refused:
            return False


async def _done(order: Order, exchange: Exchange, lending: asyncio.Task[Any] | None) -> None:
    if order.what == "answer":
        await exchange.answer(order.ask_id, order.reply)
        return
    if order.what == "cancel":
        await exchange.cancel()
    if lending is not None:
        lending.cancel()  # it gives the exchange up
