"""What a stdio child writes: messages by line from stdout, the last of stderr. Pure parsing and bounded keeping.

Fail closed: a message over the cap ends the reading, for what follows it cannot be trusted to be a new message. stderr
is kept in memory only, because it may hold payload.
"""

import unicodedata
from collections import deque

from callgate.upstreams.process_errors import ProcessError

_LINE_BYTES = 4096  # of one stderr line; the rest of it is dropped


class Lines:
    """Cuts a byte stream into lines. Empty lines are no messages; `\\r\\n` ends a line as `\\n` does."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Complete lines so far. Raises `ProcessError` for a line over the cap."""
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._keep(part)
            line = b"".join(self._parts).rstrip(b"\r")
            self._parts, self._size = [], 0
            if line.strip():
                lines.append(line)
        if rest:
            self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._cap:
            self._parts = []
            raise ProcessError(f"The server sent a message of more than {self._cap} bytes.")
        self._parts.append(part)


class Tail:
    """The last lines of a stream, at most `cap` bytes."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._open = b""

    def feed(self, data: bytes) -> None:
        *ended, rest = (data if len(data) <= 2 * self._cap else data[-2 * self._cap :]).split(b"\n")
        for part in ended:
            line = (self._open + part)[:_LINE_BYTES]
            self._open = b""
            self._lines.append(line)
            self._size += len(line) + 1
        self._open = (self._open + rest)[:_LINE_BYTES]
        while self._size > self._cap:
            self._size -= len(self._lines.popleft()) + 1

    def text(self) -> str:
        """The lines, with everything that is not plain printable text made visible as `\\x1b` or `\\u202e`."""
        lines = [*self._lines, self._open] if self._open else self._lines
        return "\n".join(visible(line.decode("utf-8", "replace").rstrip("\r")) for line in lines)


def visible(text: str) -> str:
    """Control, format (bidirectional, zero-width) and unassigned characters escaped; a tab becomes a space."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char == "\t":
        return " "
    if char == " " or (unicodedata.category(char)[0] not in "CZ" or char == "\u00a0"):
        return char
    return char.encode("unicode_escape").decode()
