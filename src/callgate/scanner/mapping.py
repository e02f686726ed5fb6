"""Texts that were rewritten, and the way back to the characters they came from. Pure.

A rewritten text is a row of segments: kept ones map character by character, replaced ones as a whole, reversed ones
from the end. Layers are chained, never multiplied out: an edit costs one segment whatever lies below it.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

Edit = tuple[int, int, str]  # start, end, what stands there instead


# Where a stretch came from: start, end, step (1 kept, 0 replaced as a whole, -1 reversed), whether it was decoded.
# A plain tuple: a hostile text makes hundreds of thousands.
Segment = tuple[int, int, int, bool]


class Origin(msgspec.Struct, frozen=True):
    """One layer: the first character of each segment, the segments, and the layer below (None: the original)."""

    starts: tuple[int, ...]
    segments: tuple[Segment, ...]
    length: int
    below: "Origin | None" = None

    def back(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the text below that `start` to `end` came from."""
        if not self.segments:
            return 0, 0
        first, last = self._at(start), self._at(max(start, end - 1))
        one = self._within(first, start, end)
        other = self._within(last, start, end)
        return min(one[0], other[0]), max(one[1], other[1])

    def new(self, start: int, end: int) -> bool:
        """Whether any of it was decoded in this layer."""
        if not self.segments or start >= end:
            return False
        return any(self.segments[at][3] for at in range(self._at(start), self._at(end - 1) + 1))

    def _at(self, position: int) -> int:
        return max(0, bisect_right(self.starts, position) - 1)

    def _within(self, at: int, start: int, end: int) -> tuple[int, int]:
        (first, last, step, _), begins = self.segments[at], self.starts[at]
        if step == 0:
            return first, last
        size = last - first
        low, high = min(max(start - begins, 0), size), min(max(end - begins, 0), size)
        if step > 0:
            return first + low, first + max(low, high)
        return last - max(low, high), last - low


class View(msgspec.Struct, frozen=True):
    """A reading of a text. `how` names the steps that were decoded, () for the canonical reading; `cut`, on the first
    view of a text, says in a sentence why there are not more readings, "" where there is nothing more."""

    text: str
    how: tuple[str, ...] = ()
    origin: Origin | None = None
    cut: str = ""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original text that `text[start:end]` came from."""
        end = min(max(end, 0), len(self.text))
        start = min(max(start, 0), end)
        layer = self.origin
        while layer is not None:
            start, end = layer.back(start, end)
            layer = layer.below
        return start, end

    def new(self, start: int, end: int) -> bool:
        """Whether any of `text[start:end]` cannot be read as it stands: the rest is context, and read elsewhere."""
        layer = self.origin
        while layer is not None:
            if layer.new(start, end):
                return True
            start, end = layer.back(start, end)
            layer = layer.below
        return False


def rewritten(view: View, edits: Iterable[Edit], step: str = "") -> View:
    """A view with edits made, in the order of their places and without overlap; unchanged without any. `step` is the
    name of the decoding that the edits are, "" where they only tidy up."""
    text = view.text
    pieces: list[str] = []
    starts: list[int] = []
    segments: list[Segment] = []
    at = length = 0
    new = bool(step)
    for start, end, instead in edits:
        if start > at:
            pieces.append(text[at:start])
            starts.append(length)
            segments.append((at, start, 1, False))
            length += start - at
        if instead:
            pieces.append(instead)
            starts.append(length)
            segments.append((start, end, 0, new))
            length += len(instead)
        at = end
    if at == 0:
        return view
    if at < len(text):
        pieces.append(text[at:])
        starts.append(length)
        segments.append((at, len(text), 1, False))
        length += len(text) - at
    origin = Origin(tuple(starts), tuple(segments), length, view.origin)
    return View("".join(pieces), (*view.how, step) if step else view.how, origin)


def excerpts(view: View, edits: list[Edit], step: str, around: int = 80) -> View:
    """Only what was decoded, each with `around` characters of what stands beside it: a long text is not read again for
    a short secret in it."""
    kept: list[Edit] = []
    at = 0  # what stands in front of it is kept or dropped already
    for start, end, instead in edits:
        if start - around > at:
            kept.append((at, start - around, "\n" if at else ""))
        kept.append((start, end, instead))
        at = end + around
    if kept and at < len(view.text):
        kept.append((at, len(view.text), ""))
    return rewritten(view, kept, step)


def reversal(view: View, start: int, end: int, step: str) -> View:
    """`text[start:end]` from its end to its beginning."""
    return View(
        view.text[start:end][::-1], (*view.how, step), Origin((0,), ((start, end, -1, True),), end - start, view.origin)
    )


def respelt(view: View, start: int, end: int, instead: str, step: str) -> View:
    """`text[start:end]` with each letter exchanged for another: `instead` has the same length."""
    return View(instead, (*view.how, step), Origin((0,), ((start, end, 1, True),), end - start, view.origin))
