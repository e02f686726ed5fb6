"""Words that were written so that patterns miss them: backwards, with letters exchanged, with digits for letters. Pure.

Nothing is guessed at random: a stretch is read another way only where several of its words then become words that
people use, or where the text itself says how to read it. Everything is linear in the length of the text.
"""

import re
from collections import defaultdict
from itertools import islice

from callgate.scanner.confusables import TURNED, unaccented
from callgate.scanner.lexicon import DISGUISED, LETTERS, WORDS, parted
from callgate.scanner.mapping import Edit, View, excerpts, respelt, reversal, rewritten

_WORD = re.compile(r"[A-Za-z]+")
_MOST_RUNS = 500  # identifiers of one text that are taken apart
_MOST_STRETCHES = 4  # more of them are read as one
_NEAR = 60  # characters between words of one stretch
_ENOUGH = 3  # words that make a stretch
_SAID = {
    "reversed": re.compile(r"(?i)\b(?:revers(?:e|ed|ing)|backwards?|right[- ]to[- ]left)\b"),
    "rot13": re.compile(r"(?i)\brot-?(?:13|ate)|\bcaesar"),
}
SPELT = frozenset({"reversed", "reversed_words", "leet", "accents", "upside_down", *LETTERS})
_LEET = re.compile(r"[A-Za-z0-9@$!|+€]+")
_LEET_TABLES = tuple(
    str.maketrans("0134567892@$!|+€", letters)
    for letters in ("oieasgtbgzasilte", "oleasgtbgzasiltc", "oieasgtbqzasiitc")
)
_ANY_WORD = re.compile(r"[^\W\d_]+")
_RUN = re.compile(r"[A-Za-z](?:[A-Za-z]|[_.\-](?=[A-Za-z]))+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TURNED = frozenset(TURNED) - frozenset("bdnpqu")
_UPSIDE = str.maketrans(TURNED)


def disguised(view: View) -> list[View]:
    """Every other way in which a canonical view, or a stretch of it, reads as words."""
    if SPELT & set(view.how):  # the way back would only be found again
        return []
    text = view.text
    found = _spelt(view)
    if any(digit in text for digit in "0134578@$"):
        found.append(excerpts(view, _leet(text), "leet"))
    if not text.isascii():
        found.append(excerpts(view, _accents(text), "accents"))
        if len(_TURNED & set(text)) >= _ENOUGH:
            found.append(_upside_down(view))
    return found


def identifiers(view: View) -> View:
    """The words of long identifiers and of words run together, apart: `ignoreAllPrevious_instructions`."""
    runs = (match for match in _RUN.finditer(view.text) if len(match[0]) >= 16)
    edits = [(*match.span(), apart) for match in islice(runs, _MOST_RUNS) if (apart := _apart(match[0]))]
    return excerpts(view, edits, "words")


def _apart(run: str) -> str:
    parts = _PART.findall(run)
    if len(parts) == 1:
        parts = parted(run)
    known = sum(1 for part in parts if len(part) >= 3 and part.lower() in WORDS)
    return " ".join(parts) if known >= _ENOUGH and 2 * known >= len(parts) else ""


def _spelt(view: View) -> list[View]:
    text = view.text
    lowered = text.lower() if text.isascii() else text
    ways: dict[str, list[tuple[int, int]]] = defaultdict(list)
    if not DISGUISED.keys().isdisjoint(_WORD.findall(lowered)):
        for match in _WORD.finditer(lowered):
            for way in DISGUISED.get(match[0].lower(), ()):
                ways[way].append(match.span())
    found: list[View] = []
    for way, hits in ways.items():
        said = _SAID.get(way)
        enough = 1 if said is not None and said.search(text) else _ENOUGH
        for start, end in _stretches(hits, text, enough):
            found.extend(_read(view, way, start, end))
    return found


def _stretches(hits: list[tuple[int, int]], text: str, enough: int) -> list[tuple[int, int]]:
    """Where enough different words stand near each other, with what is around them."""
    if enough > len(hits):
        return []
    groups: list[list[tuple[int, int]]] = []
    for hit in hits:
        if groups and hit[0] - groups[-1][-1][1] <= _NEAR:
            groups[-1].append(hit)
        else:
            groups.append([hit])
    found = [
        (max(0, group[0][0] - _NEAR), min(len(text), group[-1][1] + _NEAR))
        for group in groups
        if len(group) >= enough and len({text[start:end] for start, end in group}) >= enough
    ]
    return found if len(found) <= _MOST_STRETCHES else [(found[0][0], found[-1][1])]


def _read(view: View, way: str, start: int, end: int) -> list[View]:
    stretch = view.text[start:end]
    if way == "reversed":
        words = _WORD.sub(lambda match: match[0][::-1], stretch)
        return [reversal(view, start, end, way), respelt(view, start, end, words, "reversed_words")]
    return [respelt(view, start, end, stretch.translate(LETTERS[way]), way)]


def _leet(text: str) -> list[Edit]:
    """Digits and signs for letters, where at least two words of three letters come out."""
    edits: list[Edit] = []
    sure = 0
    for match in _LEET.finditer(text):
        word = match[0].strip("!|+")
        if word.isalpha() or not 2 <= len(word) <= 40:
            continue
        best = next((said for table in _LEET_TABLES if (said := word.lower().translate(table)) in WORDS), "")
        sure += bool(best) and len(best) >= 3 and not word.isdigit()
        if best or not word.isdigit():
            begin = match.start() + match[0].index(word)
            edits.append((begin, begin + len(word), best or word.lower().translate(_LEET_TABLES[0])))
    return edits if sure >= 2 else []


def _accents(text: str) -> list[Edit]:
    """Words that are English without their diacritics, where there are at least two."""
    edits = [
        (*match.span(), bare)
        for match in _ANY_WORD.finditer(text)
        if not match[0].isascii() and (bare := unaccented(match[0])).isascii() and bare.lower() in WORDS
    ]
    return edits if len(edits) >= 2 else []


def _upside_down(view: View) -> View:
    turned = reversal(view, 0, len(view.text), "upside_down")
    return View(turned.text.translate(_UPSIDE), turned.how, turned.origin)


def blanked(view: View, invisible: re.Pattern[str]) -> View:
    """Invisible characters between letters read as the blanks of a text that has no others there."""
    return rewritten(view, [(*match.span(), " ") for match in invisible.finditer(view.text)])
