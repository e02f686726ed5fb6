"""Input requests across the eras: a modern `input_required` result and a handshake-era question, pure.

Source: 2026-07-28 /basic/patterns/mrtr; 2025-11-25 client features (roots, sampling, elicitation).
Fail closed: a client that answers with an error ends the call, but for an elicitation, where it counts as a cancel;
a client is never asked for what it did not declare; an answer counts once, for the question it was given to.
"""

from types import MappingProxyType

import msgspec

from callgate.call.model import AnswerUpstream, InputRequest, Target
from callgate.errors import Refused
from callgate.wire import eras, jsonrpc

MAX_ROUNDS = 10  # as the SDKs have it
MODERN_KEY = "q1"  # of the one live question that a modern client is asked at a time
NOT_OFFERED = b'{"error":{"code":-32601,"message":"The client does not offer this."}}'
_CANCEL = b'{"result":{"action":"cancel"}}'
_UNANSWERED = b'{"error":{"code":-1,"message":"The client gave no answer."}}'
_CAPABILITIES = MappingProxyType(
    {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
)


def offered(method: str, capabilities: bytes, era: str) -> bool:
    """Whether a client of this era can be asked this. What else there is, an older client may judge by itself."""
    capability = _CAPABILITIES.get(method)
    if capability is None:
        return era == eras.LEGACY
    return capability in jsonrpc.members(capabilities)


def unanswered(method: str) -> bytes:
    """What an upstream is told for a client that gave no answer."""
    return _CANCEL if method == "elicitation/create" else _UNANSWERED


class Questions:
    """What one call has asked its client and is not answered yet. A ticket is never used twice, so a second or late
    answer finds nothing."""

    def __init__(self) -> None:
        self._last = 0
        self._live: dict[str, bytes] = {}  # ticket → id of the upstream's question
        self._round: dict[str, str] = {}  # ticket → key in `inputRequests`
        self._given: dict[str, bytes] = {}

    @property
    def open(self) -> bool:
        return bool(self._live or self._round)

    def live(self, ask_id: bytes, question: InputRequest) -> InputRequest:
        """A question of an upstream that waits in the middle of its work, under a ticket."""
        ticket = self._ticket()
        self._live[ticket] = ask_id
        return msgspec.structs.replace(question, key=ticket)

    def round(self, questions: tuple[InputRequest, ...]) -> tuple[InputRequest, ...]:
        """The questions of one round, under tickets."""
        self._given = {}
        tickets = {self._ticket(): question for question in questions}
        self._round = {ticket: question.key for ticket, question in tickets.items()}
        return tuple(msgspec.structs.replace(question, key=ticket) for ticket, question in tickets.items())

    def answered(self, replies: dict[str, bytes]) -> tuple[tuple[AnswerUpstream, ...], dict[str, bytes] | None]:
        """What live questions are answered by these replies, and the replies of the round once it is complete."""
        live = tuple(
            AnswerUpstream(self._live.pop(ticket), reply) for ticket, reply in replies.items() if ticket in self._live
        )
        fresh = {self._round.pop(ticket): reply for ticket, reply in replies.items() if ticket in self._round}
        self._given |= fresh
        return live, self._given if fresh and not self._round else None

    def _ticket(self) -> str:
        self._last += 1
        return str(self._last)


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
