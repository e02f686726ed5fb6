"""Putting something else in the place of what was found. Pure.

What stands there afterwards says of which kind it was, is never found again, and so stays what it is when a text is
redacted once more. Fail closed: what cannot be told apart is replaced whole.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection

import msgspec

from callgate.dlp.engine import Match, matches

ACTIONS = ("mask", "partial", "hash", "remove")
_SHOWN = 4  # characters that `partial` leaves
_HASH = 16  # hexadecimal digits
Replace = Callable[[Match, str], str]


class Redaction(msgspec.Struct, frozen=True):
    """What to do with values: of which detectors (empty = all) and kinds (empty = both), and what to leave alone.

    `action` is one of ACTIONS. `key` is the tenant's, for `hash`; `allowed` are exact values, or for e-mail addresses
    `@domain`, in lower case.
    """

    action: str = "mask"
    detectors: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    key: bytes = b""

    def wants(self, match: Match, value: str) -> bool:
        """Whether a value is to be replaced."""
        if self.detectors and match.detector not in self.detectors:
            return False
        if self.kinds and match.kind not in self.kinds:
            return False
        low = value.lower()
        return low not in self.allowed and f"@{low.rpartition('@')[2]}" not in self.allowed

    def instead(self, match: Match, value: str) -> str:
        """What stands in its place."""
        if self.action == "remove":
            return ""
        if self.action == "hash":
            digest = hmac.new(self.key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
            return f"[{match.detector}#{digest[:_HASH]}]"
        if self.action == "partial" and len(value) >= 4 * _SHOWN:
            return f"[{match.detector}…{value[-_SHOWN:]}]"
        return f"[REDACTED:{match.detector}]"


def redacted(text: str, how: Redaction) -> tuple[str, tuple[Match, ...]]:
    """The text with its values replaced, and what was replaced (its places are those of the original).

    Raises `engine.TooMany`.
    """
    done = tuple(one for one in matches(text) if how.wants(one, text[one.start : one.end]))
    if not done:
        return text, ()
    parts, at = [], 0
    for one in done:
        parts += [text[at : one.start], how.instead(one, text[one.start : one.end])]
        at = one.end
    return "".join((*parts, text[at:])), done


def counted(found: Collection[Match]) -> dict[str, int]:
    """How many of each detector: all that an audit may hold."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.detector] = counts.get(one.detector, 0) + 1
    return counts
