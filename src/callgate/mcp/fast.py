"""The fast path: a common `tools/call` driven through the same machine, callback to callback.

It takes a request only when what it needs is at hand: a known token, a trusted tool, an HTTP upstream that was called
before. The credential is opened when the request is sent, if that takes no wait. Whatever is slow or odd after that (a
stream, a question, a large result, a credential to be renewed) goes on in the ordinary driver, with the same machine
and the same exchange.
Fail closed: what it does not take is judged by the ordinary edge; it never answers a request that it did not admit.
"""

from collections.abc import MutableMapping
from typing import Any, ClassVar

from callgate.call import model as m
from callgate.call import scopes
from callgate.call.authorize import authorize_at_hand
from callgate.call.forward import sent
from callgate.call.identify import bearer, belongs
from callgate.call.pipeline import Call
from callgate.errors import Refused
from callgate.mcp import answers, incoming
from callgate.mcp.context import MCPContext
from callgate.mcp.door import Door, Head
from callgate.mcp.drive import Drive
from callgate.mcp.governed import governed
from callgate.mcp.inflight import CancelKey, cancel_key
from callgate.mcp.recording import Recording
from callgate.mcp.reply import BrokenOff, Reply
from callgate.mcp.sessions import Sessions
from callgate.upstreams.exchange import Exchange, Peer
from callgate.web import hosts, paths
from callgate.web.paths import Endpoint
from callgate.wire import eras, jsonrpc

_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n"
_OTHER = b"HTTP/1.1 %d -\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n"


_INTENT, _OUTCOME = m.IntentDurable(), m.OutcomeDurable()


class Lane:
    """Decides which requests the fast path takes."""

    def __init__(self, context: MCPContext, sessions: Sessions) -> None:
        self.context = context
        self._sessions = sessions
        self._endpoints: dict[tuple[str, str], Endpoint | None] = {}

    def take(self, door: Door, head: Head, body: bytes) -> bool:
        """Start a fast call, or say no; a request that would be refused is left to the ordinary edge."""
        try:
            return self._take(door, head, body)
        except Refused:
            return False

    def _take(self, door: Door, head: Head, body: bytes) -> bool:
        given = head.headers
        endpoint = self._endpoint(head.path, given.get("host", ""))
        if endpoint is None or "authorization" not in given or "origin" in given:
            return False
        caller = self.context.identities.peek(bearer(given["authorization"]))
        if caller is None or scopes.reads_only(caller):
            return False
        belongs(caller, endpoint.tenant)
        posted = incoming.read_post(body, given, caller, self._sessions, self.context.settings)
        if posted.method != "tools/call" or not posted.id or "requestState" in posted.params:
            return False
        snapshot = self.context.fleet.view(caller.tenant)
        level = self._sessions.level(posted.session)
        request = governed(
            posted, caller, endpoint, self.context.settings.durability, level, _address(door, given, self.context)
        )
        call = Call(request, snapshot, self.context.place)
        if call.heavy():
            return False
        effects = call.start()  # nothing has happened yet: a call that is not for this path is begun again elsewhere
        if not self._suits(call.target):
            return False
        self.context.slots.take(caller)
        FastCall(self.context, door, call, posted).begin(effects)
        return True

    def _suits(self, target: m.Target | None) -> bool:
        """Whether a call of this target needs nothing but a conversation, which is warm more often than not."""
        if target is None or target.upstream.kind != "http" or target.home:
            return False
        if target.definition is None or b"x-mcp-header" in target.definition.offered:
            return False
        return self.context.upstreams.known(target.upstream)

    def _endpoint(self, path: str, host: str) -> Endpoint | None:
        """Paths and hosts repeat: judged once each. Bounded, since clients choose them."""
        key = (path, host)
        if key in self._endpoints:
            return self._endpoints[key]
        if len(self._endpoints) > 1000:
            self._endpoints.clear()
        hosts.check_host(host, self.context.settings)
        endpoint = paths.parse(path, host, self.context.settings)
        self._endpoints[key] = endpoint
        return endpoint


def _address(door: Door, given: dict[str, str], context: MCPContext) -> str:
    """Where the request comes from."""
    client: tuple[str, int] | None = door.client
    peer = client[0] if client else ""
    forwarded = given.get("x-forwarded-for")
    return peer if forwarded is None else hosts.address(peer, forwarded, context.settings.proxies)


