"""Where secrets and personal data stand in a text. Pure; linear in its length.

Fail closed: a text with more values than are listed raises `TooMany`, so that it is never passed on half redacted.
"""

from collections.abc import Iterator

import msgspec

from callgate.dlp.tables import SECRET, Detector, Tables, tables

MOST = 100_000  # values of one text
_AROUND = 60  # characters before and after a value that a check sees
LONGEST = 16 * 1024  # bytes from the beginning of a value to the mark that ends it
_CLOSING = 80  # bytes of the line with that mark


class TooMany(Exception):
    """A text holds more values than can be listed."""


class Match(msgspec.Struct, frozen=True):
    """A value at its place. `start` and `end` count characters (code points); `kind` is `secret` or `personal`."""

    detector: str
    kind: str
    start: int
    end: int


def matches(text: str) -> tuple[Match, ...]:
    """All values by place, none within another: of two that overlap a secret counts, else the longer one. Raises
    `TooMany`."""
    data = text.encode("utf-8", "replace")  # a lone surrogate becomes one character
    known = tables()
    found = [one for at in known.likely(data) for one in _found(known, at, data)]
    return _placed(_apart(found), data)


def _found(known: Tables, at: int, data: bytes) -> Iterator[tuple[int, int, int, Detector]]:
    """(start, end, place of the detector, detector), in bytes."""
    detector, pattern, check = known.detectors[at], known.patterns[at], known.checks[at]
    group = 1 if pattern.groups else 0
    number = begin = 0
    # what ends one value may be what the next one begins after, so a search goes on from the value itself
    while (hit := pattern.search(data, begin)) is not None:
        start, end = hit.span(group)
        if detector.until:
            end = _closed(data, end, detector.until.encode())
        before = data[max(0, start - _AROUND) : start].decode("utf-8", "ignore").rpartition("\n")[2]
        after = data[end : end + _AROUND].decode("utf-8", "ignore").partition("\n")[0]
        begin = end
        if check(data[start:end].decode("utf-8", "replace"), before, after):
            yield start, end, at, detector
            number += 1
            if number > MOST:
                raise TooMany
        elif detector.overlapping:
            begin = start + 1


def _closed(data: bytes, begun: int, until: bytes) -> int:
    """Where a value ends that a mark ends: after the dashes that close the mark's line, else with what is there."""
    last = data.find(until, begun, begun + LONGEST)
    if last < 0:
        return min(len(data), begun + LONGEST)
    closed = data.find(b"-----", last + len(until), last + _CLOSING)
    return closed + 5 if closed >= 0 else last


def _apart(found: list[tuple[int, int, int, Detector]]) -> list[tuple[int, int, Detector]]:
    """Without overlaps: a secret goes before personal data, then the longer value, then what the tables name first."""
    kept: list[tuple[int, int, int, Detector]] = []
    for one in sorted(found, key=lambda one: (one[0], -one[1], one[2])):
        while kept and one[0] < kept[-1][1] and _weight(one) > _weight(kept[-1]):
            kept.pop()
        if not kept or one[0] >= kept[-1][1]:
            kept.append(one)
    return [(start, end, detector) for start, end, _, detector in kept]


def _weight(one: tuple[int, int, int, Detector]) -> tuple[bool, int]:
    return (one[3].kind == SECRET, one[1] - one[0])


def _placed(found: list[tuple[int, int, Detector]], data: bytes) -> tuple[Match, ...]:
    """The same in characters."""
    placed = []
    at = characters = 0
    for start, end, detector in found:
        characters += len(data[at:start].decode())
        begun = characters
        characters += len(data[start:end].decode())
        at = end
        placed.append(Match(detector.id, detector.kind, begun, characters))
    return tuple(placed)
