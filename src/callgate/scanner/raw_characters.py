"""Characters that hide, reorder or imitate text: what is wrong with a string whatever its language. Pure, linear.

Honest uses pass: joiners inside emoji and in scripts that need them, direction marks beside right-to-left text,
selectors that choose how a picture is drawn. Everything else has no business in a definition.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from callgate.scanner.canonical import canonical
from callgate.scanner.confusables import mixes
from callgate.scanner.decode import bit_runs, readable, selector_runs
from callgate.scanner.mapping import View


class Hit(NamedTuple):
    """What a detector saw; `severity` "" means the rule's own."""

    rule: str
    start: int
    end: int
    severity: str = ""
    decoded: str = ""


Detector = Callable[[str], Iterable[Hit]]

_TAGS = re.compile("[\U000e0000-\U000e007f]+")
_REGION = re.compile("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}|(?<=[A-Za-z])[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_ZERO_WIDTH = re.compile("[\u180e\u200b-\u200d\u2060-\u2065\ufeff]+")
_JOINING = re.compile("[\u0590-\u109f\u1780-\u18af\u1900-\u1aaf\u1b00-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc]")
_WRAPPING = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]")
_PICTURE = re.compile("[\u00a9\u00ae\u200d\u2030-\u2bff\u3030-\u32ff\ufe0f\U0001f000-\U0001faff]")
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_OVERRIDE = re.compile("[\u202d\u202e][^\u202c\n]{0,400}\u202c?")
_EMBEDDING = re.compile("[\u202a\u202b\u2066-\u2069]+")
_MARK = re.compile("[\u061c\u200e\u200f]+")
_ESCAPE = re.compile("(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]?|\x1b[\\]PX^_][^\x07\x1b]{0,400}|\x1b.?", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9a\x9c-\x9f]+")
_LINES = re.compile("[\x0b\x0c\x85\u2028\u2029]+")
_INTERLINEAR = re.compile("[\ufff9-\ufffb]+")
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]+")
_NONE = re.compile(
    "[\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"{chr(p + 0xFFFE)}{chr(p + 0xFFFF)}" for p in range(0x10000, 0x110000, 0x10000))
    + "\ud800-\udfff]+"
)
_FILLER = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]+|\u00ad")
_JAMO = re.compile("[\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff]")
_BRAILLE_BLANK = re.compile("\u2800+")
_BRAILLE = re.compile("[\u2801-\u28ff]")
_PILE = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4,}")
_STYLED = re.compile(
    "[\uff21-\uff3a\uff41-\uff5a\u24b6-\u24e9\U0001d400-\U0001d7ff"
    "\U0001f130-\U0001f189\U0001f1e6-\U0001f1ff\u3000 ]{12,}"
)
_WORD = re.compile(r"[^\W\d_]+")
_BLANKS = re.compile(r"[^\S\n]{81,}")
_EMPTY_LINES = re.compile(r"\n(?:[^\S\n]{0,200}\n){16,}")
_READ = 1000  # characters of a stretch that are decoded for people to read
_MERGE = 3  # characters between two of a kind that are one finding


def ascii_hits(text: str) -> Iterator[Hit]:
    """What a text of ASCII alone can hold."""
    if not text.isprintable():
        yield from _escapes(text)
        yield from (Hit("raw.control", *span) for span in merged(_CONTROL, text))
        if "\n\n\n\n" in text or "\n \n" in text or "\n\t\n" in text:
            yield from _padding(_EMPTY_LINES, text)
    if "    " in text or "\t" in text:
        yield from _padding(_BLANKS, text)


def unicode_hits(text: str) -> Iterator[Hit]:
    """What only a text beyond ASCII can hold."""
    for detect in (_tags, _selectors, _zero_width, _bidi, _fillers, _private, _imitations):
        yield from detect(text)
    for rule, pattern in (
        ("raw.line_separator", _LINES),
        ("raw.interlinear", _INTERLINEAR),
        ("raw.noncharacter", _NONE),
        ("raw.combining_marks", _PILE),
    ):
        yield from (Hit(rule, *span) for span in merged(pattern, text))
    yield from _padding(_BLANKS, text)


def merged(
    pattern: re.Pattern[str], text: str, honest: Callable[[str, int, int], bool] | None = None
) -> list[tuple[int, int]]:
    """Where a pattern stands, neighbours as one; without those that have an honest use there."""
    found: list[tuple[int, int]] = []
    for match in pattern.finditer(text):
        start, end = match.span()
        if honest is not None and honest(text, start, end):
            continue
        if found and start - found[-1][1] <= _MERGE:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _read(text: str) -> str:
    return canonical(View(text[:_READ])).text.strip()


