"""One line of the audit as people read it: a call with its outcome, or an administrative change.

Made of the fields of the events and nothing else, so it cannot hold a payload either (promise 4).
"""

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Times in microseconds since 1970, sizes in bytes. Of a change, only the last five and the first four are set.

    `outcome` is None while a call is open. `at` is when the call came in, `ended_at` when its outcome was recorded.
    """

    kind: str  # call | change
    id: str
    at: int
    tenant: str
    replica: str | None = None
    person: str | None = None
    agent: str | None = None
    client: str | None = None
    token: str | None = None
    method: str | None = None
    upstream: str | None = None
    definition: str | None = None
    fingerprint: str | None = None
    decision: str | None = None
    rule: str | None = None
    ruleset: int | None = None
    era: str | None = None
    args_bytes: int | None = None
    args_hash: str | None = None
    unknown_name: str | None = None
    unknown_name_length: int | None = None
    continues: str | None = None
    shadow: str | None = None
    seen: str | None = None
    approval: str | None = None
    ended_at: int | None = None
    outcome: str | None = None
    code: str | None = None
    result_bytes: int | None = None
    duration_us: int | None = None
    upstream_us: int | None = None
    durability: str | None = None
    verdict: str | None = None
    verdict_rule: str | None = None
    result_seen: str | None = None
    cost: int | None = None
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    before: str | None = None
    after: str | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of the audit. `since` and `until` in microseconds since 1970 (from, up to but without)."""

    since: int | None = None
    until: int | None = None
    kind: str | None = None  # call | change
    person: str | None = None
    agent: str | None = None
    upstream: str | None = None
    definition: str | None = None
    decision: str | None = None
    outcome: str | None = None  # an outcome, or `open`
    code: str | None = None
    actor: str | None = None
    action: str | None = None
