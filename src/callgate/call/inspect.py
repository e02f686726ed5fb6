"""inspect: a look at the result on its way back. Rules on results come with the policy gate; this stage classifies.

Fail closed: a value that is no JSON object is `upstream_invalid`, never passed on.
"""

import re

import msgspec

from callgate.errors import Refused

_TOOL_ERROR = re.compile(rb'"isError"\s*:\s*true\s*[,}]')


class _Look(msgspec.Struct):
    isError: bool | None = None  # noqa: N815  the wire's name
    resultType: str | None = None  # noqa: N815


_look = msgspec.json.Decoder(_Look).decode


def result_outcome(raw: bytes) -> str:
    """`result`, `tool_error` or `input_required` for a complete result value.

    Raises `Refused("upstream_invalid")` when it is no JSON object.
    """
    try:
        look = _look(raw)
    except msgspec.ValidationError:
        return _lenient(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("upstream_invalid") from None
    if look.resultType == "input_required":
        return "input_required"
    return "tool_error" if look.isError else "result"


def _lenient(raw: bytes) -> str:
    """Members of unexpected types are the upstream's business, as long as the value is an object."""
    if raw.lstrip()[:1] != b"{":
        raise Refused("upstream_invalid")
    return "tool_error" if _TOOL_ERROR.search(raw) else "result"


def streamed_outcome(tail: bytes) -> str:
    """The same for a large value of which only the tail is at hand; `isError` stands at the end in practice."""
    return "tool_error" if _TOOL_ERROR.search(tail) else "result"
