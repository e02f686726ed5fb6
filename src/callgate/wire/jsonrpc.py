"""JSON-RPC 2.0 envelopes over raw bytes.

The envelope is parsed once; `params`, `result` and `error` stay the bytes they were. Fail closed: batches, null ids,
trailing garbage and nesting beyond the limit are refused.
"""

import re
from collections.abc import Mapping

import msgspec

from callgate.errors import Refused
from callgate.wire import halves

# a string without an end takes all that is left: looking for a later start would cost the square of the length
_OPENING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
_ID_STARTS = frozenset(b'"-0123456789')
EMPTY = b"{}"


class Message(msgspec.Struct, frozen=True):
    """One JSON-RPC message. Raw members are `b""` when absent; `id` keeps its type and lexeme."""

    jsonrpc: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")

    @property
    def is_request(self) -> bool:
        return self.method is not None and bool(self.id)

    @property
    def is_notification(self) -> bool:
        return self.method is not None and not self.id

    @property
    def is_response(self) -> bool:
        return self.method is None and bool(self.id) and bool(self.result or self.error)


_decode = msgspec.json.Decoder(Message).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def parse(body: bytes, max_depth: int = 128, *, lenient: bool = False) -> Message:
    """Read one message. `lenient` takes values with text that is no Unicode (halves of surrogate pairs, bytes that are
    no UTF-8) as they are: an upstream's, which is judged later, value by value.

    Raises `Refused`: `body_too_deep`, `parse_error` (not JSON), `invalid_request` (JSON, but no single message).
    """
    check_depth(body, max_depth)
    try:
        if not lenient and not body.isascii():
            body.decode("utf-8")  # values that stay raw are not looked into by the decoder
        message = _decode(body)
    except msgspec.ValidationError:
        raise Refused("invalid_request", _why_invalid(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not lenient:
            raise Refused("parse_error") from None
        message = _parse_halves(body)
    if message.jsonrpc != "2.0":
        raise Refused("invalid_request", 'The member `jsonrpc` must be "2.0".')
    if message.id and bytes(message.id)[0] not in _ID_STARTS:
        raise Refused("invalid_request", "The member `id` must be a string or a number.")
    if message.method is None and not message.is_response:
        raise Refused("invalid_request", "A message needs a `method`, or an `id` with `result` or `error`.")
    return message


def _parse_halves(body: bytes) -> Message:
    fields = _members_with_halves(body, "parse_error")
    absent = msgspec.Raw(b"")
    own_id = bytes(fields.get("id", absent))
    if halves.masked(own_id) != own_id:
        raise Refused("invalid_request")
    try:
        return Message(
            jsonrpc=_decode_text(fields.get("jsonrpc", b'""')),
            id=fields.get("id", absent),
            method=_decode_text(fields["method"]) if "method" in fields else None,
            params=fields.get("params", absent),
            result=fields.get("result", absent),
            error=fields.get("error", absent),
        )
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("invalid_request") from None


def _members_with_halves(raw: bytes, code: str) -> dict[str, msgspec.Raw]:
    masked = halves.masked(raw)
    try:
        if masked == raw:
            raise Refused(code)
        _decode_members(masked)  # valid but for the halves, so positions can be trusted
        return {_decode_text(key): msgspec.Raw(value) for key, value in halves.parts(raw)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(code) from None


def _why_invalid(body: bytes) -> str:
    if body.lstrip()[:1] == b"[":
        return "Batches are not supported; send one message per POST."
    return "The body is not a valid JSON-RPC 2.0 message."


def check_depth(body: bytes, limit: int) -> None:
    """Refuse JSON nested deeper than `limit`. Cheap when the text cannot be that deep; linear otherwise."""
    if body.count(b"{") + body.count(b"[") <= limit:
        return
    depth = 0
    for token in _OPENING.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                raise Refused("body_too_deep", f"The JSON is nested deeper than {limit} levels.")
        elif first in b"]}":
            depth -= 1


def members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, values as raw bytes in their order. An absent value (`b""`) is an empty object.

    Raises `Refused("invalid_params")` when the value is no object.
    """
    if not raw:
        return {}
    try:
        return _decode_members(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _members_with_halves(bytes(raw), "invalid_params")
    except Refused:
        raise Refused("invalid_params", "The value must be a JSON object.") from None


def elements(raw: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of a JSON array as raw bytes. Raises `Refused("invalid_params")` when the value is no array."""
    try:
        return _decode_elements(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        _decode_elements(halves.masked(bytes(raw)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("invalid_params", "The value must be a JSON array.") from None
    return [msgspec.Raw(value) for _, value in halves.parts(bytes(raw))]


def joined(values: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """An object out of raw member values: the inverse of `members`."""
    return _encode(
        {key: value if isinstance(value, msgspec.Raw) else msgspec.Raw(value) for key, value in values.items()}
    )


def text(raw: bytes | msgspec.Raw) -> str | None:
    """The string that a raw value holds, or None when it is no (valid) string."""
    try:
        return msgspec.json.decode(raw, type=str) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def encoded(value: object) -> bytes:
    """A Python value (or a msgspec struct) as JSON bytes."""
    return _encode(value)


def request(id_: bytes, method: str, params: bytes = EMPTY) -> bytes:
    """A request; `id_` and `params` are raw JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (id_, _encode(method), params)


def notification(method: str, params: bytes = b"") -> bytes:
    """A notification; `params` is raw JSON or empty for none."""
    if not params:
        return b'{"jsonrpc":"2.0","method":%b}' % _encode(method)
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_encode(method), params)


def result(id_: bytes, value: bytes) -> bytes:
    """A response; both are raw JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id_, value)


def error(id_: bytes, value: bytes) -> bytes:
    """An error response; `value` is the raw error object. An empty id is left out (MCP allows that)."""
    if not id_:
        return b'{"jsonrpc":"2.0","error":%b}' % value
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id_, value)


def error_value(code: int, sentence: str, data: object = None) -> bytes:
    """A raw JSON-RPC error object."""
    fields: dict[str, object] = {"code": code, "message": sentence}
    if data is not None:
        fields["data"] = data
    return _encode(fields)
