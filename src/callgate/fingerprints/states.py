"""The life cycle of a definition: five statuses and every legal transition, pure.

    (new) → pending_review → trusted ⇄ drift_detected        any → blocked → only a reviewer leads out
                                 └──────→ removed → trusted again with the approved hash, else drift_detected

Fail closed: blocked survives every observation; what is quarantined is never trusted; a changed hash is drift at once.
"""

from callgate.errors import Refused
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


def after_approval(current: Definition, shown: str) -> str:
    """The status after a reviewer approved the hash that was on the screen.

    Raises `Refused`: stale_hash (the tool has changed since), conflict (quarantined or removed).
    """
    if current.quarantined:
        raise Refused("conflict", f"This tool can never be approved: {current.quarantined}.")
    if current.full != shown:
        raise Refused("stale_hash", data={"shown": shown, "now": current.full})
    if current.status == REMOVED:
        raise Refused("conflict", "The upstream no longer offers this tool; there is nothing to approve.")
    return TRUSTED


def after_block(current: Definition) -> str:
    """The status after a reviewer blocked it: from any status, until a reviewer approves it again."""
    del current
    return BLOCKED


def after_identity_change(current: Definition) -> str:
    """The status after the upstream became another one (other URL or command line): back to review."""
    return current.status if current.status in (BLOCKED, REMOVED) else PENDING_REVIEW
