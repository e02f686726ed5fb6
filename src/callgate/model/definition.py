"""Definitions: what an upstream says of a tool, prompt, resource, template or itself, and its status."""

import msgspec

DEFINITION_KINDS = ("tool", "prompt", "resource", "template", "instructions")

PENDING_REVIEW = "pending_review"
TRUSTED = "trusted"
DRIFT_DETECTED = "drift_detected"
BLOCKED = "blocked"
REMOVED = "removed"
STATUSES = (PENDING_REVIEW, TRUSTED, DRIFT_DETECTED, BLOCKED, REMOVED)


class Observed(msgspec.Struct, frozen=True):
    """One definition as just received: raw JSON bytes and its fingerprint (hex SHA-256).

    `quarantined` says why it can never be trusted (duplicate keys, invalid Unicode; then hashed over the raw bytes).
    """

    kind: str
    name: str  # tool or prompt name, resource URI, URI template, or "" for instructions
    raw: bytes
    core: str
    full: str
    quarantined: str = ""


class Observation(msgspec.Struct, frozen=True):
    """A complete list of everything one upstream offers at one time. There is no partial observation."""

    upstream: str
    definitions: tuple[Observed, ...]
    seen_at: float
    # kinds that could not be listed keep what was known (each list is treated apart); empty = all were listed
    unlisted: tuple[str, ...] = ()


class Definition(msgspec.Struct, frozen=True):
    """A definition as the catalogue keeps it: the last observation, its status, and what a reviewer approved."""

    id: str
    tenant: str
    upstream: str  # row id
    kind: str
    name: str
    public_name: str  # `<upstream>__<tool>`, unique per tenant and kind, never reused
    status: str
    raw: bytes
    core: str
    full: str
    approved_full: str | None = None
    quarantined: str = ""
    first_seen: float = 0.0
    last_seen: float = 0.0
    listed: bool = True  # the last complete observation of its kind named it
    revision: int = 0

    @property
    def callable(self) -> bool:
        """Promise 2: trusted, and exactly what the reviewer approved is what was last seen, and is still offered."""
        return self.status == TRUSTED and self.approved_full == self.full and self.listed and not self.quarantined
