"""Redacting a text that comes in pieces, in bounded memory. Pure.

Where the text is parted depends on the text alone and never on the pieces: at the end of a line that is no half of a
pair, else at a blank, and never within a private key. So the same text is redacted in the same way however it was cut.
Fail closed: bytes that are no UTF-8 become replacement characters before anybody looks.
"""

import codecs

from callgate.dlp.engine import LONGEST, Match
from callgate.dlp.redact import Redaction, redacted

PART = 16 * 1024  # characters that are redacted together, about
_BREAK_AFTER = PART // 2
_UNBROKEN = 4 * PART  # a run without any blank is parted there
_AHEAD = LONGEST + 256  # characters that must be known before a part is closed
_BEGIN, _END = "PRIVATE KEY", "-----END "


class Stream:
    """One text. `feed` its bytes, then `end`; both give what is ready. `found` has what was replaced so far."""

    def __init__(self, how: Redaction) -> None:
        self._how = how
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.found: list[Match] = []  # places within their part

    def feed(self, data: bytes) -> str:
        """The redacted text of all parts that are closed by now."""
        self._held += self._decoder.decode(data)
        return self._parts(last=False)

    def end(self) -> str:
        """The rest."""
        self._held += self._decoder.decode(b"", final=True)
        return self._parts(last=True)

    def _parts(self, *, last: bool) -> str:
        ready = []
        while self._held and (last or len(self._held) >= _UNBROKEN + _AHEAD):
            size = _size(self._held)
            text, done = redacted(self._held[:size], self._how)
            ready.append(text)
            self.found += done
            self._held = self._held[size:]
        return "".join(ready)


def _size(text: str) -> int:
    """Where the first part of a text ends."""
    if len(text) <= PART:
        return len(text)
    at = _line_end(text, _BREAK_AFTER, PART)
    if at < 0:
        at = text.rfind(" ", _BREAK_AFTER, PART) + 1 or text.find(" ", PART, _UNBROKEN) + 1 or _UNBROKEN
    at = min(at, len(text))
    begun = text.rfind(_BEGIN, 0, at)
    if begun < 0 or text.find(_END, begun, at) >= 0:
        return at
    closed = text.find(_END, at, begun + LONGEST)
    line = text.find("\n", closed) if closed >= 0 else -1
    return min(len(text), line + 1 if 0 <= line < closed + 128 else begun + LONGEST)


def _line_end(text: str, low: int, high: int) -> int:
    """After the last line within these bounds that does not announce a value for the next one; -1 without any."""
    at = high
    while (at := text.rfind("\n", low, at)) >= 0:
        before = text[max(0, at - 8) : at].rstrip()
        if before[-1:] not in (":", "=", ">", "\\") and text[at + 1 : at + 2] not in (" ", "\t", ":", "="):
            return at + 1
    return -1
