"""Putting something else in the place of what was found. Pure.

What stands there afterwards says of which kind it was, is never found again, and so stays what it is when a text is
redacted once more. Fail closed: what cannot be told apart is replaced whole.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from callgate.dlp.engine import Match, matches

ACTIONS = ("mask", "partial", "hash", "remove")
NAMED = "named_member"  # stands for a detector where the name of a member says what is to be replaced
_SHOWN = 4  # characters that `partial` leaves
_HASH = 16  # hexadecimal digits
Mac = Callable[[bytes], bytes]
Path = Any  # a compiled pattern of google-re2, which has no types


class Redaction(msgspec.Struct, frozen=True):
    """What to do with values: those of `detectors` and `kinds` (both empty: of all, unless there are `members`), and
    whatever stands under one of `members` (names, in lower case); `allowed` is left alone.

    `action` is one of ACTIONS. `mac` is the tenant's keyed hash, for `hash`; `allowed` are exact values, or for e-mail
    addresses `@domain`, in lower case.
    """

    action: str = "mask"
    detectors: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    paths: tuple[Path, ...] = ()  # of places that are replaced whole (dlp/paths.py)
    mac: Mac | None = None

    def wants(self, match: Match, value: str) -> bool:
        """Whether a value is to be replaced."""
        if match.detector != NAMED and not self._names(match):
            return False
        low = value.lower()
        return low not in self.allowed and f"@{low.rpartition('@')[2]}" not in self.allowed

    def _names(self, match: Match) -> bool:
        if not (self.detectors or self.kinds):
            return not (self.members or self.paths)
        return match.detector in self.detectors or match.kind in self.kinds

    def instead(self, match: Match, value: str) -> str:
        """What stands in its place."""
        if self.action == "remove":
            return ""
        if self.action == "hash" and self.mac is not None:
            digest = self.mac(value.encode("utf-8", "surrogatepass")).hex()
            return f"[{match.detector}#{digest[:_HASH]}]"
        if self.action == "partial" and len(value) >= 4 * _SHOWN:
            return f"[{match.detector}…{value[-_SHOWN:]}]"
        return f"[REDACTED:{match.detector}]"


def redacted(text: str, how: Redaction) -> tuple[str, tuple[Match, ...]]:
    """The text with its values replaced, and what was replaced (its places are those of the original).

    Raises `engine.TooMany`.
    """
    return replaced(text, matches(text), how)


def replaced(text: str, found: Collection[Match], how: Redaction) -> tuple[str, tuple[Match, ...]]:
    """The text with those of these values replaced that are wanted, and which they are."""
    done = tuple(one for one in found if how.wants(one, text[one.start : one.end]))
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
