"""Audit events. By their types they cannot hold a payload: row ids, names out of the catalogue, enumerations, counts,
times and keyed hashes only (promise 4). A name that did not come out of the catalogue is recorded as a keyed hash and
a length, never in clear.
"""

import msgspec

OUTCOMES = (
    "result",  # the upstream's result reached the edge
    "tool_error",  # a result with isError: true
    "rpc_error",  # the upstream answered with a JSON-RPC error
    "task",  # the upstream works on it as a task; its requests go on with this one
    "input_required",  # this leg ended by asking the client for input
    "withheld",  # the upstream answered, and a rule keeps the answer back
    "refused",  # a stage said no; `code` says which
    "cancelled",
    "upstream_failed",  # no usable answer; `code` says how
    "abandoned",  # the client went away
    "unknown",  # the gateway died with this call open (written at replay)
)


class Intent(msgspec.Struct, frozen=True, tag="intent", array_like=True):
    """Durable before the upstream sees the call. Times in microseconds since 1970; sizes in bytes."""

    id: str  # `cal_…`, one per request
    at: int
    tenant: str
    replica: str
    person: str
    agent: str | None
    client: str | None
    token: str
    method: str  # a method out of the known set, else "other"
    upstream: str | None  # row id
    definition: str | None  # row id
    fingerprint: str | None  # full hash that was checked
    decision: str  # effect
    rule: str | None
    ruleset: int
    era: str  # client's era
    args_bytes: int
    args_hash: str  # keyed hash of the canonical arguments, hex; "" where not computed
    unknown_name: str = ""  # keyed hash of a name that is not in the catalogue, hex
    unknown_name_length: int = 0
    continues: str | None = None  # id of the earlier leg
    shadow: str = ""  # `effect:rule` that shadow rules would have made of the decision
    seen: str = ""  # what rules found in the arguments: classes and counts, such as `email=2 host=1`
    approval: str | None = None  # row id of the approval that it waits for or goes on with


class Outcome(msgspec.Struct, frozen=True, tag="outcome", array_like=True):
    """Durable before the agent sees the end of the answer."""

    id: str  # the intent's id
    at: int
    tenant: str
    outcome: str
    code: str = ""  # a code of the error table
    result_bytes: int = 0
    duration_us: int = 0
    upstream_us: int = 0
    durability: str = "strict"
    verdict: str = ""  # what the rules on results decided: "" = nothing, else an effect
    verdict_rule: str | None = None
    result_seen: str = ""  # what rules found in the answer: classes and counts
    cost: int = 0  # millionths


class Change(msgspec.Struct, frozen=True, tag="change", array_like=True):
    """An administrative change, written in the same transaction as the change itself."""

    id: str
    at: int
    tenant: str
    actor: str  # person row id or `operator:<uid>`
    action: str  # `<resource>.<verb>` of the permission table
    subject: str  # row id
    before: str = ""  # a fingerprint or status, never free text
    after: str = ""


Event = Intent | Outcome | Change
