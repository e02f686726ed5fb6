"""A large JSON-RPC response as it streams in: finds the bytes of the `result` value without holding the message. Pure.

The head is `{`, scalar members in any order, then `"result":`; the tail is scalar members and `}`. The last closing
brace always ends the message, so what stands before the tail is the value, whatever it holds.
Fail closed: a message of another shape, or one that answers another id, raises `Refused("upstream_invalid")`.
"""

import re

from callgate.errors import Refused
from callgate.wire import jsonrpc

TAIL_BYTES = 4096
_STRING = rb'"(?:[^"\\]|\\.)*+"'
_SCALAR = rb"(?:" + _STRING + rb"|-?[0-9][0-9.eE+-]*+|true|false|null)"
_MEMBER = rb"\s*+" + _STRING + rb"\s*+:\s*+" + _SCALAR
_HEAD = re.compile(rb"\s*+\{((?:" + _MEMBER + rb'\s*+,)*+)\s*+"result"\s*+:\s*+', re.DOTALL)
_TAIL = re.compile(rb"((?:\s*+," + _MEMBER + rb")*+)\s*+\}\s*+\Z", re.DOTALL)


class ResultStream:
    """Feed the message's bytes; take the value's bytes. `fits` says whether the head is one that can be streamed."""

    def __init__(self, own_id: bytes) -> None:
        self._own_id = own_id
        self._held = b""
        self._head = b""

    def begin(self, data: bytes) -> bool:
        """Start with the first bytes (some KB). False when this message has to be read whole."""
        match = _HEAD.match(data)
        if match is None:
            return False
        self._head = match[1]
        self._held = data[match.end() :]
        return True

    def feed(self, data: bytes) -> bytes:
        """The value's next bytes; the last few KB stay here until `finish`."""
        joined = self._held + data
        cut = max(0, len(joined) - TAIL_BYTES)
        self._held = joined[cut:]
        return joined[:cut]

    def finish(self) -> bytes:
        """The rest of the value. Raises `Refused("upstream_invalid")`."""
        match = _TAIL.search(self._held)
        if match is None:
            raise Refused("upstream_invalid", "The server's answer does not end as a JSON-RPC response.")
        members = jsonrpc.members(b"{" + self._head.rstrip().rstrip(b",") + b"}")
        tail = match[1].strip().removeprefix(b",")
        members.update(jsonrpc.members(b"{" + tail + b"}"))
        if bytes(members.get("id", b"")) != self._own_id:
            raise Refused("upstream_invalid", "The server answered another request than the one that was asked.")
        return self._held[: match.start()]