def _tags(text: str) -> Iterator[Hit]:
    for start, end in merged(_TAGS, text, _is_region):
        said = "".join(
            chr(ord(c) - 0xE0000) for c in text[start : min(end, start + _READ)] if "\U000e0020" <= c <= "\U000e007e"
        )
        yield Hit("raw.tag_characters", start, end, "critical" if readable(said, 6) else "", said)


def _is_region(text: str, start: int, end: int) -> bool:
    """The flag of a part of a country: a black flag, its code in tags, the end tag."""
    return text[start - 1 : start] == "\U0001f3f4" and _REGION.fullmatch(text, start, end) is not None


def _selectors(text: str) -> Iterator[Hit]:
    for start, end in merged(_SELECTORS, text):
        said = "".join(edit[2] for edit in selector_runs(text[start : min(end, start + _READ)]))
        yield Hit("raw.variation_selectors", start, end, "critical" if readable(said, 6) else "", said)


def _zero_width(text: str) -> Iterator[Hit]:
    for start, end in merged(_ZERO_WIDTH, text, _joins):
        stretch = text[start:end]
        said = " ".join(edit[2] for edit in bit_runs(stretch[: 32 * _READ]))
        alone = len(set(stretch)) == 1
        if said:
            yield Hit("raw.zero_width", start, end, "critical", said)
        elif alone and len(stretch) <= 2 and not (text[start - 1 : start].strip() and text[end : end + 1].strip()):
            # beside a blank or an end: left over from copying
            yield Hit("raw.zero_width", start, end, "low")
        else:
            yield Hit("raw.zero_width", start, end, "medium" if alone and len(stretch) == 1 else "", _read(stretch))


def _joins(text: str, start: int, end: int) -> bool:
    """Whether one joiner or break stands where a script or a picture needs it."""
    if end - start > 1:
        return False
    before, after = text[start - 1 : start], text[end : end + 1]
    if text[start] == "\u200d" and _PICTURE.match(before) and _PICTURE.match(after):
        return True
    if text[start] in "\u200c\u200d" and (_JOINING.match(before) or _JOINING.match(after)):
        return True
    return text[start] in "\u200b\u2060" and bool(_WRAPPING.match(before) or _WRAPPING.match(after))


def _bidi(text: str) -> Iterator[Hit]:
    right_to_left = _RTL.search(text) is not None
    for match in _OVERRIDE.finditer(text):
        inner = match[0].strip("\u202c\u202d\u202e")
        yield Hit("raw.bidi_override", *match.span(), "", inner[::-1] if match[0][0] == "\u202e" else inner)
    if right_to_left:
        return
    yield from (Hit("raw.bidi_embedding", *span) for span in merged(_EMBEDDING, text))
    yield from (Hit("raw.direction_mark", *span) for span in merged(_MARK, text))


def _escapes(text: str) -> Iterator[Hit]:
    if "\x1b" not in text and "\x9b" not in text:
        return
    for start, end in merged(_ESCAPE, text):
        yield Hit("raw.terminal_escape", start, end, "", _read(text[start : min(len(text), end + 120)]))


def _fillers(text: str) -> Iterator[Hit]:
    for start, end in merged(_FILLER, text, _spells):
        lone = text[start:end] == "\u00ad"
        yield Hit("raw.soft_hyphen" if lone else "raw.blank_letter", start, end)
    if "\u2800" in text and not _BRAILLE.search(text):
        yield from (Hit("raw.blank_letter", *span) for span in merged(_BRAILLE_BLANK, text))


def _spells(text: str, _start: int, end: int) -> bool:
    """Whether a filler stands in front of a part of a Korean syllable, where it belongs."""
    return _JAMO.match(text[end : end + 1]) is not None


def _private(text: str) -> Iterator[Hit]:
    for start, end in merged(_PRIVATE, text):
        yield Hit("raw.private_use", start, end, "medium" if end - start >= 8 else "")


def _imitations(text: str) -> Iterator[Hit]:
    words = [match for match in _WORD.finditer(text) if not match[0].isascii() and mixes(match[0])]
    for match in words[:3]:
        yield Hit("raw.mixed_script", *match.span(), "high" if len(words) >= 3 else "", _read(match[0]))
    for match in _STYLED.finditer(text):
        said = _read(match[0])
        if len(said) >= 12 and not said.isdigit() and match[0].strip(" \u3000") and not match[0].isascii():
            start = match.start() + len(match[0]) - len(match[0].lstrip())
            yield Hit("raw.styled_letters", start, start + len(match[0].strip()), "", said)


def _padding(pattern: re.Pattern[str], text: str) -> Iterator[Hit]:
    """Blanks or empty lines in front of more text, which nobody who reads the beginning will see."""
    for match in pattern.finditer(text):
        rest = text[match.end() : match.end() + 200].strip()
        if rest:
            yield Hit("raw.padding", *match.span(), "", rest)
