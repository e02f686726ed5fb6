"""The canonical reading of a text: what a model makes of it, without the tricks that keep patterns from matching. Pure.

Escape sequences and invisible characters go, entities are decoded, compatibility forms and look-alike letters become
plain, letters that were spaced out come together, blanks and line ends become one blank. Case stays; so do honest
texts of every script (a joiner inside a Persian or Indic word goes, the word remains readable). Offsets are kept
throughout.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

from callgate.scanner.confusables import folds, plain
from callgate.scanner.lexicon import parted
from callgate.scanner.mapping import Edit, View, rewritten

# a control sequence, or only the opening of a string sequence: its text is read
_CONTROLS = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]|\x1b[\\]PX^_]|\x1b[ -/]{0,4}[0-~]|[\x00-\x08\x0e-\x1f\x7f]"
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_MARKS = re.compile("(.)([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+)", re.DOTALL)
_BROKEN = re.compile(r"(?<=[^\W\d_])-[ \t]*\r?\n[ \t]*(?=[^\W\d_])")
_LETTER = r"[^\W\d_]"
_BETWEEN = r"[ \t\n.\-_*|·•,/\\+~:;'\"^=]"
_SPACED = re.compile(rf"(?<![^\W_]){_LETTER}(?P<gap>{_BETWEEN}{{1,2}})(?:{_LETTER}(?P=gap)){{3,}}{_LETTER}(?![^\W_])")
_SPACED_SHORT = re.compile(rf"(?<![^\W_]){_LETTER}(?P<gap>{_BETWEEN}{{1,2}})(?:{_LETTER}(?P=gap))*{_LETTER}(?![^\W_])")
_BLANKS = re.compile(r"\s\s+")
_LINES = str.maketrans(dict.fromkeys("\t\n\r\f\v", " "))
_SURE = 5  # letters in a row that are set apart on purpose
_TOGETHER = 13  # letters in a row that are more than one word


def canonical(view: View) -> View:
    """The view as it is read. Idempotent but for entities of entities, which are decoded twice."""
    if "\x1b" in view.text or not view.text.isprintable():
        view = rewritten(view, [(*match.span(), "") for match in _CONTROLS.finditer(view.text)])
    for _round in range(2):
        if "&" in view.text:
            view = _entities(view)
    if not view.text.isascii():
        view = _unicode(view)
    view = rewritten(view, [(*match.span(), "") for match in _BROKEN.finditer(view.text)] if "-" in view.text else ())
    view = rewritten(view, _together(view.text))
    text = view.text.translate(_LINES)
    if text != view.text:
        view = View(text, view.how, view.origin)
    return rewritten(view, [(*match.span(), " ") for match in _BLANKS.finditer(text)] if "  " in text else ())


def _entities(view: View) -> View:
    return rewritten(view, [(*match.span(), html.unescape(match[0])) for match in _ENTITY.finditer(view.text)])


def _unicode(view: View) -> View:
    text = view.text
    changed = {char: new for char in set(text) if char > "\x7f" and (new := plain(char)) != char}
    if changed:
        edits = [(at, at + 1, changed[char]) for at, char in enumerate(text) if char in changed]
        view = rewritten(view, _joined(edits))
    view = rewritten(view, _unmarked(view.text))
    return rewritten(view, folds(view.text))


def _joined(edits: list[Edit]) -> Iterator[Edit]:
    """Removals that stand beside each other as one: a thousand invisible characters are one segment."""
    held: Edit | None = None
    for edit in edits:
        if held is not None and not held[2] and not edit[2] and held[1] == edit[0]:
            held = (held[0], edit[1], "")
            continue
        if held is not None:
            yield held
        held = edit
    if held is not None:
        yield held


def _unmarked(text: str) -> list[Edit]:
    """Letters with marks as one character where there is one; piles and marks that make no letter are dropped."""
    edits = []
    for match in _MARKS.finditer(text):
        base, marks = match.groups()
        whole = unicodedata.normalize("NFC", base + marks[:2])
        edits.append((*match.span(), whole if len(marks) <= 2 and len(whole) == 1 else base))
    return edits


def _together(text: str) -> list[Edit]:
    """Words whose letters were set apart, brought together; and parted again where the blanks were lost with it."""
    if not _SPACED.search(text):
        return []
    edits = []
    matches = list(_SPACED_SHORT.finditer(text))
    ends = [0, *(match.end() for match in matches)]
    starts = [*(match.start() for match in matches), len(text)]
    for at, match in enumerate(matches):
        word = match[0][0 :: 1 + len(match["gap"])]
        beside = text[ends[at] : match.start()].isspace() or text[match.end() : starts[at + 1]].isspace()
        if len(word) >= _SURE or beside:  # two letters alone are a word only in a row of such words
            edits.append((*match.span(), " ".join(parted(word)) if len(word) >= _TOGETHER else word))
    return edits
