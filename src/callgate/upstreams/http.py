"""Streamable HTTP towards one upstream, in both eras: heads, bodies, and the conversation with its session.

Source: 2025-11-25 and 2026-07-28, streamable HTTP. Fail closed: nothing of the client's request travels but `params`;
a session that the upstream has forgotten is opened anew for the next call.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable

from callgate.errors import Refused
from callgate.net.exchange import Limits, Ticket
from callgate.net.pool import Pool
from callgate.net.request import build_head
from callgate.upstreams.conversation import Conversation, answer_body
from callgate.upstreams.exchange import Sent, Sink
from callgate.upstreams.hearing import Hearing, Stream
from callgate.upstreams.http_exchange import HttpExchange
from callgate.upstreams.place import Place, posted
from callgate.wire import eras, headers, jsonrpc

_MAX_HEADS = 4096
_GOODBYE_SECONDS = 2.0


class HttpConversation(Conversation):
    """One upstream for one peer. A handshake-era one has a session; a modern one is only facts."""

    def __init__(self, pool: Pool, place: Place, era: str, version: str, capabilities: bytes) -> None:
        super().__init__(era, version, capabilities)
        self.pool = pool
        self.place = place
        self.session: str | None = None
        self.reopen: Callable[[], Awaitable[HttpConversation]] | None = None
        self.doubt: Callable[[], object] | None = None  # called when a modern upstream does not answer as one
        self._heads: dict[tuple[str, str | None], bytes] = {}
        self._envelope = b""
        self._hearing: Hearing | None = None
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, sent: Sent, sink: Sink | None = None) -> HttpExchange:
        """Send one request now."""
        exchange = HttpExchange(self, sent, sink)
        exchange.send()
        return exchange

    def carry(self, credential: tuple[str, str] | None) -> None:
        """Use this credential from here on: the value of the same account changes in time."""
        if credential != self.place.credential:
            self.place = dataclasses.replace(self.place, credential=credential)
            self._heads.clear()

    # -- heads and bodies -----------------------------------------------------------------------------------------

    def post_head(self, method: str, name: str | None, size: int, more: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The head of a POST. Heads repeat from call to call, so all but the length is kept."""
        key = (method, name)
        kept = self._heads.get(key) if not more else None
        if kept is None:
            whole = build_head("POST", self.place.target, [*self._fields(method, name), *more], 0)
            kept, _, _ = whole.rpartition(b"Content-Length: 0\r\n")
            if more or (self.era == eras.LEGACY and not self.version):
                return kept + b"Content-Length: %d\r\n\r\n" % size
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[key] = kept
        return kept + b"Content-Length: %d\r\n\r\n" % size

    def _fields(self, method: str, name: str | None) -> list[tuple[str, str]]:
        fields = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
        if self.era == eras.MODERN:
            fields += [("MCP-Protocol-Version", self.version), ("Mcp-Method", method)]
            if name is not None and method in eras.NAME_MEMBERS:
                fields.append(("Mcp-Name", headers.encode_value(name)))
        return [*fields, *self._session_fields()]

    def get_head(self, last_id: str | None) -> bytes:
        """The head of the handshake era's GET stream."""
        fields = [("Accept", "text/event-stream"), *self._session_fields()]
        if last_id is not None:
            fields.append(("Last-Event-ID", last_id))
        return build_head("GET", self.place.target, fields, 0)

    def _session_fields(self) -> list[tuple[str, str]]:
        fields = self.place.fields
        if self.era == eras.LEGACY:
            if self.session is not None:
                fields.append(("Mcp-Session-Id", self.session))
            if self.version >= "2025-06-18":
                fields.append(("MCP-Protocol-Version", self.version))
        return fields

    def body(self, sent: Sent, own_id: bytes) -> bytes:
        """The whole message for a request. The usual case has the same addition each time."""
        usual = not sent.progress and sent.log_level is None
        if not usual or b'"_meta"' in sent.params or b"\\u" in sent.params:
            return super().body(sent, own_id)
        if self.era == eras.LEGACY:
            return jsonrpc.request(own_id, sent.method, sent.params)
        if not self._envelope:
            self._envelope = b'"_meta":' + jsonrpc.joined(self._meta(sent, own_id)) + b"}"
        inner = sent.params.rstrip()[:-1].rstrip()
        params = inner + (self._envelope if inner == b"{" else b"," + self._envelope)
        return jsonrpc.request(own_id, sent.method, params)

    # -- messages beside the requests -------------------------------------------------------------------------------

    async def tell(self, body: bytes, method: str = "") -> None:
        """POST a notification or a response. Raises `Refused` when it is not taken."""
        status, _ = await posted(self.pool, self.place, self.post_head(method, None, len(body)), body)
        if status >= 400:
            raise Refused("upstream_unavailable", f"The server answered a message with HTTP status {status}.")

    def _reply(self, ask_id: bytes, reply: bytes) -> None:
        self._spawn(self._replied(answer_body(ask_id, reply)))

    async def _replied(self, body: bytes) -> None:
        with contextlib.suppress(Refused):  # the server is gone; its calls notice by themselves
            await self.tell(body)

    async def hear(self) -> bool:
        """Open the GET stream of the handshake era, once."""
        if self.era == eras.MODERN or self.lost:
            return False
        if self._hearing is None:
            cap = self.place.limits.response_bytes
            self._hearing = Hearing(self._open_stream, self._heard, self.forgotten, cap)
        return await self._hearing.ready()

    def _open_stream(self, handler: Stream, last_id: str | None) -> Ticket:
        place = self.place
        limits = Limits(place.limits.connect, place.limits.first_byte, None, None, response_bytes=2**62)
        return self.pool.send(place.target, place.policy, self.get_head(last_id), b"", handler, limits)

    def _heard(self, message: jsonrpc.Message, raw: bytes) -> None:
        if message.is_request:
            self.router.question(message)
        elif message.is_notification:
            self.router.notification(message, raw)

    def forgotten(self) -> None:
        """The server does not know the session any more, or is another one than it was."""
        self.lost = True
        self._ended.set()
        if self.era == eras.MODERN and self.doubt is not None:
            self.doubt()

    def opened_anew(self) -> "Awaitable[HttpConversation] | None":
        """The conversation that takes this one's place, where somebody opens it."""
        return self.reopen() if self.reopen is not None else None

    async def until_lost(self) -> None:
        """Wait until the session is gone."""
        await self._ended.wait()

    async def close(self) -> None:
        """End the session: the stream, and by DELETE what the server keeps of it (it may refuse that)."""
        known = self.session is not None and not self.lost
        self.lost = True
        self._ended.set()
        if self._hearing is not None:
            await self._hearing.close()
        for task in tuple(self._tasks):
            task.cancel()
        if known:
            head = build_head("DELETE", self.place.target, self._session_fields(), 0)
            with contextlib.suppress(Refused, TimeoutError):  # the server drops it by itself some day
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await posted(self.pool, self.place, head, b"")

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
