"""What texts say once they are decoded: each decoder gives the stretches it can read and what they say. Pure, linear.

A stretch counts only where it yields text: UTF-8 (or UTF-16 for base64), nearly all of it printable and mostly letters.
So digests, identifiers and keys yield nothing. Whether what was decoded is harmless is not asked here.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from callgate.scanner.lexicon import WORDS
from callgate.scanner.mapping import Edit

SHORTEST = 8  # characters that a decoded stretch has at least
_MOSTLY = 0.9  # of them printable
_LETTERS = 0.55  # of them letters and blanks

_BLOCK = re.compile(r"[A-Za-z0-9+/_-]{11,}={0,2}")
_WRAPPED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{19,}+(?:\s{1,2}[A-Za-z0-9+/_-]{2,})+={0,2}")
_LINE = re.compile(r"\S+")
_BASE32 = re.compile(r"[A-Za-z2-7]{14,}={0,6}")
_HEX = re.compile(r"(?:0[xX])?(?:[0-9A-Fa-f]{2}){8,}")
_HEX_SPACED = re.compile(r"(?:0[xX])?[0-9A-Fa-f]{2}(?:[ ,:;-]{1,2}(?:0[xX])?[0-9A-Fa-f]{2}){7,}")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_PERCENT_U = re.compile(r"%u([0-9A-Fa-f]{4})")
_QUOTED = re.compile(r"(?:=[0-9A-F]{2})+|=\s")
_ESCAPE = re.compile(
    r"(?:\\(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,6}\}|[0-3]?[0-7]{2}))+"
)
_ONE_ESCAPE = re.compile(r"\\(?:[uUx]\{?([0-9A-Fa-f]+)\}?|([0-7]+))")
_POINTS = re.compile(r"U\+[0-9A-Fa-f]{4,6}(?:[ ,;]{0,2}U\+[0-9A-Fa-f]{4,6}){3,}")
_BINARY = re.compile(r"[01]{8}(?:[ ,]{0,2}[01]{8}){6,}|[01]{7}(?:[ ,]{1,2}[01]{7}){6,}")
_NUMBERS = re.compile(r"\[?\d{2,3}(?:[ ,;.+-]{1,2}\d{2,3}){7,}\]?")
_MORSE = re.compile(r"[.·•−_-]{1,5}(?:[ /|]{1,3}[.·•−_-]{1,5}){7,}")
_MORSE_LETTERS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_MORSE_CODE = dict(zip(_MORSE_LETTERS.split(), "abcdefghijklmnopqrstuvwxyz0123456789", strict=True))
_DOTS = str.maketrans({"·": ".", "•": ".", "−": "-", "_": "-"})
_BRAILLE = re.compile("[\u2801-\u28ff](?:[\u2801-\u28ff]| (?=[\u2801-\u28ff]))+")
_BRAILLE_CODE = {
    0x2800 + dots: letter
    for dots, letter in zip(
        [1, 3, 9, 25, 17, 11, 27, 19, 10, 26, 5, 7, 13, 29, 21, 15, 31, 23, 14, 30, 37, 39, 58, 45, 61, 53, 0],
        "abcdefghijklmnopqrstuvwxyz ",
        strict=True,
    )
}
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_BITS = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u180e\u2028\u2029\u061c]{32,}")


def readable(text: str, least: int = SHORTEST) -> bool:
    """Whether it is text that somebody meant to be read."""
    size = len(text)
    if size < least:
        return False
    if _TAGS.search(text):  # hidden once more: read in the next round
        text = "".join(chr(ord(char) - 0xE0000) if "\U000e0020" <= char <= "\U000e007e" else char for char in text)
    blanks = sum(map(text.count, " \n\t\r"))
    good = size if text.isprintable() else sum(map(str.isprintable, text)) + text.count("\n") + text.count("\t")
    return good >= _MOSTLY * size and sum(map(str.isalpha, text)) + blanks >= _LETTERS * size


def _utf8(data: bytes) -> str:
    """The text that bytes are, "" where they are none."""
    try:
        if data[1:8:2] == b"\0\0\0\0":
            data = data[: len(data) & ~1].decode("utf-16-le").encode()
        text = data.decode("utf-8")
    except UnicodeError:
        return ""
    return text if readable(text) else ""


def _bytes64(letters: str) -> str:
    bare = letters.rstrip("=").replace("-", "+").replace("_", "/")
    bare = bare[: len(bare) - 1] if len(bare) % 4 == 1 else bare
    try:
        return _utf8(binascii.a2b_base64(bare + "=" * (-len(bare) % 4)))
    except binascii.Error:
        return ""


def base64_runs(text: str) -> Iterator[Edit]:
    """Both alphabets, with and without padding, wrapped over lines; after a prefix that belongs to the alphabet too."""
    done = 0
    for match in _WRAPPED.finditer(text):
        yield from _blocks64(text, done, match.start())
        end, said = _wrapped64(match)
        if said:
            yield match.start(), end, said
        yield from _blocks64(text, end, match.end())
        done = match.end()
    yield from _blocks64(text, done, len(text))


def _wrapped64(match: re.Match[str]) -> tuple[int, str]:
    """The end and the text of lines of one width and a shorter last one; the words that follow are none of it."""
    lines = list(_LINE.finditer(match[0]))
    width = len(lines[0][0])
    whole = next((at for at, line in enumerate(lines) if len(line[0]) != width), len(lines))
    for count in (whole + 1, whole):
        if 1 < count <= len(lines) and len(lines[count - 1][0].rstrip("=")) <= width:
            said = _bytes64("".join(line[0] for line in lines[:count]))
            if said:
                return match.start() + lines[count - 1].end(), said
    return match.start(), ""


def _blocks64(text: str, start: int, end: int) -> Iterator[Edit]:
    for match in _BLOCK.finditer(text, start, end):
        if said := _bytes64(match[0]):
            yield (*match.span(), said)
            continue
        at = match.start()
        for part in re.split(r"[-_/+]", match[0]):
            if len(part) >= 11 and len(part) < len(match[0]) and (said := _bytes64(part)):
                yield at, at + len(part), said
            at += len(part) + 1


def base32_runs(text: str) -> Iterator[Edit]:
    for match in _BASE32.finditer(text):
        bare = match[0].rstrip("=")
        bare = bare[: len(bare) - (1 if len(bare) % 8 in (1, 3, 6) else 0)].upper()
        try:
            said = _utf8(base64.b32decode(bare + "=" * (-len(bare) % 8)))
        except binascii.Error:
            continue
        if said:
            yield (*match.span(), said)


def hex_runs(text: str) -> Iterator[Edit]:
    for pattern in (_HEX, _HEX_SPACED):
        found = False
        for match in pattern.finditer(text):
            digits = re.sub(r"0[xX]|[ ,:;-]", "", match[0])
            if said := _utf8(bytes.fromhex(digits)):
                found = True
                yield (*match.span(), said)
        if found:
            return


def percent_runs(text: str) -> Iterator[Edit]:
    pattern = _PERCENT_U if "%u" in text else _PERCENT
    for match in pattern.finditer(text):
        if pattern is _PERCENT_U:
            yield (*match.span(), _char(int(match[1], 16)))
            continue
        said = bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "replace")
        if "\ufffd" not in said:  # `%date%` is none
            yield (*match.span(), said)


def quoted_runs(text: str) -> Iterator[Edit]:
    """Quoted-printable (RFC 2045, section 6.7), where there is so much of it that it is no accident."""
    edits = []
    for match in _QUOTED.finditer(text):
        octets = match[0].strip("=").replace("=", "")
        edits.append((*match.span(), bytes.fromhex(octets).decode("utf-8", "replace") if octets.strip() else ""))
    if sum(len(edit[2]) for edit in edits if edit[2].isalpha() or " " in edit[2]) >= 4:
        yield from edits


def escape_runs(text: str) -> Iterator[Edit]:
    for match in _ESCAPE.finditer(text):
        yield (*match.span(), _utf16("".join(_char(_point(one)) for one in _ONE_ESCAPE.finditer(match[0]))))
    for match in _POINTS.finditer(text):
        yield (*match.span(), "".join(_char(int(point, 16)) for point in re.findall(r"[0-9A-Fa-f]{4,6}", match[0])))


def _point(match: re.Match[str]) -> int:
    return int(match[1], 16) if match[1] else int(match[2], 8)


def _char(point: int) -> str:
    return chr(point) if point < 0x110000 else "\ufffd"


def _utf16(text: str) -> str:
    """Pairs of surrogates as the characters they are; bytes of UTF-8 written one by one as their text."""
    if text.isascii():
        return text
    if max(text) <= "\xff":
        try:
            return text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def number_runs(text: str) -> Iterator[Edit]:
    """Codes of characters: binary with eight digits, decimal with two or three (or octal)."""
    for match in _BINARY.finditer(text):
        digits = re.findall(r"[01]{8}", match[0]) or re.findall(r"[01]{7}", match[0])
        if said := _utf8(bytes(int(each, 2) for each in digits)):
            yield (*match.span(), said)
            return
    for match in _NUMBERS.finditer(text):
        codes = re.findall(r"\d+", match[0])
        for base in (10, 8):
            with_base = [int(each, base) for each in codes if base == 10 or not set(each) & {"8", "9"}]
            if len(with_base) == len(codes) and max(with_base) < 256 and (said := _utf8(bytes(with_base))):
                yield (*match.span(), said)
                break


def morse_runs(text: str) -> Iterator[Edit]:
    for match in _MORSE.finditer(text):
        words = re.split(r" ?[/|] ?| {2,3}", match[0].translate(_DOTS))
        said = " ".join("".join(_MORSE_CODE.get(sign, "?") for sign in word.split()) for word in words)
        if said.count("?") * 10 <= len(said) and not set(said) <= set("eithsm0o "):
            yield (*match.span(), said)


def braille_runs(text: str) -> Iterator[Edit]:
    for match in _BRAILLE.finditer(text):
        said = match[0].translate(_BRAILLE_CODE)
        if readable(said) and WORDS & set(said.split()):
            yield (*match.span(), said)


def tag_runs(text: str) -> Iterator[Edit]:
    """Unicode tag characters: an invisible copy of ASCII."""
    for match in _TAGS.finditer(text):
        yield (*match.span(), "".join(chr(ord(char) - 0xE0000) for char in match[0]))


def selector_runs(text: str) -> Iterator[Edit]:
    """Variation selectors as octets: the first sixteen, then the other 240."""
    for match in _SELECTORS.finditer(text):
        octets = bytes(ord(char) - (0xFE00 if char < "\U000e0000" else 0xE00F0) for char in match[0])
        if said := _lenient(octets) or _lenient(bytes(each - 16 & 255 for each in octets)):
            yield (*match.span(), said)

    """Two invisible characters as zero and one (either way round), seven or more to a character; others only part."""


def bit_runs(text: str) -> Iterator[Edit]:
    """Two invisible characters as zero and one (either way round), seven or more to a character."""
    for match in _BITS.finditer(text):
        order = sorted(set(match[0]), key=match[0].count, reverse=True)[:2]
        if len(order) < 2:
            continue
        for zero, one in (sorted(order), sorted(order, reverse=True)):
            if said := _bits("".join("0" if char == zero else "1" for char in match[0] if char in (zero, one))):
                yield (*match.span(), said)
                break


def _bits(digits: str) -> str:
    for size in (8, 7, 16):
        data = [int(digits[at : at + size], 2) for at in range(0, len(digits) - size + 1, size)]
        if data and max(data) < 256 and (said := _lenient(bytes(data))):
            return said
    return ""


def _lenient(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return text if readable(text, 4) else ""


Decoder = tuple[str, re.Pattern[str], Callable[[str], Iterator[Edit]]]
# step, a quick test whether it is worth a try, the decoder. Of visible text, after it was brought to its canonical form
VISIBLE: tuple[Decoder, ...] = (
    ("base64", re.compile(r"[A-Za-z0-9+/_-]{11}"), base64_runs),
    ("base32", re.compile(r"[A-Z2-7]{14}|[a-z2-7]{20}"), base32_runs),
    ("hex", re.compile(r"[0-9A-Fa-f]{16}|(?:[0-9A-Fa-f]{2}[ ,:;-]{1,2}(?:0[xX])?){7}"), hex_runs),
    ("percent", re.compile(r"%u?[0-9A-Fa-f]{2}"), percent_runs),
    ("escape", re.compile(r"\\[uUx0-7]|U\+"), escape_runs),
    ("quoted_printable", re.compile(r"=[0-9A-F]{2}"), quoted_runs),
    ("character_codes", re.compile(r"(?:\d{2}[ ,;.+-]{1,2}\d?){7}|[01]{14}|[01]{7}[ ,]"), number_runs),
    ("morse", re.compile(r"(?:[.·•−_-]{1,5}[ /|]{1,3}){7}"), morse_runs),
    ("braille", re.compile("[\u2801-\u28ff]"), braille_runs),
)
# Of the text as it was given: what the canonical form removes
HIDDEN: tuple[Decoder, ...] = (
    ("tags", re.compile("[\U000e0020-\U000e007e]"), tag_runs),
    ("variation_selectors", re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}"), selector_runs),
    ("zero_width_bits", re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u180e\u2028\u2029\u061c]{32}"), bit_runs),
)
