"""What travels between the stages, and the machine's events and effects. All of it frozen."""

from dataclasses import dataclass, field

import msgspec

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.definition import Definition
from callgate.model.event import Intent, Outcome
from callgate.model.upstream import Upstream

Members = dict[str, msgspec.Raw]


class Request(msgspec.Struct, frozen=True):
    """One governed request as an edge received it. `params` are raw members; `name` is the public name or URI."""

    id: str  # `cal_…`
    caller: Caller
    era: str
    method: str
    params: Members
    name: str
    at: int  # microseconds since 1970
    size: int  # bytes of the body
    scope: str | None = None  # upstream name for /mcp/u/<upstream>
    session: str | None = None
    capabilities: bytes = b"{}"
    progress_token: bytes = b""  # raw JSON, empty when the client sent none
    log_level: str | None = None
    durability: str = "strict"


class Target(msgspec.Struct, frozen=True):
    """Where a request goes. `params` is raw JSON with the upstream's own name, without gateway members."""

    upstream: Upstream
    definition: Definition | None
    name: str | None  # what Mcp-Name says towards a modern upstream
    params: bytes


class InputRequest(msgspec.Struct, frozen=True):
    """One question to the client: elicitation, sampling or roots. `params` is raw JSON."""

    key: str
    method: str
    params: bytes


class Waiting(msgspec.Struct, frozen=True):
    """Where an answer of the client belongs, sealed into `requestState` or a server request's id.

    `upstream_state` is the modern upstream's own state; `exchange` names a live upstream exchange on `replica`.
    """

    tenant: str
    person: str
    digest: str  # of method, name and arguments
    expires: float
    upstream: str
    upstream_state: str | None = None
    exchange: str | None = None
    replica: str | None = None
    ask_id: str = ""  # raw JSON id of the live question
    call: str = ""  # the earlier leg


# -- effects: what the machine wants done ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordIntent:
    event: Intent


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    event: Outcome


@dataclass(frozen=True, slots=True)
class Forward:
    """Open the credential and start the upstream exchange."""

    target: Target


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a live exchange, on whichever replica holds it, by answering its question."""

    target: Target
    waiting: Waiting
    reply: bytes


@dataclass(frozen=True, slots=True)
class Relay:
    """A notification for the client: method and raw params."""

    method: str
    params: bytes


@dataclass(frozen=True, slots=True)
class AskClient:
    """Questions for a client that can be asked while the call runs (handshake era)."""

    requests: tuple[InputRequest, ...]


@dataclass(frozen=True, slots=True)
class AnswerUpstream:
    """The client's answer to a live question: `reply` is raw `{"result":…}` or `{"error":…}`."""

    ask_id: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class Suspend:
    """Keep the exchange alive for a later leg of the same call (modern client, live question)."""

    key: str


@dataclass(frozen=True, slots=True)
class Write:
    """Next bytes of a large result value."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """The rest of the answer: a result or error value. After `Write`s, `raw` is the held-back tail."""

    kind: str  # result | error
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with a refusal of the error table."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class Abort:
    """The answer has begun and cannot be completed: break the stream so that the client sees a failure."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class CancelUpstream:
    """Tell the upstream to stop."""


Effect = (
    RecordIntent | RecordOutcome | Forward | Resume | Relay | AskClient | AnswerUpstream | Suspend | Write | Finish
    | Refuse | Abort | CancelUpstream
)  # fmt: skip
Effects = tuple[Effect, ...]


# -- events: what happened (upstream events are those of upstreams.exchange) ----------------------------------------


@dataclass(frozen=True, slots=True)
class IntentDurable:
    """The record of the intent is on stable storage."""


@dataclass(frozen=True, slots=True)
class OutcomeDurable:
    """The record of the outcome is on stable storage (or accepted, where the tenant chose `relaxed`)."""


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """A record could not be made durable."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The exchange could not be started; nothing was sent."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class InputsGiven:
    """The client's answers by key: raw `{"result":…}` or `{"error":…}`."""

    replies: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client asked for the end of this call, or a modern client closed the stream."""


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A handshake-era client's stream broke. That is not a cancellation (2025-06-18, streamable HTTP)."""
