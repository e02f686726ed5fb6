"""Aligns two sequences of tokens in bounded time: what they share, in order.

Patience diff (Bram Cohen): tokens that occur once on both sides are anchors, their longest increasing run holds, and
the gaps between are aligned likewise; small gaps without anchors by a table of longest common subsequences. All work
is charged to one budget; when it is spent, the rest counts as different, and the caller is told.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

_TABLE = 1_000_000  # cells of one table


class Budget(msgspec.Struct):
    """Steps that may still be spent; `coarse` once a comparison had to be given up."""

    steps: int = 4_000_000
    coarse: bool = False

    def spend(self, steps: int) -> bool:
        """Whether there was enough left."""
        if steps > self.steps:
            self.coarse = True
            return False
        self.steps -= steps
        return True


class _Gap(msgspec.Struct, frozen=True):
    """Half-open ranges of both sides."""

    a: int
    a_end: int
    b: int
    b_end: int


def pairs(one: Sequence[str], other: Sequence[str], budget: Budget) -> list[tuple[int, int]]:
    """Indexes of equal tokens, rising on both sides."""
    found: list[tuple[int, int]] = []
    todo = [_Gap(0, len(one), 0, len(other))]
    while todo:
        gap = todo.pop()
        if not budget.spend(gap.a_end - gap.a + gap.b_end - gap.b):
            continue
        gap = _trimmed(one, other, gap, found)
        if gap.a == gap.a_end or gap.b == gap.b_end:
            continue
        anchors = _anchors(one, other, gap)
        if anchors:
            found.extend(anchors)
            todo.extend(_between(gap, anchors))
        else:
            found.extend(_common(one, other, gap, budget))
    return sorted(found)


def _trimmed(one: Sequence[str], other: Sequence[str], gap: _Gap, found: list[tuple[int, int]]) -> _Gap:
    """Without what both sides begin and end with."""
    a, a_end, b, b_end = gap.a, gap.a_end, gap.b, gap.b_end
    while a < a_end and b < b_end and one[a] == other[b]:
        found.append((a, b))
        a, b = a + 1, b + 1
    while a < a_end and b < b_end and one[a_end - 1] == other[b_end - 1]:
        a_end, b_end = a_end - 1, b_end - 1
        found.append((a_end, b_end))
    return _Gap(a, a_end, b, b_end)


def _anchors(one: Sequence[str], other: Sequence[str], gap: _Gap) -> list[tuple[int, int]]:
    left, right = Counter(one[gap.a : gap.a_end]), Counter(other[gap.b : gap.b_end])
    where = {other[at]: at for at in range(gap.b, gap.b_end) if right[other[at]] == 1}
    unique = [(at, where[one[at]]) for at in range(gap.a, gap.a_end) if left[one[at]] == 1 and one[at] in where]
    return _rising(unique)


def _rising(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run that rises on the right side too (patience sorting)."""
    tops: list[int] = []
    piles: list[int] = []
    before: list[int] = []
    for at, (_, right) in enumerate(found):
        pile = bisect_left(tops, right)
        before.append(piles[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(right)
            piles.append(at)
        else:
            tops[pile], piles[pile] = right, at
    run = []
    at = piles[-1] if piles else -1
    while at >= 0:
        run.append(found[at])
        at = before[at]
    return run[::-1]


def _between(gap: _Gap, anchors: list[tuple[int, int]]) -> Iterator[_Gap]:
    a, b = gap.a, gap.b
    for left, right in [*anchors, (gap.a_end, gap.b_end)]:
        if a < left and b < right:
            yield _Gap(a, left, b, right)
        a, b = left + 1, right + 1


def _common(one: Sequence[str], other: Sequence[str], gap: _Gap, budget: Budget) -> Iterator[tuple[int, int]]:
    """A longest common subsequence of a gap, unless its table is too large."""
    left, right = one[gap.a : gap.a_end], other[gap.b : gap.b_end]
    if not set(left) & set(right):
        return
    cells = len(left) * len(right)
    if cells > _TABLE or not budget.spend(cells):
        budget.coarse = True
        return
    table = _table(left, right)
    at, to = 0, 0
    while at < len(left) and to < len(right):
        if left[at] == right[to]:
            yield gap.a + at, gap.b + to
            at, to = at + 1, to + 1
        elif table[at + 1][to] >= table[at][to + 1]:
            at += 1
        else:
            to += 1


def _table(left: Sequence[str], right: Sequence[str]) -> list[list[int]]:
    """Lengths of the longest common subsequence of each pair of tails."""
    below = [0] * (len(right) + 1)
    rows = [below]
    for token in reversed(left):
        row = [0] * (len(right) + 1)
        for to in range(len(right) - 1, -1, -1):
            row[to] = below[to + 1] + 1 if token == right[to] else max(below[to], row[to + 1])
        rows.append(row)
        below = row
    return rows[::-1]
