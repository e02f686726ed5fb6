"""What one call takes of a limit. Amounts are whole numbers of millionths, so that sums are exact."""

import msgspec

MILLION = 1_000_000


class Take(msgspec.Struct, frozen=True):
    """One limit that counts a call. `key` is a keyed hash of the rule and of the values that it counts by; an `amount`
    of 0 is charged when the call is over, and needs that something is left."""

    rule: str
    key: str
    kind: str  # rate | concurrency | cost
    most: int
    amount: int
    window_s: float
    window: int = 0  # number of the window that it was counted in


def millionths(amount: float) -> int:
    """An amount as a whole number of millionths."""
    return round(amount * MILLION)
