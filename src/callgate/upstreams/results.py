"""A large JSON-RPC response as it streams in: hands on the bytes of the `result` value without holding the message.

The head is `{`, scalar members in any order, then `"result":` and an object; what follows the value is small.
Pure. Fail closed: a message of another shape is not streamed; one that answers another id, has more after the result
than scalars and small extras, or closes in another way than a response raises `Refused("upstream_invalid")`.
"""

import re

import msgspec

from callgate.errors import Refused
from callgate.upstreams.nesting import Nesting
from callgate.wire import jsonrpc

TAIL_BYTES = 16 * 1024
_LAG = 64  # bytes held back, so that a member's name and a short value are seen in one piece
# Possessive classes, but no possessive groups: Python before 3.11.5 fails to match those that hold a choice. There is
# one way to read each byte, so a group cannot go back far.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_SCALAR = rb"(?:" + _STRING + rb"|-?[0-9][0-9.eE+-]*+|true|false|null)"
_MEMBER = rb"\s*+" + _STRING + rb"\s*+:\s*+" + _SCALAR
_TELLING = re.compile(rb'"(?:resultType"\s*+:\s*+"(\w*+)"|inputRequests"\s*+:|requestState"\s*+:)')
_HEAD = re.compile(rb"\s*+(\{(?:" + _MEMBER + rb'\s*+,)*\s*+)"result"\s*+:\s*+(?=\{)', re.DOTALL)


class ResultStream:
    """`begin` with the first bytes, `feed` the rest, then `finish`. What `feed` and `finish` return is the value, in
    order. `special` is set before the first byte of a member is returned that shows the value to be no plain result.
    """

    def __init__(self, own_id: bytes) -> None:
        self._own_id = own_id
        self._head = b""
        self._first = b""
        self._tail: bytes | None = None
        self._nesting = Nesting()
        self._lag = b""
        self._plain = False  # a `resultType` said so
        self.special = False

    def begin(self, data: bytes) -> bool:
        """Start with the first bytes (some KB). False when this message has to be read whole.

        Raises `Refused("upstream_invalid")` when the head names another id.
        """
        match = _HEAD.match(data)
        if match is None:
            return False
        self._head = match[1]
        self._first = data[match.end() :]
        if b'"id"' in self._head:
            self._check(jsonrpc.members(self._head + b'"result":null}'))
        return True

    def feed(self, data: bytes) -> bytes:
        """The value's next bytes."""
        data, self._first, self._lag = self._first + self._lag + data, b"", b""
        if self._tail is None:
            data, self._lag = data[:-_LAG], data[-_LAG:]
        return self._value(data)

    def _value(self, data: bytes) -> bytes:
        value = b""
        if self._tail is None:
            before = self._nesting.copy()
            end = self._nesting.feed(data)
            if self._nesting.shallow and not (self._plain or self.special):
                self._look(before, data, end)
            if end < 0:
                return data
            value, data, self._tail = data[:end], data[end:] + self._lag, b""
            self._lag = b""
        self._tail += data
        if len(self._tail) > TAIL_BYTES:
            raise _not_a_response()
        return value

    def _look(self, before: Nesting, data: bytes, end: int) -> None:
        """Whether one of the members that begin in here says what kind of result this is."""
        size = len(data) if end < 0 else end
        for match in _TELLING.finditer(data + self._lag):
            if match.start() >= size:
                return
            here = before.copy()
            here.feed(data[: match.start()])
            if here.at_member:
                self._plain = match[1] not in (None, b"input_required", b"task")
                self.special = not self._plain
                return

    def finish(self) -> bytes:
        """The message is over; the value's last bytes. Raises `Refused("upstream_invalid")` when it was no answer to
        our request."""
        data, self._lag = self._lag, b""
        value = self._value(data)
        if self._tail is None:
            raise _not_a_response()
        try:
            members = jsonrpc.members(self._head + b'"result":null' + self._tail)
        except Refused:
            raise _not_a_response() from None
        if bytes(members["result"]) != b"null" or "error" in members or "method" in members:
            raise _not_a_response()
        self._check(members)
        return value

    def _check(self, members: dict[str, msgspec.Raw]) -> None:
        if bytes(members.get("id", b"")) != self._own_id:
            raise Refused("upstream_invalid", "The server answered another request than the one that was asked.")


def _not_a_response() -> Refused:
    return Refused("upstream_invalid", "The server's answer does not end as a JSON-RPC response.")
