"""Letters that look like ASCII letters, and characters that draw nothing. Pure tables and the folding of words.

Honest Cyrillic, Greek or Armenian stays as it is: such letters are folded only in words that mix them with ASCII
ones, or in words made of look-alikes alone that read as an English word or stand in a text without any other word of
that script.
"""

import re
import string
import unicodedata
from functools import lru_cache

from callgate.scanner.lexicon import WORDS
from callgate.scanner.mapping import Edit

_LOWER = string.ascii_lowercase
_UPPER = string.ascii_uppercase


def _pairs(table: str) -> dict[str, str]:
    """From `aаα bв`: the first letter of each word is what the others look like."""
    return {look: word[0] for word in table.split() for look in word[1:]}


def _row(first: int, letters: str) -> dict[str, str]:
    return {chr(first + at): letter for at, letter in enumerate(letters)}


# by script: letters of living alphabets (Cyrillic, Greek, Armenian) and of such as people take for their looks
LOOKALIKES: dict[str, str] = {
    **_pairs(
        "aа bвьҍ cс dԁ eеёҽ gԍ hһнҺ iіїɩ jј kкқ lӏ mм nпո oоӧө pр qԛզ rгꭇ sѕ tт uцս vѵ wԝѡա xхҳ yуүұў zʐ "
        "AА BВ CС EЕЁ FҒ GԌ HНҢ IІЇӀ JЈ KКҚ MМ OОӦӨ PР QԚ SЅ TТҬ VѴ WԜѠ XХҲ YУҮҰЎ"
    ),
    **_pairs(
        "aαά cϲ eεέ iιίϊ jϳ kκ nηή oοόσ pρϱ tτ uυύϋ vν wωώ xχ yγ AΑΆ BΒ CϹ EΕΈ FϜ HΗΉ IΙΊΪ KΚ MΜ NΝ "
        "OΟΌ PΡ TΤ XΧ YΥΎΫ ZΖ"
    ),
    **_pairs("nղ uմ oօ hհ jյ gց qգ pք dժ LԼ SՏ OՕ UՍ"),
    **_pairs("AᎪ BᏴ CᏟ DᎠ EᎬ GᏀ HᎻ JᎫ KᏦ LᏞ MᎷ PᏢ RᎡᏒ SᏚᏕ TᎢ VᏙ WᎳᏔ YᎩ ZᏃ"),
    **_pairs(
        "AꓮÅ Bꓐᗷ CꓚⅭ DꓓᗞᎠ EꓰⴹⵟE FꓝᖴF GꓖG HꓧᕼH IꓲⵏI JꓙᒍJ KꓗᛕK LꓡᒪL MꓟᗰM NꓠN OꓳⵔO PꓑᑭP RꓣᖇR SꓢS TꓔT "
        "UꓴᑌU VꓦᐯV WꓪW Xꓫᚷ᙭ⵝX YꓬY ZꓜZ"
    ),
    **_pairs("cⲥ oⲟ pⲣ HⲎ IⲒ KⲔ MⲘ NⲚ OⲞ PⲢ TⲦ XⲬ BⲂ CⲤ"),
}
# letters that only style ASCII ones: folded wherever they stand
STYLED: dict[str, str] = {
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True)),
    "ɡ": "g",
    "ɑ": "a",
    "ℓ": "l",
    **_row(0x249C, _LOWER),
    **_row(0x1F110, _UPPER),
    **_row(0x1F150, _UPPER),
    **_row(0x1F170, _UPPER),
    **_row(0x1F1E6, _UPPER),
}
# letters turned upside down, with those of ASCII that are another letter when turned
TURNED: dict[str, str] = {
    **dict(zip("ɐɔǝɟƃɓɥᴉıɾʞןɯɹʇʌʍʎ", "acefgghiijklmrtvwy", strict=True)),
    **dict(zip("bdnpqu", "qpudbn", strict=True)),
}
# Latin letters with strokes, which no normalisation takes apart
STROKES = str.maketrans({"ı": "i", "ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ɨ": "i", "ƀ": "b", "ɇ": "e"})
# draws a blank: read as one
BLANKS = frozenset("\u1680\u2028\u2029\u115f\u1160\u3164\uffa0\u2800\x85")
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\x80-\x84\x86-\x9f]"
)
_WORD = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=4096)
def plain(char: str) -> str:
    """One character as it is read: nothing for what draws nothing, a blank for blanks, its compatibility form."""
    if char in BLANKS:
        return " "
    if _IGNORED.match(char):
        return ""
    styled = STYLED.get(char)
    return styled if styled is not None else unicodedata.normalize("NFKC", char)


def folds(text: str) -> list[Edit]:
    """The words of a text in which letters of another script pass for ASCII ones, with what they look like."""
    if LOOKALIKES.keys().isdisjoint(text):
        return []
    words = [match for match in _WORD.finditer(text) if not match[0].isascii()]
    alone = [match for match in words if _all_lookalike(match[0])]
    foreign = any(not _mixes(match[0]) and not _all_lookalike(match[0]) and _has_lookalike(match[0]) for match in words)
    edits = []
    taken = set(alone)
    for match in words:
        word = match[0]
        folded = "".join(LOOKALIKES.get(char, char) for char in word)
        if folded == word:
            continue
        if _mixes(word) or (match in taken and _passes(folded, foreign=foreign)):
            edits.append((*match.span(), folded))
    return edits


def mixes(word: str) -> bool:
    """Whether every letter of a word looks ASCII and some are not: no honest word does that."""
    return _mixes(word) and all(char.isascii() or char in LOOKALIKES for char in word) and _has_lookalike(word)


def unaccented(word: str) -> str:
    """A word without its diacritics."""
    parts = unicodedata.normalize("NFKD", word.translate(STROKES))
    return "".join(char for char in parts if not unicodedata.combining(char))


def _passes(folded: str, *, foreign: bool) -> bool:
    return folded.lower() in WORDS if foreign else len(folded) > 1


def _mixes(word: str) -> bool:
    return any(char.isascii() for char in word)


def _all_lookalike(word: str) -> bool:
    return all(char in LOOKALIKES for char in word)


def _has_lookalike(word: str) -> bool:
    return not LOOKALIKES.keys().isdisjoint(word)
