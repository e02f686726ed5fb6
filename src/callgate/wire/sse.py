"""Server-sent events: an incremental parser and an encoder (WHATWG HTML, section 9.2).

Fail closed: an event larger than the cap raises `Refused("upstream_too_large")`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from callgate.errors import Refused

COMMENT = b": keep-alive\n\n"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
_BREAKS = bytes.maketrans(b"\r\n", b"  ")


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event. `data` lines are joined by LF; `retry` is in milliseconds."""

    event: str
    data: bytes
    id: str | None = None
    retry: int | None = None


class SseParser:
    """Feed bytes in any chunking, get whole events out."""

    def __init__(self, max_event_bytes: int = 64 * 1024 * 1024) -> None:
        self._max = max_event_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None
        self._first = True
        self._mark = b""
        self._skip_lf = False

    def feed(self, chunk: bytes) -> Iterator[SseEvent]:
        """The events that this chunk completes."""
        if self._first:
            chunk = self._without_mark(chunk)
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        start = 0
        for end in _LINE_END.finditer(chunk):
            line = self._take(chunk[start : end.start()])
            start = end.end()
            if end.group() == b"\r" and start == len(chunk):
                self._skip_lf = True
            done = self._line(line)
            if done is not None:
                yield done
        self._keep(chunk[start:])

    def _without_mark(self, chunk: bytes) -> bytes:
        """The stream's first bytes without the byte order mark, which may itself come in pieces."""
        chunk, self._mark = self._mark + chunk, b""
        if len(chunk) < len(_MARK) and _MARK.startswith(chunk):
            self._mark = chunk
            return b""
        self._first = False
        return chunk.removeprefix(_MARK)

    @property
    def has_data(self) -> bool:
        """Whether the event being read has data lines already."""
        return bool(self._data)

    @property
    def open_bytes(self) -> int:
        """Size of the line that has not ended yet."""
        return self._pending_bytes

    def open_line(self) -> bytes:
        """The line that has not ended yet; only worth a look when it is long."""
        if len(self._pending) > 1:
            self._pending = [b"".join(self._pending)]
        return self._pending[0] if self._pending else b""

    def drop_open_line(self) -> None:
        """Somebody else reads the open line; the parser goes on with what follows it."""
        self._pending.clear()
        self._pending_bytes = 0

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._pending.append(rest)
            self._pending_bytes += len(rest)
            self._check(self._pending_bytes + self._data_bytes)

    def _take(self, piece: bytes) -> bytes:
        if not self._pending:
            return piece
        self._pending.append(piece)
        line = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return line

    def _check(self, size: int) -> None:
        if size > self._max:
            raise Refused("upstream_too_large", f"One event is larger than {self._max} bytes.")

    def _line(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1  # an empty line costs memory too
            self._check(self._data_bytes)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)
        return None

    def _dispatch(self) -> SseEvent | None:
        if not self._data and self._id is None and self._retry is None:
            self._event = ""
            return None
        event = SseEvent(self._event or "message", b"\n".join(self._data), self._id, self._retry)
        self._data.clear()
        self._data_bytes = 0
        self._event = ""
        self._id = self._retry = None
        return event


def encode(message: bytes) -> bytes:
    """One JSON message as an event. Line breaks can only be white space between JSON tokens, so blanks replace them."""
    return b"event: message\ndata: " + one_line(message) + b"\n\n"


def one_line(message: bytes) -> bytes:
    """JSON without line breaks (inside strings JSON has none)."""
    return message.translate(_BREAKS) if b"\n" in message or b"\r" in message else message