class FastCall:
    """One call on the fast path."""

    __slots__ = ("_call", "_context", "_door", "_drive", "_exchange", "_key", "_peer", "_posted", "_recording")

    def __init__(self, context: MCPContext, door: Door, call: Call, posted: incoming.Posted) -> None:
        self._context = context
        self._door = door
        self._call = call
        self._posted = posted
        self._recording = Recording(context.recorder, context.deadlines)
        self._peer: Peer | None = None
        self._exchange: Exchange | None = None
        self._drive: Drive | None = None
        self._key: CancelKey | None = None

    def begin(self, effects: m.Effects) -> None:
        """Do the first effects of the machine."""
        if self._posted.era == eras.MODERN:  # closing the connection is the cancellation
            self._door.on_lost = self._cancelled
        else:
            self._door.on_lost = self._peer_lost
            self._key = cancel_key(self._call.request.caller, self._call.request.session, self._posted.id)
            self._context.inflight.register(self._key, self._cancelled)
        self._context.inflight.begin_call(self._call, self._cancelled)
        self._apply(effects)

    def _peer_lost(self) -> None:
        self.post(m.PeerLost())

    def _cancelled(self) -> None:
        self.post(m.Cancelled())

    def post(self, event: object) -> None:
        """An event for the machine; once the ordinary driver has taken over, it is the driver's."""
        if self._drive is None and self._call.heavy(event):
            self._hand_over(())
        if self._drive is not None:
            self._drive.post(event)
        else:
            self._apply(self._call.on(event))

    def _apply(self, effects: m.Effects) -> None:
        for number, effect in enumerate(effects):
            done = self._FAST.get(type(effect))
            if done is None:
                self._hand_over(effects[number:])
                return
            done(self, effect)

    def _record_intent(self, effect: m.RecordIntent) -> None:
        self._recording.write(effect.event, _INTENT, self.post)

    def _record_outcome(self, effect: m.RecordOutcome) -> None:
        self._recording.write(effect.event, _OUTCOME, self.post)

    def _forward(self, effect: m.Forward) -> None:
        """Open the credential and send, where neither takes a wait; else it is the ordinary driver's."""
        request, target = self._call.request, effect.target
        peer = None if effect.challenge else authorize_at_hand(self._context.credentials, request, target)
        conversation = None if peer is None else self._context.upstreams.warm(target.upstream, peer)
        sending = sent(request, target)
        if peer is None or conversation is None or conversation.needs_level(sending.log_level):
            self._hand_over((effect,))
            return
        self._peer = peer
        conversation.carry(peer.credential)
        self._exchange = conversation.start(sending, self.post)

    def _cancel(self, _: m.CancelUpstream) -> None:
        if self._exchange is not None:
            self._context.inflight.spawn(self._exchange.cancel())

    def _doubt(self, effect: m.Doubt) -> None:
        self._context.upstreams.suspect(effect.upstream)

    def _finish(self, effect: m.Finish) -> None:
        request, id_ = self._call.request, self._posted.id
        if effect.kind == "result":
            value = eras.result_for(request.era, effect.raw)
            self._end(200, jsonrpc.result(id_, value))
            return
        value = answers.relayed_error(effect.raw, request.era)
        self._end(answers.relayed_status(answers.code_of(value), request.era), jsonrpc.error(id_, value))

    def _refuse(self, effect: m.Refuse) -> None:
        self._end(*answers.refusal(self._posted.id, self._posted.method, effect.refused, self._posted.era))

    def _end(self, status: int, body: bytes) -> None:
        self._close()
        head = _OK % len(body) if status == 200 else _OTHER % (status, len(body))
        self._door.answer(head + body)

    def _close(self) -> None:
        self._recording.close()
        if self._exchange is not None and self._drive is None:
            self._exchange.sink = None  # a cycle would wait for the garbage collector
            self._exchange = None
        if self._key is not None:
            self._context.inflight.unregister(self._key, self._cancelled)
        self._context.inflight.end_call(self._call)
        self._context.slots.give_back(self._call.request.caller)

    # -- what is not fast --------------------------------------------------------------------------------------------

    def _hand_over(self, effects: m.Effects) -> None:
        """Go on in the ordinary driver: the same machine, the same exchange, the same connection."""
        reply = Reply(
            _RawSend(self._door), self._posted.id, self._posted.method, self._posted.era, self._posted.may_stream
        )
        self._drive = Drive(self._context, self._call, reply)
        self._drive.adopt(self._exchange, self._peer, self._recording)
        lost = m.Cancelled() if self._posted.era == eras.MODERN else m.PeerLost()

        def gone() -> None:
            reply.gone = True
            self.post(lost)

        self._door.on_lost = gone
        self._context.inflight.spawn(self._go_on(self._drive, effects))

    async def _go_on(self, drive: Drive, effects: m.Effects) -> None:
        try:
            await drive.take_over(effects)
        except BrokenOff:
            self._door.cut()
        finally:
            self._close()
            self._door.release()

    _FAST: ClassVar[dict[type, Any]] = {
        m.RecordIntent: _record_intent,
        m.RecordOutcome: _record_outcome,
        m.Forward: _forward,
        m.CancelUpstream: _cancel,
        m.Doubt: _doubt,
        m.Finish: _finish,
        m.Refuse: _refuse,
    }


class _RawSend:
    """ASGI's `send` on a raw connection, for a fast call that turned out slow: chunked HTTP/1.1."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._chunked = True

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if self._door.transport.is_closing():
            raise ConnectionResetError
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
        else:
            self._body(message.get("body", b""), bool(message.get("more_body", False)))
            await self._door.flow.drain()

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._chunked = all(name != b"content-length" for name, _ in headers)
        lines = [b"HTTP/1.1 %d -\r\n" % status, *(b"%b: %b\r\n" % pair for pair in headers)]
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        self._door.transport.write(b"".join(lines) + b"\r\n")

    def _body(self, data: bytes, more: bool) -> None:
        if data:
            self._door.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if not more and self._chunked:
            self._door.transport.write(b"0\r\n\r\n")
