"""Long-lived listening to an upstream: changes of its lists, and updates of resources.

Modern: a `subscriptions/listen` stream. Handshake era: the GET stream of the session, or the channel itself.
On failure: it ends; whoever runs it comes back with back-off. An upstream that offers no such stream is simply not
heard, and the refresh interval remains the guarantee.
"""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from callgate.errors import CallgateError, Refused
from callgate.net.errors import EgressError
from callgate.net.exchange import Headers, Limits
from callgate.upstreams.duplex import DuplexConversation
from callgate.upstreams.exchange import Notice
from callgate.upstreams.http import HttpConversation, Sent, whole
from callgate.upstreams.opening import Conversation
from callgate.wire import eras, jsonrpc
from callgate.wire.sse import SseParser

OnNotice = Callable[[str, bytes], None]  # method, raw params
_LISTS = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
_MAX_EVENT = 1024 * 1024


class NothingToHear(CallgateError):
    """The upstream offers no stream of changes."""


async def listen(conversation: Conversation, uris: tuple[str, ...], tell: OnNotice) -> None:
    """Hear until the stream ends. With `uris` only updates of these, else changes of lists.

    Raises `Refused` when it breaks, `NothingToHear` when there is none.
    """
    if conversation.era == eras.MODERN:
        await _listen_modern(conversation, uris, tell)
        return
    for uri in uris:
        kind, _ = await whole(conversation.start(Sent("resources/subscribe", jsonrpc.encoded({"uri": uri}))))
        if kind == "error":
            raise NothingToHear
    if isinstance(conversation, DuplexConversation):
        conversation.on_notice = tell
        await conversation.ended.wait()
        raise Refused("upstream_broke_off")
    await _listen_get(conversation, tell)


async def _listen_modern(conversation: Conversation, uris: tuple[str, ...], tell: OnNotice) -> None:
    wanted: dict[str, object] = {"resourceSubscriptions": list(uris)} if uris else dict(_LISTS)
    exchange = conversation.start(Sent("subscriptions/listen", jsonrpc.encoded({"notifications": wanted})))
    try:
        async for event in exchange:
            if isinstance(event, Notice):
                message = msgspec.json.decode(event.raw, type=dict[str, msgspec.Raw])
                tell(event.method, bytes(message.get("params", b"{}")))
            else:
                kind = getattr(event, "kind", "")
                raise NothingToHear if kind == "error" else Refused("upstream_broke_off")
    finally:
        await exchange.aclose()


async def _listen_get(conversation: HttpConversation, tell: OnNotice) -> None:
    stream = _GetStream(conversation, tell)
    place = conversation.place
    limits = Limits(place.limits.connect, place.limits.first_byte, None, None, response_bytes=2**62)
    ticket = conversation.pool.send(place.target, place.policy, conversation.get_head(None), b"", stream, limits)
    try:
        await stream.over
    finally:
        ticket.abort()
        stream.close()


class _GetStream:
    """The handshake era's GET stream: notifications, and now and then a ping."""

    def __init__(self, conversation: HttpConversation, tell: OnNotice) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._conversation = conversation
        self._tell = tell
        self._parser = SseParser(_MAX_EVENT)
        self._tasks: set[asyncio.Task[None]] = set()

    def on_head(self, status: int, headers: Headers) -> None:
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if status != 200 or not kind.lower().startswith(b"text/event-stream"):
            if status in (400, 404):
                self._conversation.lost = True
                self._end(Refused("upstream_broke_off"))
            else:
                self._end(NothingToHear())

    def on_chunk(self, data: bytes) -> None:
        try:
            for event in self._parser.feed(data):
                if event.event == "message" and event.data:
                    self._message(jsonrpc.parse(event.data, 512))
        except Refused as refused:
            self._end(refused)

    def _message(self, message: jsonrpc.Message) -> None:
        if message.is_notification:
            self._tell(message.method or "", bytes(message.params or b"{}"))
        elif message.is_request:
            value = b'"result":{"roots":[]}' if message.method == "roots/list" else b'"result":{}'
            if message.method not in ("ping", "roots/list"):
                value = b'"error":{"code":-32601,"message":"This question belongs to no call."}'
            body = b'{"jsonrpc":"2.0","id":%b,%b}' % (bytes(message.id), value)
            task = asyncio.get_running_loop().create_task(self._reply(body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, body: bytes) -> None:
        with contextlib.suppress(Refused):  # the stream notices when the upstream is gone
            await self._conversation.tell(body, "")

    def on_end(self) -> None:
        self._end(Refused("upstream_broke_off"))

    def on_error(self, error: EgressError) -> None:
        self._end(Refused("upstream_broke_off", str(error)))

    def _end(self, why: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(why)

    def close(self) -> None:
        """Drop what is still to be said."""
        for task in tuple(self._tasks):
            task.cancel()
        if self.over.done() and not self.over.cancelled():
            self.over.exception()
