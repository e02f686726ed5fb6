"""The one table of errors: stable code, HTTP status, JSON-RPC code, and the sentence a reader can act on.

`Refused` is raised by any stage or resource and turned into an answer by the edge that has the connection. Fail
closed: an error that is not in this table becomes `internal`, a refusal that says nothing of its cause. Sentences
never hold payload, a secret or a stack trace. Codes of our own stand outside -32768 to -32000, as the specification
asks (2026-07-28, /basic/index "Error Codes").
"""

from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row: `http` status, `rpc` JSON-RPC code, `policy` when an agent gets it as a tool result (design §5)."""

    code: str
    http: int
    rpc: int
    sentence: str
    policy: bool = False


_TABLE = (
    # protocol faults
    ErrorKind("parse_error", 400, -32700, "The body is not valid JSON."),
    ErrorKind("invalid_request", 400, -32600, "The body is not a valid JSON-RPC 2.0 message."),
    ErrorKind("invalid_params", 400, -32602, "The parameters of this request are not valid."),
    ErrorKind("method_not_found", 404, -32601, "This method is not offered here."),
    ErrorKind("header_mismatch", 400, -32020, "A header does not say the same as the body."),
    ErrorKind("missing_client_capability", 400, -32021, "The client did not declare a capability this needs."),
    ErrorKind("unsupported_version", 400, -32022, "This protocol version is not supported."),
    ErrorKind("session_not_found", 404, -32001, "This session is unknown or has expired; initialize again."),
    ErrorKind("not_acceptable", 406, -32600, "Accept must allow application/json and text/event-stream."),
    ErrorKind("unsupported_media_type", 415, -32600, "Content-Type must be application/json."),
    ErrorKind("body_too_large", 413, -32600, "The body is larger than this gateway accepts."),
    ErrorKind("body_too_deep", 400, -32600, "The JSON is nested deeper than this gateway accepts."),
    ErrorKind("method_not_allowed", 405, -32600, "This HTTP method is not allowed here."),
    ErrorKind("bad_host", 421, -32600, "This host name is not served here; set CALLGATE_ALLOWED_HOSTS to allow it."),
    ErrorKind("bad_origin", 403, -32600, "Requests from this web origin are not allowed."),
    # identity
    ErrorKind("auth_required", 401, -31001, "An access token is required; ask an admin for one."),
    ErrorKind("invalid_token", 401, -31001, "The access token is unknown, revoked or expired."),
    ErrorKind("person_inactive", 401, -31001, "The person this token belongs to has been deactivated."),
    ErrorKind("forbidden", 403, -31003, "You do not have the permission this needs."),
    ErrorKind("insufficient_scope", 403, -31003, "The client was allowed less than this call needs."),
    ErrorKind("too_many_attempts", 429, -31003, "Too many attempts; try again later."),
    ErrorKind("sign_in_failed", 403, -31001, "The sign-in did not work; begin again."),
    ErrorKind("too_many_streams", 429, -31003, "You have too many streams open; close some first."),
    # the path of a call
    ErrorKind("unknown_tool", 200, -32602, "There is no tool of this name here; list the tools again."),
    ErrorKind("unknown_prompt", 200, -32602, "There is no prompt of this name here; list the prompts again."),
    ErrorKind("unknown_resource", 200, -32602, "There is no such resource here; list the resources again."),
    ErrorKind("unknown_task", 200, -32602, "There is no such task here; its time may be over."),
    ErrorKind(
        "tool_not_trusted", 200, -31003, "This tool is waiting for a review and cannot be called yet.", policy=True
    ),
    ErrorKind("denied_by_rule", 200, -31003, "A rule does not allow this call.", policy=True),
    ErrorKind(
        "rule_failed",
        200,
        -31003,
        "A rule could not be evaluated, so this call was refused; tell an admin.",
        policy=True,
    ),
    ErrorKind("result_withheld", 200, -31003, "A rule withholds what the server answered.", policy=True),
    ErrorKind("limit_reached", 200, -31003, "A rule's limit is used up for now; try again later.", policy=True),
    ErrorKind("approval_pending", 200, -31003, "A person has to approve this call first.", policy=True),
    ErrorKind("approval_denied", 200, -31003, "A reviewer did not approve this call.", policy=True),
    ErrorKind("approval_expired", 200, -31003, "Nobody approved this call in time.", policy=True),
    ErrorKind("too_many_calls", 200, -31003, "You have too many calls in flight; wait for one to end.", policy=True),
    ErrorKind("upstream_unavailable", 200, -31004, "The server behind this tool cannot be reached now.", policy=True),
    ErrorKind(
        "connection_required", 200, -31004, "You have to connect your account at this server first.", policy=True
    ),
    ErrorKind("credential_refused", 200, -31004, "The server behind this tool refused the credential.", policy=True),
    ErrorKind("upstream_timeout", 200, -31004, "The server behind this tool did not answer in time.", policy=True),
    ErrorKind(
        "upstream_broke_off", 200, -31004, "The server behind this tool broke off; it may have run.", policy=True
    ),
    ErrorKind("upstream_invalid", 200, -31004, "The server behind this tool gave an invalid answer.", policy=True),
    ErrorKind("upstream_too_large", 200, -31004, "The answer is larger than this gateway passes on.", policy=True),
    ErrorKind("not_recorded", 503, -31005, "The audit cannot record this call now, so it was refused.", policy=True),
    ErrorKind("store_unavailable", 503, -31005, "The store cannot be reached now; try again soon."),
    ErrorKind("keys_unavailable", 503, -31005, "The key service does not answer now; try again soon.", policy=True),
    ErrorKind(
        "keys_refused",
        503,
        -31005,
        "The key service does not open the stored secrets any more; tell the operator of this gateway.",
        policy=True,
    ),
    ErrorKind("keys_destroyed", 410, -31005, "The secrets of this company were destroyed for good.", policy=True),
    ErrorKind("cancelled", 200, -32800, "The call was cancelled."),
    ErrorKind("internal", 500, -32603, "The gateway failed; the call was refused and recorded.", policy=True),
    # control
    ErrorKind("not_found", 404, -32602, "There is no such thing here."),
    ErrorKind("conflict", 409, -32602, "This already exists or has changed since you looked."),
    ErrorKind("last_admin", 409, -32602, "This is the last active admin; make somebody else an admin first."),
    ErrorKind("stale_hash", 409, -32602, "The tool has changed since this hash was shown; look at the new diff first."),
    ErrorKind(
        "two_person_review",
        403,
        -31003,
        "Two people have to approve here, and the operator is none: use --url and the token of a reviewer.",
    ),
    ErrorKind("tests_failed", 409, -32602, "The stored tests of the rules do not pass."),
    ErrorKind("connection_failed", 409, -31004, "The connection could not be made."),
    ErrorKind("validation", 422, -32602, "Some values are not valid."),
    ErrorKind("unsafe_target", 422, -32602, "This address is not allowed as an upstream."),
    ErrorKind("operator_only", 403, -31003, "Only the operator of this gateway may do this."),
    # start-up
    ErrorKind("bad_setting", 500, -32603, "A setting is not valid."),
    ErrorKind("schema_too_new", 500, -32603, "The database was written by a newer Callgate; upgrade this one."),
    ErrorKind("data_dir_in_use", 500, -32603, "Another Callgate uses this data directory."),
    ErrorKind("port_in_use", 500, -32603, "The port is taken by another program."),
)

ERRORS = MappingProxyType({kind.code: kind for kind in _TABLE})


class CallgateError(Exception):
    """Base of every error that this project raises on purpose."""


@dataclass(eq=False)
class Refused(CallgateError):
    """A refusal with a code of the table.

    `detail` is a sentence for the reader in place of the table's own; it must name no payload.
    `data` are machine fields (JSON values) for the JSON-RPC `error.data`, the problem document or
    `_meta["callgate/decision"]`.
    """

    code: str
    detail: str = ""
    data: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.code, self.detail)

    @property
    def kind(self) -> ErrorKind:
        return ERRORS.get(self.code, ERRORS["internal"])

    @property
    def sentence(self) -> str:
        return self.detail or self.kind.sentence

    def __str__(self) -> str:
        return self.sentence
