"""What travels between the stages, and the machine's events and effects. All of it frozen."""

import msgspec

from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.approval import Approval, Ask
from callgate.model.caller import Caller
from callgate.model.definition import Definition
from callgate.model.event import Intent, Outcome
from callgate.model.limit import Take
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
    meta: Members | None = None  # the members of `params._meta`, where they have been read already
    progress_token: bytes = b""  # raw JSON, empty when the client sent none
    log_level: str | None = None
    durability: str = "strict"
    address: str = ""  # that it comes from
    client_name: str = ""  # as a handshake-era client said it; modern ones say it in `meta`


class Target(msgspec.Struct, frozen=True):
    """Where a request goes. `params` is raw JSON with the upstream's own name, without gateway members.

    `session` and `home`: the client session and the replica whose conversation with the upstream is needed; none for
    those of the request itself.
    """

    upstream: Upstream
    definition: Definition | None
    name: str | None  # what Mcp-Name says towards a modern upstream
    params: bytes
    session: str | None = None
    home: str = ""


class InputRequest(msgspec.Struct, frozen=True):
    """One question to the client: elicitation, sampling or roots. `params` is raw JSON."""

    key: str
    method: str
    params: bytes


class Waiting(msgspec.Struct, frozen=True):
    """Where an answer of the client belongs, sealed into `requestState` or a server request's id.

    `upstream_state` is the modern upstream's own state; `exchange` names a live upstream exchange on `replica`, and
    `question` is what it asked (None when that is too long to travel twice).
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
    question: InputRequest | None = None
    call: str = ""  # the earlier leg
    leg: int = 0  # how many legs have waited for an approval
    granted: bool = False  # an approval was used for this call
    connecting: bool = False  # the person was asked to connect an account
    page_shown: bool = False  # and went there


# -- effects: what the machine wants done ------------------------------------------------------------------------


class RecordIntent(msgspec.Struct, frozen=True):
    event: Intent


class RecordOutcome(msgspec.Struct, frozen=True):
    event: Outcome


class Forward(msgspec.Struct, frozen=True):
    """Open the credential and start the upstream exchange. `challenge` is what the upstream said when it refused the
    credential that was used before."""

    target: Target
    challenge: str = ""


class Resume(msgspec.Struct, frozen=True):
    """Go on with a live exchange, on whichever replica holds it, by answering its question."""

    target: Target
    waiting: Waiting
    reply: bytes


class NoteTask(msgspec.Struct, frozen=True):
    """Remember the public id of a task for its person's list, for so many seconds."""

    id: str
    seconds: float


class FileApproval(msgspec.Struct, frozen=True):
    """Find or make the approval that this call needs; `Filed` or `CannotGoOn` follows."""

    ask: Ask


class AwaitApproval(msgspec.Struct, frozen=True):
    """Wait for a decision for as long as the client holds: `Decided`, `StillWaiting`, `HoldOver` or `CannotGoOn`."""

    approval: Approval


class AwaitConnection(msgspec.Struct, frozen=True):
    """Wait for the person to connect an account, for as long as the client holds: `Connected`, `StillWaiting`,
    `HoldOver` or `CannotGoOn`."""

    target: Target


class ClaimApproval(msgspec.Struct, frozen=True):
    """Use an approval for this call; `Claimed` or `CannotGoOn` follows."""

    approval: Approval


class ClaimLeg(msgspec.Struct, frozen=True):
    """Go on with an approved call from the leg of this call id, once; `Claimed` or `CannotGoOn` follows."""

    call: str


class ReleaseApproval(msgspec.Struct, frozen=True):
    """The call needs its approval no longer: it ends as `cancelled` or `void`."""

    approval: Approval
    state: str


class TakeLimits(msgspec.Struct, frozen=True):
    """Count the call for these limits; `LimitsTaken`, `LimitReached` or `CannotGoOn` follows."""

    takes: tuple[Take, ...]


class Charge(msgspec.Struct, frozen=True):
    """Count what the call cost beyond what was taken, in millionths."""

    take: Take
    amount: int


class KeepArguments(msgspec.Struct, frozen=True):
    """Keep the arguments of a call that rules stopped, sealed, for so many seconds."""

    arguments: bytes
    seconds: float


class KeepAlive(msgspec.Struct, frozen=True):
    """Show the client that the gateway lives, without a message."""


