"""Definitions: what an upstream says of a tool, prompt, resource, template or itself, and its status."""

import msgspec

from callgate.model.finding import rank

DEFINITION_KINDS = ("tool", "prompt", "resource", "template", "instructions", "server")

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
    name: str  # tool or prompt name, resource URI, URI template, or "" for instructions and the server itself
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
    approved_by: str = ""  # `review` or `trust_on_first_use`; "" while nothing is approved
    pinned: bytes | None = None  # the approved content, while agents get it in place of `raw` (promise 2, `pin`)
    worst: str = ""  # severity of the worst finding in the current content, "" without any
    risk: str = ""  # the same of the findings that nobody has acknowledged
    scanned: str = ""  # version of the scanner's rules that looked at the current content
    renamed_from: str | None = None  # row id of what had this body under another name
    seconded_full: str | None = None  # hash that a first reviewer approved, where two are needed
    seconded_by: str | None = None
    revision: int = 0

    @property
    def callable(self) -> bool:
        """Promise 2: exactly what was approved is what was last seen and is still offered; or, of a pinned tool, only
        texts changed, and agents still get the approved ones."""
        if not self.listed or self.quarantined:
            return False
        if self.status == TRUSTED:
            return self.approved_full == self.full
        return self.status == DRIFT_DETECTED and self.pinned is not None

    @property
    def usable(self) -> bool:
        """Whether a prompt, resource, template or instructions may be shown: these need no approval, but what changed
        after one is held back, and so is what has a high finding that nobody has acknowledged."""
        if not self.listed or self.quarantined or self.status in (BLOCKED, DRIFT_DETECTED, REMOVED):
            return False
        return self.status == TRUSTED or rank(self.risk) < rank("high")

    @property
    def offered(self) -> bytes:
        """The content that agents get."""
        return self.raw if self.pinned is None else self.pinned

    @property
    def fingerprint(self) -> str:
        """The full hash of what agents get."""
        return self.full if self.pinned is None else self.approved_full or self.full
