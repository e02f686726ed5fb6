"""Input requests across the eras: a modern `input_required` result and a handshake-era question, pure.

Source: 2026-07-28 /basic/patterns/mrtr; 2025-11-25 client features (roots, sampling, elicitation).
Fail closed: a client that answers with an error ends the call, but for an elicitation, where it counts as a cancel.
"""

import msgspec

from callgate.call.model import InputRequest, Target
from callgate.errors import Refused
from callgate.wire import jsonrpc

MAX_ROUNDS = 10  # as the SDKs have it


def asked(result: bytes) -> tuple[tuple[InputRequest, ...], bytes]:
    """The questions and the raw `requestState` (empty when absent) of an `input_required` result."""
    fields = jsonrpc.members(result)
    questions = []
    for key, raw in jsonrpc.members(fields.get("inputRequests", b"")).items():
        one = jsonrpc.members(raw)
        method = jsonrpc.text(one.get("method", b""))
        if method is None:
            raise Refused("upstream_invalid", "The server asked for input without saying for what.")
        questions.append(InputRequest(key, method, bytes(one.get("params", b"{}"))))
    return tuple(questions), bytes(fields.get("requestState", b""))


def input_required(questions: tuple[InputRequest, ...], state: str) -> bytes:
    """An `input_required` result for a modern client out of live questions."""
    requests = {
        question.key: msgspec.Raw(
            jsonrpc.joined({"method": jsonrpc.encoded(question.method), "params": question.params})
        )
        for question in questions
    }
    return jsonrpc.joined(
        {
            "resultType": b'"input_required"',
            "inputRequests": jsonrpc.joined(requests),
            "requestState": jsonrpc.encoded(state),
        }
    )


def with_state(result: bytes, state: str) -> bytes:
    """The same `input_required` result with another `requestState`."""
    fields: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(result))
    fields["requestState"] = jsonrpc.encoded(state)
    return jsonrpc.joined(fields)


def retried(target: Target, questions: tuple[InputRequest, ...], replies: dict[str, bytes], state: bytes) -> Target:
    """The target of the next round: the same request with `inputResponses` and the upstream's own state."""
    params: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(target.params))
    params.pop("requestState", None)
    params.pop("inputResponses", None)
    if questions:
        answers = {one.key: _response(one, replies.get(one.key, b"")) for one in questions}
        params["inputResponses"] = jsonrpc.joined(answers)
    if state:
        params["requestState"] = state
    return msgspec.structs.replace(target, params=jsonrpc.joined(params))


def _response(question: InputRequest, reply: bytes) -> msgspec.Raw:
    value = jsonrpc.members(reply).get("result")
    if value:
        return value
    if question.method == "elicitation/create":
        return msgspec.Raw(b'{"action":"cancel"}')
    raise Refused("upstream_broke_off", "Your client did not give the input that the server asked for.")