class Relay(msgspec.Struct, frozen=True):
    """A notification for the client: method and raw params."""

    method: str
    params: bytes


class AskClient(msgspec.Struct, frozen=True):
    """Questions for a client that can be asked while the call runs (handshake era). No key is ever used again."""

    requests: tuple[InputRequest, ...]


class AnswerUpstream(msgspec.Struct, frozen=True):
    """The client's answer to a live question: `reply` is raw `{"result":…}` or `{"error":…}`."""

    ask_id: bytes
    reply: bytes


class Suspend(msgspec.Struct, frozen=True):
    """Keep the exchange alive for a later leg of the same call (modern client, live question)."""

    key: str


class Write(msgspec.Struct, frozen=True):
    """Next bytes of a large result value."""

    data: bytes


class Finish(msgspec.Struct, frozen=True):
    """The rest of the answer: a result or error value. After `Write`s, `raw` is the held-back tail."""

    kind: str  # result | error
    raw: bytes


class Refuse(msgspec.Struct, frozen=True):
    """Answer with a refusal of the error table."""

    refused: Refused


class Abort(msgspec.Struct, frozen=True):
    """The answer has begun and cannot be completed: break the stream so that the client sees a failure."""

    refused: Refused


class CancelUpstream(msgspec.Struct, frozen=True):
    """Tell the upstream to stop."""


class Doubt(msgspec.Struct, frozen=True):
    """The upstream says that it has no such tool: what it offers may be another list by now."""

    upstream: Upstream


Effect = (
    RecordIntent | RecordOutcome | Forward | Resume | NoteTask | Relay | AskClient | AnswerUpstream | Suspend | Write
    | Finish | Refuse | Abort | CancelUpstream | Doubt | FileApproval | AwaitApproval | ClaimApproval | ReleaseApproval
    | KeepAlive | TakeLimits | Charge | KeepArguments | ClaimLeg | AwaitConnection
)  # fmt: skip
Effects = tuple[Effect, ...]


# -- events: what happened (upstream events are those of upstreams.exchange) ----------------------------------------


class IntentDurable(msgspec.Struct, frozen=True):
    """The record of the intent is on stable storage."""


class OutcomeDurable(msgspec.Struct, frozen=True):
    """The record of the outcome is on stable storage (or accepted, where the tenant chose `relaxed`)."""


class RecordFailed(msgspec.Struct, frozen=True):
    """A record could not be made durable."""


class Filed(msgspec.Struct, frozen=True):
    """The approval that the call waits for."""

    approval: Approval


class Decided(msgspec.Struct, frozen=True):
    """The approval, or what it depends on, may have changed: all of it as it is now."""

    approval: Approval
    snapshot: Snapshot
    caller: Caller


class Connected(msgspec.Struct, frozen=True):
    """The person has connected an account: all that the call depends on, as it is now."""

    snapshot: Snapshot
    caller: Caller


class Claimed(msgspec.Struct, frozen=True):
    """Whether this call got the one use of its approval."""

    ok: bool


class StillWaiting(msgspec.Struct, frozen=True):
    """A few more seconds without a decision; `count` rises."""

    count: int


class HoldOver(msgspec.Struct, frozen=True):
    """The client will not wait much longer, or the gateway shuts down."""


class LimitsTaken(msgspec.Struct, frozen=True):
    """The call is counted."""

    takes: tuple[Take, ...]


class LimitReached(msgspec.Struct, frozen=True):
    """The limit of a rule is used up, and nothing was counted."""

    rule: str
    retry_s: float


class CannotGoOn(msgspec.Struct, frozen=True):
    """A parked call has to end."""

    refused: Refused


class StartFailed(msgspec.Struct, frozen=True):
    """The exchange could not be started; nothing was sent."""

    refused: Refused


class InputsGiven(msgspec.Struct, frozen=True):
    """Answers of the client by the key of the question: raw `{"result":…}` or `{"error":…}`."""

    replies: dict[str, bytes] = {}


class Cancelled(msgspec.Struct, frozen=True):
    """The client asked for the end of this call, or a modern client closed the stream."""


class PeerLost(msgspec.Struct, frozen=True):
    """A handshake-era client's stream broke. That is not a cancellation (2025-06-18, streamable HTTP)."""
