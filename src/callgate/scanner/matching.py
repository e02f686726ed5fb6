"""Where the signals and patterns of the tables stand in a text. Pure and linear: google-re2 throughout.

One pass over a text for the literals that a pattern cannot do without says which patterns are worth running; those few
are then run for their exact places. Fail closed: a text that makes a pattern hit endlessly says so in `Hits.cut`.
"""

from functools import cache
from itertools import islice
from typing import Any

import msgspec
import re2

from callgate.scanner.tables import Tables, tables

MOST = 8_000  # hits of one pattern in one text
_MEMORY = 64 << 20


class Hit(msgspec.Struct, frozen=True):
    """A signal or pattern at its place, in characters."""

    start: int
    end: int
    language: str


class Hits(msgspec.Struct, frozen=True):
    """The hits by name of the signal or id of the rule, by place. `cut`: there were more than are listed."""

    by_name: dict[str, list[Hit]]
    cut: bool = False


class Matcher:
    """The compiled tables."""

    def __init__(self, given: Tables) -> None:
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        options.max_mem = _MEMORY
        self._filter: Any = re2.Filter()
        self._names: list[tuple[str, str]] = []
        for words in given.words:
            for name, alternatives in words.words.items():
                self._filter.Add(_bounded(alternatives, words.boundary), options)
                self._names.append((name, words.language))
        for rule in given.rules:
            for pattern in rule.patterns:
                self._filter.Add(f"({pattern})", options)
                self._names.append((rule.id, "*"))
        self._filter.Compile()
        self._patterns = [self._filter.re(at) for at in range(len(self._names))]

    def hits(self, text: str) -> Hits:
        """Never raises, whatever the text."""
        data = text.encode("utf-8", "replace")
        likely = self._filter.Match(data, True)
        if not likely:
            return Hits({})
        found: list[tuple[str, str, list[tuple[int, int]]]] = []
        cut = False
        for at in likely:
            spans = [match.span(1) for match in islice(self._patterns[at].finditer(data), MOST)]
            cut = cut or len(spans) == MOST
            if spans:
                found.append((*self._names[at], spans))
        places = None if len(data) == len(text) else _places(data, found)
        by_name: dict[str, list[Hit]] = {}
        for name, language, spans in found:
            for start, end in spans:
                hit = Hit(start, end, language) if places is None else Hit(places[start], places[end], language)
                by_name.setdefault(name, []).append(hit)
        for hits in by_name.values():
            hits.sort(key=lambda hit: (hit.start, hit.end, hit.language))
        return Hits(by_name, cut)


def _bounded(alternatives: list[str], boundary: str) -> str:
    either = "|".join(alternatives)
    if boundary == "word":
        return rf"\b((?:{either})\b)"
    if boundary == "start":
        return rf"(?:^|[^\pL\pN_])({either})"
    return f"({either})"


def _places(data: bytes, found: list[tuple[str, str, list[tuple[int, int]]]]) -> dict[int, int]:
    """The number of characters before each place in bytes that a hit starts or ends at."""
    places = {}
    count = last = 0
    for place in sorted({place for _name, _language, spans in found for span in spans for place in span}):
        count += len(data[last:place].decode("utf-8", "ignore"))
        last = place
        places[place] = count
    return places


@cache
def matcher() -> Matcher:
    """The matcher for the shipped tables: compiled when first asked for."""
    return Matcher(tables())
