"""A statistical second opinion: which words stand in attacks and which in honest definitions. Pure, optional.

Hashed words and pairs of words, one weight each, learnt by scripts/train_scanner_model.py; no word of the training
data is kept. It learns wording, not intent: what it says is a hint for a reviewer, and never more than `low`.
"""

import json
import math
import re
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from zlib import crc32

import msgspec

from callgate.model.finding import Finding
from callgate.scanner.purpose import Fault, found
from callgate.scanner.surface import Leaf

SIZE = 4096
LONGEST = 6_000  # characters that are looked at
_FAULT = Fault(
    "model.wording",
    "model_suspicion",
    "The wording is like that of known attacks; this is an estimate, not a proof.",
    "Read the description with care; nothing has to be changed for this alone.",
)
_PROSE = frozenset({"description", "title", "param_text", "example", "default", "enum", "const", "instructions"})
_WORD = re.compile(r"[^\W_]+|[<>`!*#]")


class Model(msgspec.Struct, frozen=True):
    """`weights` are whole numbers, `scale` of them make one; suspicion begins at `threshold`."""

    weights: tuple[int, ...]
    bias: int
    scale: int
    threshold: float


@lru_cache(maxsize=1)
def model() -> Model:
    """The numbers that ship with the program."""
    raw = resources.files("callgate.scanner").joinpath("model.json").read_bytes()
    return msgspec.convert(json.loads(raw), Model)


def model_findings(leaves: tuple[Leaf, ...]) -> list[Finding]:
    """One finding at most, at the longest text, where the wording as a whole is very like that of attacks."""
    text = prose(leaves)
    if len(text) < 20 or score(model(), features(text)) < model().threshold:
        return []
    spoken = [leaf for leaf in leaves if leaf.role in _PROSE and not leaf.key]
    return [found(_FAULT, max(spoken, key=lambda leaf: len(leaf.text)), "low")]


def prose(leaves: tuple[Leaf, ...]) -> str:
    """The texts of a definition that are sentences rather than names."""
    kept = [leaf.text for leaf in leaves if leaf.role in _PROSE and not leaf.key and " " in leaf.text]
    return "\n".join(kept)[:LONGEST]


def features(text: str) -> frozenset[int]:
    """Words, their beginnings and pairs of neighbours, as places in the table of weights."""
    words = _WORD.findall(text.lower())
    grams = {word for word in words if len(word) > 1}
    grams.update(f"^{word[:5]}" for word in words if len(word) > 5)
    grams.update(f"{one} {two}" for one, two in pairwise(words))
    return frozenset(crc32(gram.encode()) % SIZE for gram in grams)


def score(numbers: Model, seen: frozenset[int]) -> float:
    """The logarithm of the odds that this is an attack."""
    if not seen:
        return -math.inf
    total = sum(numbers.weights[at] for at in seen) / math.sqrt(len(seen))
    return (total + numbers.bias) / numbers.scale
