"""Which rules hold in a text: patterns that hit, and signals that stand near each other. Pure and bounded.

A signal means nothing alone. A rule names several; they must stand in one sentence (or as many as it allows), each
within reach of the next, and be words of one language or of English.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from callgate.scanner.matching import Hit, Hits
from callgate.scanner.tables import Rule

_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)[.!?][\"')\]*]*(?=\s)|[。！？؟।]")
_NEGATED = re.compile(
    r"(?:\bnever|\bnot|n't|n’t|\bwithout|\bavoid|\bcannot|\bno need to|\brather than|\bnor)[ ,](?:[\w,]+[ ,]+){0,3}$",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"\b(?:detect\w*|flag(?:s|ged|ging)?|scan(?:s|ner|ning)?|classif\w+|attacks?|attackers?|injections?|jailbreak\w*|"
    r"malicious|suspicious|phishing|adversarial|blocks?|blocked|reject\w*|lint\w*|for example|e\.g|such as|"
    r"looks? like|phrases?|patterns?|payloads?|red.team\w*)\b",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    r"\b(?:the|and|of|to|for|with|this|that|if|by|from|when|which|not|your|you|use|can|should|must|each|then)\b",
    re.IGNORECASE,
)
_QUOTES = "\"'`“”‘’«»„「」『』"
_NEAREST = 4  # hits on either side that are tried
_MOST = 3  # places of one rule in one text


class Match(msgspec.Struct, frozen=True):
    """A rule that holds, where, and whether the text only speaks of such things."""

    rule: Rule
    start: int
    end: int
    lowered: bool = False


class Reading:
    """A text with its hits and sentences."""

    def __init__(self, text: str, hits: Hits) -> None:
        self.text = text
        self.hits = hits.by_name
        self._ends: list[int] | None = None

    def sentence(self, place: int) -> int:
        if self._ends is None:
            self._ends = [match.end() for match in _END.finditer(self.text)]
        return bisect_left(self._ends, place)

    def begin(self, place: int) -> int:
        """Where the sentence of a place begins."""
        at = self.sentence(place)
        return self._ends[at - 1] if at and self._ends else 0

    def matches(self, rule: Rule) -> Iterator[Match]:
        """The places where a rule holds, at most three."""
        count = 0
        for start, end in self._places(rule):
            if rule.foreign and self._english(start, end):
                continue
            if rule.negatable and _NEGATED.search(self.text, max(0, start - 40), start):
                continue
            yield Match(rule, start, end, rule.soft and self._spoken_of(start, end))
            count += 1
            if count == _MOST:
                return

    def _places(self, rule: Rule) -> Iterator[tuple[int, int]]:
        for hit in self.hits.get(rule.id, ()):
            yield hit.start, hit.end
        if rule.near:
            parts = [self._either(part) for part in rule.near]
            if all(parts):
                yield from self._clusters(rule, parts)

    def _either(self, part: str) -> list[Hit]:
        names = [name for name in part.split("|") if name in self.hits]
        if len(names) == 1:
            return self.hits[names[0]]
        return sorted((hit for name in names for hit in self.hits[name]), key=lambda hit: hit.start)

    def _clusters(self, rule: Rule, parts: list[list[Hit]]) -> Iterator[tuple[int, int]]:
        starts = [[hit.start for hit in part] for part in parts[1:]]
        reached = -1
        for first in parts[0]:
            if first.start < reached:
                continue
            low, high, language = first.start, first.end, first.language
            for part, places in zip(parts[1:], starts, strict=True):
                hit = self._nearest(rule, part, places, (low, high, language))
                if hit is None:
                    break
                low, high = min(low, hit.start), max(high, hit.end)
                language = hit.language if language in ("en", "*") else language
            else:
                reached = high
                yield low, high

    def _nearest(self, rule: Rule, part: list[Hit], places: list[int], held: tuple[int, int, str]) -> Hit | None:
        low, high, language = held
        after = bisect_left(places, high)
        for hit in part[after : after + _NEAREST]:
            if hit.start - high > rule.gap:
                break
            if _akin(hit.language, language) and self._together(rule, high, hit.start):
                return hit
        if rule.ordered:
            return None
        before = bisect_left(places, low)
        for hit in reversed(part[max(0, before - _NEAREST) : before]):
            if low - hit.end > rule.gap:
                break
            if hit.end <= low and _akin(hit.language, language) and self._together(rule, hit.end, low):
                return hit
        return None

    def _together(self, rule: Rule, start: int, end: int) -> bool:
        return self.sentence(end) - self.sentence(start) <= rule.sentences

    def _english(self, start: int, end: int) -> bool:
        """Whether the words around are English: words of another language that stand there are a coincidence."""
        around = self.text[max(0, start - 40) : end + 40]
        known = len(_ENGLISH.findall(around))
        return around.isascii() and known >= 2 and 6 * known > around.count(" ")

    def _spoken_of(self, start: int, end: int) -> bool:
        """Whether the text quotes this or speaks of finding it, rather than saying it."""
        before = self.text[max(self.begin(start), start - 160) : start]
        if _ABOUT.search(before):
            return True
        opened = before.rstrip()[-1:]
        return bool(opened) and opened in _QUOTES and any(char in _QUOTES for char in self.text[end : end + 60])


def _akin(one: str, other: str) -> bool:
    return one == other or one in ("en", "*") or other in ("en", "*")
