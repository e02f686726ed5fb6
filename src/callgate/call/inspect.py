"""inspect: a look at the result on its way back. Rules on results come with the policy gate; this stage classifies.

Fail closed: a value that is no JSON object is `upstream_invalid`, never passed on.
"""

import re

import msgspec

from callgate.call.model import Doubt, Request, Target
from callgate.errors import Refused
from callgate.wire import jsonrpc

# what the common SDKs say, in one way or the other (-32602 alone also means that an argument is wrong)
_NO_SUCH_TOOL = re.compile(
    rb"(?i)\bunknown tool\b|\bno such tool\b|\btool\b[^\n]{0,160}\b(?:not found|does not exist)\b"
)
_TOOL_ERROR = re.compile(rb'"isError"\s*:\s*true\s*[,}]')


class _Look(msgspec.Struct):
    isError: bool | None = None  # noqa: N815  the wire's name
    resultType: str | None = None  # noqa: N815


_look = msgspec.json.Decoder(_Look).decode


def result_outcome(raw: bytes) -> str:
    """`result`, `tool_error`, `input_required` or `task` for a complete result value.

    Raises `Refused("upstream_invalid")` when it is no JSON object.
    """
    try:
        look = _look(raw)
    except msgspec.ValidationError:
        return _lenient(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        look = _with_odd_text(raw)
    if look.resultType in ("input_required", "task"):
        return look.resultType
    return "tool_error" if look.isError else "result"


def doubts(request: Request, target: Target | None, raw: bytes) -> tuple[Doubt, ...]:
    """Whether an error says that there is no such tool, although the last observation listed it."""
    if request.method == "tools/call" and target is not None and _NO_SUCH_TOOL.search(raw, 0, 4096):
        return (Doubt(target.upstream),)
    return ()


def check_error(raw: bytes) -> None:
    """Raise `Refused("upstream_invalid")` for the error of a response that is no JSON object."""
    try:
        jsonrpc.members(raw or b"-")
    except Refused:
        raise Refused("upstream_invalid") from None


def _with_odd_text(raw: bytes) -> _Look:
    """A value with halves of surrogate pairs is passed on as it is, so it is looked into by position."""
    try:
        fields = jsonrpc.members(raw or b"-")  # nothing at all is no object either
    except Refused:
        raise Refused("upstream_invalid") from None
    return _Look(bytes(fields.get("isError", b"")) == b"true", jsonrpc.text(fields.get("resultType", b"")))


def _lenient(raw: bytes) -> str:
    """Members of unexpected types are the upstream's business, as long as the value is an object."""
    if raw.lstrip()[:1] != b"{":
        raise Refused("upstream_invalid")
    return "tool_error" if _TOOL_ERROR.search(raw) else "result"


def streamed_outcome(tail: bytes) -> str:
    """The same for a large value of which only the tail is at hand; `isError` stands at the end in practice."""
    return "tool_error" if _TOOL_ERROR.search(tail) else "result"
