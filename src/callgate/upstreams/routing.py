"""Where a message of a handshake-era server belongs when it names no request of ours. Sans-I/O.

Progress goes by its token, subscriptions by their id, log messages to the call in flight, changes to listeners.
A question goes to the one call that can have caused it: with several in flight it waits until one is left.
Fail closed: a question that no call, or no single call, can have caused is answered with an error.
"""

from collections.abc import Callable

from callgate.errors import Refused
from callgate.upstreams.exchange import Ask, Notice
from callgate.upstreams.inbox import NO_ROOTS, NOBODY_TO_ASK, Inbox
from callgate.wire import eras, jsonrpc

LISTEN = "subscriptions/listen"
PROGRESS = "notifications/progress"
LOG = "notifications/message"
UPDATED = "notifications/resources/updated"
OnNotice = Callable[[str, bytes], None]  # method, raw params
Reply = Callable[[bytes, bytes], None]  # raw id, raw object with `result` or `error`


class Router:
    """The exchanges of one conversation, and who listens to it."""

    def __init__(self, reply: Reply) -> None:
        self.calls: dict[bytes, Inbox] = {}  # in flight, in order of their start
        self.streams: dict[bytes, Inbox] = {}  # long-lived subscriptions
        self.listeners: set[OnNotice] = set()
        self.changed: OnNotice | None = None  # hears of changed lists besides the listeners
        self.asks = False  # the server has asked something that only one call can have caused
        self._held: list[Ask] = []
        self._reply = reply

    @property
    def busy(self) -> bool:
        """Whether calls are in flight."""
        return bool(self.calls)

    @property
    def followed(self) -> bool:
        """Whether somebody listens for as long as the conversation lasts."""
        return bool(self.listeners or self.streams)

    def add(self, method: str, exchange: Inbox) -> None:
        """An exchange is sent."""
        (self.streams if method == LISTEN else self.calls)[exchange.own_id] = exchange

    def over(self, own_id: bytes) -> None:
        """An exchange is over or given up."""
        self.streams.pop(own_id, None)
        if self.calls.pop(own_id, None) is not None and self._held:
            self._settle()

    def question(self, message: jsonrpc.Message) -> None:
        """A request of the server."""
        ask = Ask(bytes(message.id), message.method or "", bytes(message.params or b"{}"))
        if ask.method == "ping":
            self._reply(ask.id, b'{"result":{}}')
        elif not self.calls:
            self._reply(ask.id, NO_ROOTS if ask.method == "roots/list" else NOBODY_TO_ASK)
        elif ask.method == "roots/list":  # the same for every call
            next(reversed(self.calls.values())).emit(ask)
        else:
            self.asks = True
            self._held.append(ask)
            self._settle()

    def _settle(self) -> None:
        """Deliver what waits once it is clear to whom; refuse it where every call in flight may be blocked by it."""
        if len(self.calls) == 1:
            call = next(iter(self.calls.values()))
            held, self._held = self._held, []
            for ask in held:
                call.emit(ask)
        elif len(self._held) >= len(self.calls):
            held, self._held = self._held, []
            for ask in held:
                self._reply(ask.id, NOBODY_TO_ASK)

    def notification(self, message: jsonrpc.Message, raw: bytes) -> None:
        """A notification of the server."""
        method, params = message.method or "", bytes(message.params or b"{}")
        if method == PROGRESS:
            call = self.calls.get(member(params, "progressToken"))
            if call is not None:
                call.emit(Notice(method, raw))
        elif method == LOG:
            self._log(raw)
        elif (stream := self.streams.get(_subscription(params))) is not None:
            stream.emit(Notice(method, raw))
        else:
            self.tell(method, params)

    def tell(self, method: str, params: bytes) -> None:
        """Tell the listeners."""
        for listener in tuple(self.listeners):
            listener(method, params)
        if self.changed is not None and method.endswith("/list_changed"):
            self.changed(method, params)

    def _log(self, raw: bytes) -> None:
        """In the modern era one channel serves many people: a message that may be about another's call is dropped."""
        calls = list(self.calls.values())
        if calls and (len(calls) == 1 or calls[-1].era == eras.LEGACY):
            calls[-1].emit(Notice(LOG, raw))


def member(raw: bytes, name: str) -> bytes:
    """A member of what should be an object; nothing where it is none."""
    try:
        return bytes(jsonrpc.members(raw).get(name, b""))
    except Refused:
        return b""


def _subscription(params: bytes) -> bytes:
    return member(member(params, "_meta"), eras.SUBSCRIPTION_KEY) if b'"_meta"' in params else b""


def own_progress(params: bytes, own_id: bytes) -> bool:
    """Whether progress belongs to this request."""
    return member(params, "progressToken") == own_id
