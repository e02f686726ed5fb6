"""Reads one HTTP answer to a JSON-RPC request: a JSON body or an event stream, in any chunking. Sans-I/O.

Small messages are parsed whole; a result over 256 KB is handed on in pieces. Fail closed: a wrong id, a wrong media
type or anything that is no JSON-RPC message raises `Refused("upstream_invalid")`.
"""

from collections.abc import Callable

from callgate.errors import Refused
from callgate.upstreams.exchange import Answered, Ended, Event, Piece
from callgate.upstreams.results import ResultStream
from callgate.wire import jsonrpc
from callgate.wire.sse import SseEvent, SseParser

STREAM_FROM = 256 * 1024
MAX_DEPTH = 512
OnMessage = Callable[[jsonrpc.Message, bytes], None]  # every message but the answer: parsed, and raw


class MessageReader:
    """Tells the answer from other messages; the answer's id must be ours."""

    def __init__(self, own_id: bytes, emit: Callable[[Event], None], other: OnMessage) -> None:
        self._own_id = own_id
        self._emit = emit
        self._other = other

    def message(self, raw: bytes) -> None:
        """One whole message."""
        try:
            message = jsonrpc.parse(raw, MAX_DEPTH)
        except Refused:
            raise Refused("upstream_invalid", "The server sent something that is no JSON-RPC message.") from None
        if not message.is_response:
            self._other(message, raw)
            return
        if bytes(message.id) != self._own_id:
            raise Refused("upstream_invalid", "The server answered another request than the one that was asked.")
        kind, value = ("result", message.result) if message.result else ("error", message.error)
        self._emit(Answered(kind, bytes(value)))


class JsonBody:
    """`application/json`: one message."""

    def __init__(self, own_id: bytes, emit: Callable[[Event], None], reader: MessageReader) -> None:
        self._emit = emit
        self._reader = reader
        self._chunks: list[bytes] = []
        self._size = 0
        self._stream: ResultStream | None = ResultStream(own_id)
        self._streaming = False

    def feed(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._streaming and self._stream is not None:
            self._piece(self._stream.feed(data))
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > STREAM_FROM and self._stream is not None:
            whole = b"".join(self._chunks)
            if self._stream.begin(whole):
                self._streaming = True
                self._chunks.clear()
                self._piece(self._stream.feed(b""))
            else:
                self._stream = None
                self._chunks = [whole]

    def _piece(self, data: bytes) -> None:
        if data:
            self._emit(Piece(data))

    def end(self) -> None:
        """The body is complete."""
        if self._streaming and self._stream is not None:
            self._piece(self._stream.finish())
            self._emit(Ended())
        else:
            self._reader.message(b"".join(self._chunks))


class EventStream:
    """`text/event-stream`: messages, the last of which is the answer. Remembers where to go on after a break."""

    def __init__(self, own_id: bytes, emit: Callable[[Event], None], reader: MessageReader, cap: int) -> None:
        self._own_id = own_id
        self._emit = emit
        self._reader = reader
        self._parser = SseParser(cap)
        self._large: JsonBody | None = None
        self._line = b""
        self.last_id: str | None = None
        self.retry_ms: int | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes of the stream."""
        if self._large is not None:
            self._feed_large(data)
            return
        for event in self._parser.feed(data):
            self._event(event)
        open_line = self._parser.open_line()
        if len(open_line) > STREAM_FROM and open_line.startswith(b"data:") and not self._parser.has_data:
            self._parser.drop_open_line()
            self._large = JsonBody(self._own_id, self._emit, self._reader)
            self._feed_large(open_line[5:].removeprefix(b" "))

    def _feed_large(self, data: bytes) -> None:
        """A data line too long to hold: its bytes go to the body until the line ends."""
        body = self._large
        if body is None:
            return
        end = min((at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0), default=-1)
        if end < 0:
            body.feed(data)
            return
        body.feed(data[:end])
        self._large = None
        body.end()
        self.feed(data[end:])

    def _event(self, event: SseEvent) -> None:
        if event.id is not None:
            self.last_id = event.id
        if event.retry is not None:
            self.retry_ms = event.retry
        if event.event == "message" and event.data:
            self._reader.message(event.data)
