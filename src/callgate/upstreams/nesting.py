"""Follows the nesting of one JSON object or array through chunks of bytes, to find where it ends. Pure.

Almost all of the work is done by whole-chunk byte operations; a chunk is looked at token by token only where the value
ends. It is no validator: it guarantees that what stands before the end cannot close the value early.
Fail closed: brackets that do not match raise `Refused("upstream_invalid")`.
"""

import re

from callgate.errors import Refused

_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"{}[]")))
_CLOSES = {ord("}"): ord("{"), ord("]"): ord("[")}
_TOKEN = re.compile(rb'"|[{}\[\]]|\\.', re.DOTALL)
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ROUNDS = 8  # collapsing `{}` pairs pays for shallow nesting; what is left is walked
MAX_DEPTH = 512


class Nesting:
    """Feed the value from its first byte; `feed` says where it ends."""

    def __init__(self) -> None:
        self._stack = bytearray()
        self._in_string = False
        self._escaped = False  # the last chunk ended within an escape
        self.shallow = True  # the last chunk touched the outermost level

    def copy(self) -> "Nesting":
        """The same place in the same value."""
        other = Nesting()
        other._stack, other._in_string, other._escaped = self._stack[:], self._in_string, self._escaped
        return other

    @property
    def at_member(self) -> bool:
        """Whether the next byte stands directly in the outermost object, outside of strings."""
        return len(self._stack) == 1 and not self._in_string

    def feed(self, chunk: bytes) -> int:
        """The index after the value's last byte in this chunk, or -1 when it goes on."""
        in_string, escaped = self._in_string, self._escaped
        self.shallow = len(self._stack) <= 1
        brackets = self._brackets(chunk)
        if self._stack:  # pairs that open and close in here cannot close what was open before
            brackets = _collapsed(brackets)
        if self._ends(brackets):
            return self._walk(chunk, in_string, 1 if escaped else 0)
        self._push(brackets)
        return -1

    def _brackets(self, chunk: bytes) -> bytes:
        """The brackets that stand outside strings; the string state moves on to the end of the chunk."""
        body = chunk[1:] if self._escaped and chunk else chunk
        if chunk:
            run = len(body) - len(body.rstrip(b"\\"))
            self._escaped = run % 2 == 1
            if run:
                body = body[: len(body) - run]
        if b"\\" in body:
            body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = body.split(b'"')
        outside = parts[1::2] if self._in_string else parts[::2]
        self._in_string ^= len(parts) % 2 == 0
        return b"".join(outside).translate(None, _NOT_BRACKETS)

    def _ends(self, brackets: bytes) -> bool:
        """Whether the outermost bracket closes among these. Cheap when there are fewer closers than open ones."""
        depth = len(self._stack)
        if brackets.count(b"}") + brackets.count(b"]") < max(depth, 1):
            return False
        for byte in brackets:
            depth += -1 if byte in _CLOSES else 1
            if depth == 0:
                return True
        return False

    def _push(self, brackets: bytes) -> None:
        stack = self._stack
        for byte in brackets:
            opener = _CLOSES.get(byte)
            if opener is None:
                stack.append(byte)
            elif not stack or stack.pop() != opener:
                raise Refused("upstream_invalid", "The server's answer is no valid JSON.")
            elif len(stack) == 1:
                self.shallow = True
        if len(stack) > MAX_DEPTH:
            raise Refused("upstream_invalid", f"The server's answer is nested deeper than {MAX_DEPTH} levels.")

    def _walk(self, chunk: bytes, in_string: bool, at: int) -> int:
        """Token by token through the one chunk in which the value ends."""
        while True:
            if in_string:
                end = _STRING_END.match(chunk, at)
                if end is None:
                    return -1
                at, in_string = end.end(), False
            token = _TOKEN.search(chunk, at)
            if token is None:
                return -1
            at = token.end()
            if token.group() == b'"':
                in_string = True
            elif token.group() in b"{}[]":
                self._push(token.group())
                if not self._stack:
                    return at


def _collapsed(brackets: bytes) -> bytes:
    """The same without pairs that close at once."""
    for _ in range(_ROUNDS):
        shorter = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return shorter
        brackets = shorter
    return brackets
