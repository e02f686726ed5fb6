"""The readings of a text: its canonical form, then what it hides, decodes to or spells. Pure, linear, bounded.

A decoded view holds the decoded stretches with a little of what stands around them; `View.new` tells the two apart,
and `View.span` leads back to the characters of the original. What was decoded is read again the same way, twice at
most. Fail closed: where a bound is reached the first view says so in `cut`. Never raises, whatever the text.
"""

import re

from callgate.scanner.canonical import canonical
from callgate.scanner.decode import HIDDEN, VISIBLE, Decoder
from callgate.scanner.disguise import blanked, disguised, identifiers
from callgate.scanner.mapping import View, excerpts

__all__ = ("MAX_DECODED", "MAX_TEXT", "MAX_VIEWS", "View", "views")

MAX_VIEWS = 40
MAX_TEXT = 150_000  # characters of one text
MAX_DECODED = 300_000  # characters of all views but the first
_LAYERS = 2
_LONG = f"The text is longer than {MAX_TEXT:,} characters: the rest was not read."
_MANY = f"The text decodes to more than {MAX_VIEWS} texts or {MAX_DECODED:,} characters: not all of them were read."
_SIMPLE = re.compile(r"[A-Za-z0-9_.\-]{0,15}")
_INVISIBLE = re.compile("(?<=[A-Za-z])[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]+(?=[A-Za-z])")


def views(text: str) -> tuple[View, ...]:
    """The canonical reading (`how` is empty), then every other one that differs from it."""
    if _SIMPLE.fullmatch(text):
        return (View(text),)
    given = View(text[:MAX_TEXT])
    first = canonical(given)
    found = _Found(first, _LONG if len(text) > MAX_TEXT else "")
    found.hidden(given, 0)
    found.more(first, 0)
    return found.all()


class _Found:
    """Views as they are found, each text once."""

    def __init__(self, first: View, cut: str) -> None:
        self._views = [first]
        self._texts = {first.text}
        self._room = MAX_DECODED
        self._cut = cut

    def all(self) -> tuple[View, ...]:
        first = self._views[0]
        return (
            (View(first.text, first.how, first.origin, self._cut), *self._views[1:])
            if self._cut
            else tuple(self._views)
        )

    def hidden(self, given: View, layer: int) -> None:
        """What the canonical form removes."""
        if given.text.isascii():
            return
        for decoder in HIDDEN:
            self._decoded(given, decoder, layer + 1)
        apart = blanked(given, _INVISIBLE)
        if apart is not given:
            self._add(View(apart.text, (*given.how, "zero_width"), apart.origin), _LAYERS)

    def more(self, view: View, layer: int) -> None:
        """What a canonical view decodes to, and what that decodes to."""
        for decoder in VISIBLE:
            self._decoded(view, decoder, layer + 1)
        for other in disguised(view):
            self._add(other, layer + 1)
        self._add(identifiers(view), _LAYERS)

    def _decoded(self, view: View, decoder: Decoder, layer: int) -> None:
        step, worth, runs = decoder
        if worth.search(view.text) and (edits := list(runs(view.text))):
            self._add(excerpts(view, edits, step), layer)

    def _add(self, view: View, layer: int) -> None:
        if not view.how or view.text in self._texts:
            return
        if len(self._views) >= MAX_VIEWS or len(view.text) > self._room:
            self._cut = self._cut or _MANY
            return
        read = canonical(view)
        if read.text in self._texts:
            return
        self._texts.add(read.text)
        self._room -= len(read.text)
        self._views.append(read)
        if layer < _LAYERS:
            self.hidden(view, layer)
            self.more(read, layer)
