"""Time and randomness: the only place that reads a clock or the system's random source.

Everything else takes these functions (or values made from them), so that tests decide what time it is.
"""

import os
import secrets
import time
from datetime import UTC, datetime


def now() -> float:
    """Wall-clock time, seconds since 1970-01-01 UTC."""
    return time.time()


def now_us() -> int:
    """Wall-clock time, whole microseconds since 1970-01-01 UTC (the unit of the audit)."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()


def utc(seconds: float) -> datetime:
    """An aware UTC datetime for a wall-clock time in seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: float) -> str:
    """A wall-clock time in seconds as ISO 8601 in UTC, with milliseconds."""
    return utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def random_bytes(count: int) -> bytes:
    """Unpredictable bytes from the operating system."""
    return os.urandom(count)


def random_urlsafe(count: int) -> str:
    """Unpredictable text of `[A-Za-z0-9_-]`, made from `count` random bytes."""
    return secrets.token_urlsafe(count)
