"""What a tool says that it is for, and how a finding about its structure is written. Pure.

A parameter or a value is judged by the purpose: a chat tool may take a conversation, a calculator has no use for one.
"""

import re

import msgspec

from callgate.model.finding import Finding
from callgate.scanner.raw import shown
from callgate.scanner.surface import Leaf


def names(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")
_ENDINGS = re.compile(r"(?:ing|ed|es|s|e)$")
_PURE = names(
    "numbers integers addition subtract multiply divide sum sums calculate calculates calculator compute average "
    "mean median convert converts converter conversion currency weather forecast temperature time timezone clock "
    "date calendar_day random dice roll flip joke fact quote quotes uuid hash encode decode checksum round "
    "factorial fibonacci prime percentage percent sqrt power unit units postcode zip distance greet greeting "
    "hello count counts word length uppercase lowercase reverse slugify palindrome tip bmi roman dictionary "
    "definition synonym holiday holidays "
)


_LEAD = 240  # characters of a description that say what a tool is for; what follows may be its excuse


class Fault(msgspec.Struct, frozen=True):
    """What the findings of one rule about structure say."""

    rule: str
    cls: str
    why: str
    fix: str
    version: int = 1


class Purpose(msgspec.Struct, frozen=True):
    """The words of a tool's own name, title and description."""

    name: str
    description: str
    words: frozenset[str]
    stems: frozenset[str]
    pure: bool  # computes or looks up something small: nobody's context is needed for it

    def any(self, stems: frozenset[str]) -> bool:
        """Whether the tool speaks of one of these, in any form of the word."""
        return not self.stems.isdisjoint(stems)


def parts(name: str) -> tuple[str, ...]:
    """The words of an identifier, in lower case: `fullChat_history` is full, chat, history."""
    return tuple(part.lower() for part in _PARTS.findall(name[:500]))


def stem(word: str) -> str:
    """A word without its commonest endings: alike forms of a word become equal, nothing more."""
    return _ENDINGS.sub("", word) if len(word) > 3 else word


def stems(words: str) -> frozenset[str]:
    """A set of words to ask a purpose for."""
    return frozenset(stem(word) for word in words.split())


def purpose(leaves: tuple[Leaf, ...]) -> Purpose:
    """What the top of a definition says."""
    top = {
        leaf.path: leaf.text for leaf in leaves if not leaf.key and leaf.path in {("/name"), "/title", "/description"}
    }
    name, said = top.get("/name", ""), top.get("/description", "")
    heads = [*parts(name), *parts(top.get("/title", ""))]
    words = frozenset([*heads, *(match.lower() for match in re.findall(r"[^\W_]+", said[:_LEAD]))])
    first = re.findall(r"[^\W_]+", said[:400])[:5]
    pure = name.lower() == "add" or not _PURE.isdisjoint([*heads, *map(str.lower, first)])
    return Purpose(name, said, words, frozenset(map(stem, words)), pure)


def found(fault: Fault, leaf: Leaf, severity: str, span: tuple[int, int] | None = None) -> Finding:
    """A finding at a place of a leaf, all of it without a span."""
    start, end = span or (0, len(leaf.text))
    return Finding(
        rule=fault.rule,
        version=fault.version,
        cls=fault.cls,
        severity=severity,
        path=leaf.path,
        start=start,
        end=end,
        excerpt=shown(leaf.text[start:end]),
        why=fault.why,
        fix=fault.fix,
        key=leaf.key,
    )
