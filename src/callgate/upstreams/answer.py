"""Reads one HTTP answer to a JSON-RPC request: a JSON body or an event stream, in any chunking. Sans-I/O.

Small messages are parsed whole; a result over 256 KB is handed on in pieces. Fail closed: a wrong id, a body that
ends without an answer or anything that is no JSON-RPC message raises `Refused("upstream_invalid")`.
"""

from collections.abc import Callable

from callgate.errors import Refused
from callgate.upstreams.exchange import Answered, Ended, Event, Piece
from callgate.upstreams.results import ResultStream
from callgate.wire import jsonrpc
from callgate.wire.sse import SseEvent, SseParser

STREAM_FROM = 256 * 1024
MAX_DEPTH = 512
_MAX_FIELD = 64 * 1024  # a line between the data lines of one large event
OnMessage = Callable[[jsonrpc.Message, bytes], None]  # every message but the answer: parsed, and raw


class MessageReader:
    """Tells the answer from other messages; the answer's id must be ours."""

    def __init__(self, own_id: bytes, emit: Callable[[Event], None], other: OnMessage) -> None:
        self.own_id = own_id
        self.emit = emit
        self.answered = False
        self._other = other

    def message(self, raw: bytes) -> None:
        """One whole message."""
        try:
            message = jsonrpc.parse(raw, MAX_DEPTH, lenient=True)
        except Refused:
            raise Refused("upstream_invalid", "The server sent something that is no JSON-RPC message.") from None
        if not message.is_response:
            self._other(message, raw)
            return
        if bytes(message.id) != self.own_id:
            raise Refused("upstream_invalid", "The server answered another request than the one that was asked.")
        kind, value = ("result", message.result) if message.result else ("error", message.error)
        self.answered = True
        self.emit(Answered(kind, bytes(value)))


class JsonBody:
    """One message, as a whole body or as the data of one event."""

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self._chunks: list[bytes] = []
        self._size = 0
        self._undecided = True
        self._stream: ResultStream | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if self._stream is not None:
            self._piece(self._stream, self._stream.feed(data))
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._undecided and self._size > STREAM_FROM:
            self._undecided = False
            self._try_to_stream()

    def _try_to_stream(self) -> None:
        whole = b"".join(self._chunks)
        stream = ResultStream(self._reader.own_id)
        if stream.begin(whole):
            self._stream = stream
            self._chunks = []
            self._piece(stream, stream.feed(b""))
        else:
            self._chunks = [whole]

    def _piece(self, stream: ResultStream, data: bytes) -> None:
        if data:
            self._reader.emit(Piece(data, stream.special))

    def end(self) -> None:
        """The message is complete."""
        if self._stream is None:
            self._reader.message(b"".join(self._chunks))
            return
        self._piece(self._stream, self._stream.finish())
        self._reader.answered = True
        self._reader.emit(Ended())

    def finish(self) -> None:
        """The HTTP body is complete: it must have been the answer."""
        self.end()
        if not self._reader.answered:
            raise Refused("upstream_invalid", "The server's body holds no answer to the request.")


class EventStream:
    """`text/event-stream`: messages, the last of which is the answer. Remembers where to go on after a break."""

    def __init__(self, reader: MessageReader, cap: int) -> None:
        self._reader = reader
        self._parser = SseParser(cap)
        self._large: _LargeEvent | None = None
        self.last_id: str | None = None
        self.retry_ms: int | None = None

    def restarted(self, cap: int) -> None:
        """A new connection carries the stream on; what was half read is lost."""
        self._parser = SseParser(cap)
        self._large = None

    def feed(self, data: bytes) -> None:
        """The next bytes of the stream."""
        while data:
            if self._large is not None:
                data = self._large.feed(data)
                if not self._large.over:
                    return
                self._large = None
            for event in self._parser.feed(data):
                self._event(event)
            data = b""
            if self._parser.open_bytes > STREAM_FROM and not self._parser.has_data:
                data = self._begin_large()

    def _begin_large(self) -> bytes:
        line = self._parser.open_line()
        if not line.startswith(b"data:"):
            return b""
        self._parser.drop_open_line()
        self._large = _LargeEvent(JsonBody(self._reader), self._field)
        return line[5:].removeprefix(b" ")

    def _field(self, line: bytes) -> None:
        """A line of the large event that is not data: an id, perhaps."""
        for event in self._parser.feed(line + b"\n"):
            self._event(event)

    def _event(self, event: SseEvent) -> None:
        if event.id is not None:
            self.last_id = event.id
        if event.retry is not None:
            self.retry_ms = event.retry
        if event.event == "message" and event.data:
            self._reader.message(event.data)


class _LargeEvent:
    """An event whose data is too long to hold: its bytes go to the body until a blank line ends it."""

    def __init__(self, body: JsonBody, field: Callable[[bytes], None]) -> None:
        self.over = False
        self._body = body
        self._field = field
        self._in_data = True
        self._line = b""  # the line being read, unless it is data
        self._skip_lf = False

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the stream; what is left when the event is over."""
        while data and not self.over:
            if self._skip_lf:
                self._skip_lf = False
                data = data.removeprefix(b"\n")
                continue
            data = self._data(data) if self._in_data else self._between(data)
        return data

    def _data(self, data: bytes) -> bytes:
        end = _line_end(data)
        if end < 0:
            self._body.feed(data)
            return b""
        self._body.feed(data[:end])
        self._in_data = False
        return self._after(data, end)

    def _between(self, data: bytes) -> bytes:
        end = _line_end(data)
        piece = data if end < 0 else data[:end]
        self._line += piece
        if self._line.startswith(b"data:"):
            self._in_data = True
            line, self._line = self._line, b""
            self._body.feed(b"\n" + line[5:])
            return data[len(piece) :]
        if len(self._line) > _MAX_FIELD:
            raise Refused("upstream_invalid", "The server's event stream has a line that is too long.")
        if end < 0:
            return b""
        line, self._line = self._line, b""
        self._field(line)
        if not line:
            self.over = True
            self._body.end()
        return self._after(data, end)

    def _after(self, data: bytes, end: int) -> bytes:
        self._skip_lf = data[end : end + 1] == b"\r"
        return data[end + 1 :]


def _line_end(data: bytes) -> int:
    ends = [at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0]
    return min(ends, default=-1)
