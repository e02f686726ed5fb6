"""JSON whose only fault is its text: `\\ud83d` without its other half, as programs write that cut strings anywhere.

JSON's grammar allows it and many clients take it, but the decoder does not. Values are found by their position and kept
as the bytes they are; what decides anything (keys, ids, methods) must not hold such a half. Pure.
Fail closed: only text that is valid JSON once these escapes are masked is looked into.
"""

import re
from collections.abc import Iterator

_ESCAPE = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)
_MASK = b"\\u0041"
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]', re.DOTALL)


def masked(raw: bytes) -> bytes:
    """The same text, of the same length, in which every escape of a surrogate stands for a letter."""
    return _ESCAPE.sub(lambda match: _MASK if len(match.group()) == len(_MASK) else match.group(), raw)


def parts(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(raw key, raw value) of each member of an object, (b"", raw value) of each element of an array.

    `raw` must be valid JSON but for halves of surrogate pairs; of other text the parts mean nothing.
    """
    depth, start, key = 0, 0, b""
    for token in _TOKEN.finditer(raw):
        mark = raw[token.start() : token.start() + 1]
        if mark == b'"':
            continue
        if mark in (b"{", b"["):
            depth += 1
        if depth == 1:
            piece = raw[start : token.start()].strip()
            if mark == b":":
                key = piece
            elif mark not in (b"{", b"[") and piece:
                yield key, piece
                key = b""
            start = token.end()
        if mark in (b"}", b"]"):
            depth -= 1
