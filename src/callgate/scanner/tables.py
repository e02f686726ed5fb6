"""The rule tables as they are shipped: read once, checked, never changed. Pure but for reading the package's own files.

`rules/words/*.toml` name signals in one language each: words that mean nothing alone. `rules/*.toml` hold the rules:
patterns of their own (`patterns`), or signals that stand near each other (`near`). A table that cannot be read stops
the start: a scanner with half of its rules must not run.
"""

import hashlib
import tomllib
from functools import cache
from importlib.resources import files

import msgspec

ENGINE = 1  # grows with every change of what the engine makes of the tables


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signals of a language. `boundary`: "word" (both ends), "start" (stems), "none" (scripts without blanks)."""

    language: str
    boundary: str
    words: dict[str, list[str]]


class Rule(msgspec.Struct, frozen=True, rename={"cls": "class"}, forbid_unknown_fields=True):
    """What to look for and what to say about it. Each example must be found and no counter-example may be."""

    id: str
    version: int
    cls: str
    severity: str
    why: str
    fix: str
    examples: list[str]
    counter_examples: list[str]
    languages: list[str] = []  # of `patterns`; `near` rules hold in every language that has the signals
    roles: list[str] = []  # of leaves; none is every role
    patterns: list[str] = []
    near: list[str] = []  # signals, "a|b" for either
    gap: int = 60  # characters between one signal and the next
    sentences: int = 0  # how many ends of sentences may lie between them
    ordered: bool = False
    soft: bool = False  # lowered where the text speaks of attacks or quotes
    negatable: bool = False  # does not count after "never" or "do not"
    hidden: bool = False  # only in text that was hidden or encoded
    foreign: bool = False  # of words of other languages than English: does not count amidst English words
    joined: bool = False  # also looked for across the texts of one definition


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: list[Rule]


class Tables(msgspec.Struct, frozen=True):
    rules: tuple[Rule, ...]
    words: tuple[Words, ...]
    version: str


@cache
def tables() -> Tables:
    """All tables. Raises what a broken table deserves."""
    folder = files("callgate.scanner") / "rules"
    digest = hashlib.sha256(str(ENGINE).encode())
    rules: list[Rule] = []
    words: list[Words] = []
    for place, kind in ((folder, "rules"), (folder / "words", "words")):
        for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
            if not entry.name.endswith(".toml"):
                continue
            data = entry.read_bytes()
            digest.update(data)
            parsed = tomllib.loads(data.decode("utf-8"))
            if kind == "rules":
                rules.extend(msgspec.convert(parsed, _File).rule)
            else:
                words.append(msgspec.convert(parsed, Words))
    return Tables(tuple(rules), tuple(words), f"{ENGINE}.{digest.hexdigest()[:12]}")
