"""Going on with a call whose live exchange another replica holds.

A modern client's retry may land anywhere, while the handshake-era upstream that asked is in the middle of its answer on
one replica. The answer travels there by mail, and the exchange's further events travel back, sealed both ways.
On failure: an exchange that is gone, or a replica that died, ends in `Failed`; nothing is sent to the upstream twice.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from callgate import clock
from callgate.call.model import Waiting
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.upstreams.exchange import Answered, Ask, Ended, Event, Exchange, Failed, Notice, Piece
from callgate.upstreams.inbox import Inbox
from callgate.wire import eras

_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in (Notice, Ask, Answered, Piece, Ended, Failed)}
_pack = msgspec.msgpack.Encoder().encode


class Keeper(Protocol):
    """The registry of suspended exchanges (`inflight.InFlight`)."""

    def take(self, key: str, person: tuple[str, str]) -> Exchange: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What the holder is asked to do. `what`: resume, answer or cancel; `stream` names the events that come back."""

    what: str
    stream: str
    sender: str
    exchange: str = ""
    tenant: str = ""
    person: str = ""
    ask_id: bytes = b""
    reply: bytes = b""


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

    async def answer(self, ask_id: bytes, reply: bytes) -> None:
        """Answer a further question of the upstream."""
        await self._remote.order(self.holder, Order("answer", self.stream, "", ask_id=ask_id, reply=reply))

    async def cancel(self) -> None:
        """Have the holder tell the upstream to stop."""
        if not self.over:
            await self._remote.order(self.holder, Order("cancel", self.stream, ""))
        await self.aclose()

    async def aclose(self) -> None:
        """Hear nothing more."""
        self.over = True
        self._remote.forget(self.stream)


class Remote:
    """Both ends of such exchanges on one replica. `take` gives the live exchange that is suspended here."""

    def __init__(self, replica: str, mail: Mail, keeper: Keeper) -> None:
        self._replica = replica
        self._mail = mail
        self._keeper = keeper
        self._hearing: dict[str, RemoteExchange] = {}
        self._lent: dict[str, Exchange] = {}
        mail.on("exchange-order", self._on_order)
        mail.on("exchange-event", self._on_event)

    async def resume(self, waiting: Waiting, reply: bytes) -> RemoteExchange:
        """Have the holding replica go on with an exchange; its events come here."""
        exchange = RemoteExchange(self, waiting.replica or "", clock.random_urlsafe(12))
        self._hearing[exchange.stream] = exchange
        wanted = Order(
            "resume", exchange.stream, self._replica, waiting.exchange or "", waiting.tenant, waiting.person,
            waiting.ask_id.encode(), reply,
        )  # fmt: skip
        if not await self.order(exchange.holder, wanted):
            self.forget(exchange.stream)
            raise Refused("upstream_broke_off", "The replica that held this call has gone; start it again.")
        return exchange

    async def order(self, holder: str, order: Order) -> bool:
        """Send an order; False when the replica is gone."""
        return await self._mail.send(holder, "exchange-order", _pack(order))

    def forget(self, stream: str) -> None:
        """Events of this stream are no longer wanted."""
        self._hearing.pop(stream, None)

    async def _on_event(self, body: bytes) -> None:
        said = msgspec.msgpack.decode(body, type=Said)
        exchange = self._hearing.get(said.stream)
        kind = _TYPES.get(said.kind)
        if exchange is not None and kind is not None:
            event: Event = msgspec.msgpack.decode(said.event, type=kind)
            exchange.emit(event)

    async def _on_order(self, body: bytes) -> None:
        order = msgspec.msgpack.decode(body, type=Order)
        if order.what == "resume":
            self._keeper.spawn(self._lend(order))
            return
        exchange = self._lent.get(order.stream)
        if exchange is None:
            return
        if order.what == "answer":
            await exchange.answer(order.ask_id, order.reply)
        else:
            await exchange.cancel()

    async def _lend(self, order: Order) -> None:
        """Answer the question, then send every further event to the replica that asked."""
        try:
            exchange = self._keeper.take(order.exchange, (order.tenant, order.person))
        except Refused as refused:
            await self._say(order, Failed("upstream_broke_off", refused.sentence, True))
            return
        self._lent[order.stream] = exchange
        try:
            await exchange.answer(order.ask_id, order.reply)
            async for event in exchange:
                await self._say(order, event)
        except Refused as refused:
            await self._say(order, Failed(refused.code, refused.detail, True))
        finally:
            self._lent.pop(order.stream, None)
            await exchange.aclose()

    async def _say(self, order: Order, event: Event) -> None:
        said = Said(order.stream, type(event).__name__, msgspec.Raw(_pack(event)))
        await self._mail.send(order.sender, "exchange-event", _pack(said))
