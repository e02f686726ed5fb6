"""The life cycle of a definition: five statuses and every legal transition, pure.

    (new) → pending_review → trusted ⇄ drift_detected        any → blocked → only a reviewer leads out
                                 └──────→ removed → trusted again with the approved hash, else drift_detected

What vanished while it was blocked is `removed` once a reviewer lets it go (the store keeps whether it is listed).
Fail closed: blocked survives every observation; what is quarantined is never trusted; a changed hash is drift at once.
"""

from callgate.model.definition import (
    BLOCKED,
    DRIFT_DETECTED,
    PENDING_REVIEW,
    REMOVED,
    TRUSTED,
    Definition,
    Observed,
)


def next_status(current: Definition | None, observed: Observed | None) -> str:
    """The status after a complete observation. `observed` is None when the upstream no longer lists it.

    `current` is None at first sight.
    """
    if observed is None:
        return BLOCKED if current is not None and current.status == BLOCKED else REMOVED
    if current is None:
        return PENDING_REVIEW
    if current.status == BLOCKED:
        return BLOCKED
    if current.approved_full is None:
        return PENDING_REVIEW
    same = current.approved_full == observed.full and not observed.quarantined
    return TRUSTED if same else DRIFT_DETECTED
