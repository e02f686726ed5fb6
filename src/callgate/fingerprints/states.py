"""The life cycle of a definition: five statuses, every legal transition, who makes it and why. Pure.

    (new) → pending_review → trusted ⇄ drift_detected        any → blocked → only a reviewer leads out
                                 └──────→ removed → trusted again with the approved hash, else drift_detected

An upstream's terms are the two named exceptions: with `trust_on_first_use` a new definition without a finding of the
chosen severity is trusted at once; with `pin` agents keep the approved content of a tool of which only texts changed.
Fail closed: blocked survives every observation; what is quarantined is never trusted; a changed hash is drift at once.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from callgate.fingerprints.canonical import same_but_texts
from callgate.model.definition import (
    BLOCKED,
    DRIFT_DETECTED,
    PENDING_REVIEW,
    REMOVED,
    TRUSTED,
    Definition,
    Observed,
)
from callgate.model.finding import Finding, rank
from callgate.model.upstream import PIN, REVIEW, TRUST_ON_FIRST_USE

OBSERVATION, REVIEWER, CONFIGURATION = "observation", "reviewer", "configuration"

# (before, after; "" = not known yet) → who makes this transition
LEGAL: Mapping[tuple[str, str], frozenset[str]] = MappingProxyType(
    {
        ("", PENDING_REVIEW): frozenset({OBSERVATION}),
        ("", TRUSTED): frozenset({OBSERVATION}),  # trust_on_first_use alone
        (PENDING_REVIEW, TRUSTED): frozenset({REVIEWER}),
        (PENDING_REVIEW, BLOCKED): frozenset({REVIEWER}),
        (PENDING_REVIEW, REMOVED): frozenset({OBSERVATION}),
        (TRUSTED, DRIFT_DETECTED): frozenset({OBSERVATION}),
        (TRUSTED, REMOVED): frozenset({OBSERVATION}),
        (TRUSTED, BLOCKED): frozenset({REVIEWER}),
        (TRUSTED, PENDING_REVIEW): frozenset({CONFIGURATION}),  # the upstream became another program
        (DRIFT_DETECTED, TRUSTED): frozenset({OBSERVATION, REVIEWER}),
        (DRIFT_DETECTED, REMOVED): frozenset({OBSERVATION}),
        (DRIFT_DETECTED, BLOCKED): frozenset({REVIEWER}),
        (DRIFT_DETECTED, PENDING_REVIEW): frozenset({CONFIGURATION}),
        (BLOCKED, TRUSTED): frozenset({REVIEWER}),
        (BLOCKED, REMOVED): frozenset({REVIEWER}),  # it vanished while it was blocked
        (REMOVED, TRUSTED): frozenset({OBSERVATION}),
        (REMOVED, PENDING_REVIEW): frozenset({OBSERVATION}),
        (REMOVED, DRIFT_DETECTED): frozenset({OBSERVATION}),
        (REMOVED, BLOCKED): frozenset({REVIEWER}),
    }
)


class Terms(msgspec.Struct, frozen=True):
    """How an upstream's definitions come to be trusted. `below`: trusted at first use without a finding that severe."""

    mode: str = REVIEW
    below: str = "medium"


class Step(msgspec.Struct, frozen=True):
    """What follows from an observation. `cause` is why, "" when nothing happened."""

    status: str
    cause: str = ""
    approved_full: str | None = None
    approved_by: str = ""
    pinned: bytes | None = None


class Review(msgspec.Struct, frozen=True):
    """What a look brings beside the definitions: the upstream's terms, and what the scanner saw.

    `scans`: findings by (kind, name) of everything that is new, changed, or was scanned by other rules than `version`.
    """

    terms: Terms = Terms()
    version: str = ""
    scans: Mapping[tuple[str, str], tuple[Finding, ...]] = MappingProxyType({})


def first_sight(observed: Observed, terms: Terms, worst: str) -> Step:
    """The status of a definition that nobody knew. `worst`: severity of its worst finding, "" without any."""
    clean = not observed.quarantined and rank(worst) < rank(terms.below)
    if terms.mode == TRUST_ON_FIRST_USE and clean:
        return Step(TRUSTED, TRUST_ON_FIRST_USE, observed.full, TRUST_ON_FIRST_USE)
    return Step(PENDING_REVIEW, "appeared")


def seen_again(current: Definition, observed: Observed, terms: Terms, approved: bytes | None = None) -> Step:
    """The status of a known definition. `approved`: the content that a reviewer approved, where that is known."""
    same = current.approved_full == observed.full and not observed.quarantined
    pinned = None
    if current.status == BLOCKED:
        status = BLOCKED
    elif current.approved_full is None:
        status = PENDING_REVIEW
    elif same:
        status = TRUSTED
    else:
        status = DRIFT_DETECTED
        pinned = _pinned(current, observed, terms, approved)
    cause = _cause(current, observed, status, pinned)
    return Step(status, cause, current.approved_full, current.approved_by, pinned)


def vanished(current: Definition) -> Step:
    """The status of what a complete list no longer holds."""
    status = BLOCKED if current.status == BLOCKED else REMOVED
    cause = "vanished" if current.listed or status != current.status else ""
    return Step(status, cause, current.approved_full, current.approved_by)


def _pinned(current: Definition, observed: Observed, terms: Terms, approved: bytes | None) -> bytes | None:
    if terms.mode != PIN or current.kind != "tool" or approved is None or observed.quarantined:
        return None
    return approved if same_but_texts(approved, observed.raw) else None


def _cause(current: Definition, observed: Observed, status: str, pinned: bytes | None) -> str:
    if not current.listed:
        return "returned"
    if current.full != observed.full or current.quarantined != observed.quarantined:
        return "pinned" if pinned is not None else "restored" if status == TRUSTED else "changed"
    if pinned != current.pinned:
        return "pinned" if pinned is not None else "unpinned"
    return "" if status == current.status else "judged_again"
