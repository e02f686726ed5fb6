"""Off-boarding: what was ended, and what vendors answered. Times: seconds since 1970."""

import msgspec

PENDING, REVOKED, REFUSED, NOT_POSSIBLE, BY_HAND = STATES = (
    "pending", "revoked", "refused", "not_possible", "by_hand",
)  # fmt: skip


class AgentLeft(msgspec.Struct, frozen=True):
    """An agent that somebody answered for: given to another person, or stopped."""

    name: str
    to: str | None  # e-mail


class Summary(msgspec.Struct, frozen=True):
    """How much was ended, or would be."""

    sessions: int = 0
    authorizations: int = 0
    tokens: int = 0
    parked_calls: int = 0
    local_account: bool = False
    agents: tuple[AgentLeft, ...] = ()
    upstreams: tuple[str, ...] = ()  # names of those whose grants ended


class Offboarding(msgspec.Struct, frozen=True):
    """One off-boarding as the store keeps it."""

    id: str  # `off_…`
    person: str
    actor: str
    at: float
    email: str
    cause: str
    summary: Summary


class Revocation(msgspec.Struct, frozen=True):
    """One grant that a vendor is, or was, told about."""

    id: str  # `rev_…`
    tenant: str
    person: str
    upstream: str
    upstream_name: str
    state: str
    answer: str
    due: float
    tries: int
    changed: float
    offboarding: str | None = None
    sealed: bytes | None = None
