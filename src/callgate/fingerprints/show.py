"""Text of an upstream as a reviewer may see it: what has no shape, or the shape of another letter, is named.

A name is ⟨U+200B ZERO WIDTH SPACE⟩. Look-alikes are named only where a word mixes them with Latin letters, is made of
them alone in a text that is not written in their script, or where they are styled forms of ASCII (Unicode's NFKC).
"""

import re
import unicodedata
from functools import lru_cache

MAX_TEXT = 4000
_VISIBLE = frozenset(" \n")
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Zs"})
# Unicode's Default_Ignorable_Code_Point and blanks that are no spaces: letters and marks that draw nothing
_DRAWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
# Hidden characters with an honest use: white space, emoji sequences, and joiners between letters that are not ASCII
_HONEST = re.compile(
    "\U0001f3f4\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|"
    "\U000e0077\U000e006c\U000e0073)\U000e007f"  # the flags of England, Scotland and Wales: no other tag sequence
    "|[\t\r\u00a0\u2009\u202f\u3000]|(?<!\ufe0f)\ufe0f(?!\ufe0f)"
    "|(?<![\u200c\u200d\x00-\x7f])[\u200c\u200d](?![\u200c\u200d\x00-\x7f])"
)
_LOOKS_LATIN = frozenset(
    "АВЕЅІЈКМНОРСТУХЬаеѕіјорсухһԁԛԝѵҮүӏӀԌ"  # Cyrillic
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγικνορτυχϲϳ"  # Greek
    "ՕՍԼՏօսոհցզքյ"  # Armenian
    "ᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᏀᏃᏎᏔᏙᏚᏞᏟᏢᏦᏴ"  # Cherokee
    "ꓐꓑꓓꓔꓖꓗꓙꓚꓝꓟꓠꓡꓢꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴꓜ"  # Lisu
    "ɑɡⲟⲣⲥ"  # phonetic, Coptic
)
_WORD = re.compile(r"\w+")
_OWN_SCRIPT = 0.2  # share of letters without a Latin twin that makes a text one of that script


def visible(text: str, start: int = 0) -> str:
    """A text in which nothing hides: every invisible or control character is named. At most 4,000 characters of it,
    from `start` on; what was cut is said."""
    shown = neutral(text[start : start + MAX_TEXT])
    if start:
        shown = f"(from character {start + 1}) …{shown}"
    return shown if len(text) <= start + MAX_TEXT else f"{shown}… ({len(text)} characters)"


def neutral(text: str) -> str:
    """All of it, with every invisible or control character named."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def hides(text: str) -> bool:
    """It has characters that nobody sees, beyond those that emoji and scripts with joiners need."""
    return any(_shown(char) != char for char in set(_HONEST.sub("", text)))


class LookAlikes:
    """Names letters that pass for Latin ones. Made once for a whole text, asked for each changed part of it."""

    def __init__(self, whole: str) -> None:
        self._foreign = frozenset() if whole.isascii() else _scripts(whole)

    def named(self, part: str) -> str:
        """The part, look-alikes named; other characters as they are."""
        return part if part.isascii() else _WORD.sub(self._word, part)

    def found(self, part: str) -> bool:
        return self.named(part) != part

    def _word(self, match: re.Match[str]) -> str:
        word = match[0]
        if word.isascii():
            return word
        letters = {char for char in word if char.isalpha()}
        alike = {char for char in letters if _styled(char)}
        mixed = any(_script(char) == "LATIN" and char not in _LOOKS_LATIN for char in letters)
        if mixed or letters <= _LOOKS_LATIN | alike:
            alike |= {char for char in letters & _LOOKS_LATIN if mixed or _script(char) not in self._foreign}
        return "".join(named(char) if char in alike else char for char in word) if alike else word


def named(char: str) -> str:
    """A character by code point and name."""
    name = unicodedata.name(char, "")
    return f"⟨U+{ord(char):04X}{' ' + name if name else ''}⟩"


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    if char in _VISIBLE:
        return char
    shape = unicodedata.category(char) not in _HIDDEN and _DRAWS_NOTHING.match(char) is None
    return char if shape else named(char)


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0]


@lru_cache(maxsize=4096)
def _styled(char: str) -> bool:
    """A full-width, mathematical or otherwise styled form of an ASCII letter."""
    plain = unicodedata.normalize("NFKC", char)
    return not char.isascii() and len(plain) == 1 and plain.isascii() and plain.isalpha()


def _scripts(text: str) -> frozenset[str]:
    """The scripts in which the text is really written: enough of its letters have no Latin twin."""
    counts: dict[str, int] = {}
    letters = 0
    for char in text:
        if char.isalpha():
            letters += 1
            if not char.isascii() and char not in _LOOKS_LATIN:
                script = _script(char)
                counts[script] = counts.get(script, 0) + 1
    return frozenset(script for script, count in counts.items() if count >= _OWN_SCRIPT * letters)
