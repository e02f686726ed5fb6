"""The detectors as data, read and compiled once.

A detector has a `hint`: what its values cannot do without, short enough that all hints together are looked for in one
pass; and a `pattern`, with which the few whose hint is there find the exact place. Both are google-re2's syntax, so
linear in the text. Fail closed: a table that cannot be read, or names an unknown check, stops the start.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import Any

import msgspec
import re2

from callgate.dlp.checks import CHECKS

KINDS = SECRET, PERSONAL = "secret", "personal"
_FILES = {SECRET: "secrets.toml", PERSONAL: "personal.toml"}
_MEMORY = 64 << 20


class Detector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of value. A `pattern` with a group matches the value alone, with what stands around it as context."""

    id: str
    pattern: str
    hint: str
    examples: tuple[str, ...]
    check: str = ""
    counter_examples: tuple[str, ...] = ()
    overlapping: bool = False  # a value may begin within what only looked like one
    until: str = ""  # the value goes on to the end of the line with this mark
    kind: str = ""


class Tables:
    """The compiled detectors. `likely` says which may have something to find in a text."""

    def __init__(self, detectors: tuple[Detector, ...]) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        self.detectors = detectors
        self.patterns: list[Any] = [re2.compile(one.pattern, options) for one in detectors]
        self.checks = [CHECKS[one.check] for one in detectors]
        self._hints = re2.Set.SearchSet(options)
        for one in detectors:
            self._hints.Add(one.hint)
        self._hints.Compile()

    def likely(self, data: bytes) -> list[int]:
        """Places in `detectors` of those whose hint is in a text, given as UTF-8."""
        return list(self._hints.Match(data) or ())


@cache
def tables() -> Tables:
    """The tables that ship with the program."""
    found: list[Detector] = []
    for kind, name in _FILES.items():
        text = resources.files("callgate.dlp").joinpath("rules", name).read_text("utf-8")
        rows = msgspec.convert(tomllib.loads(text)["detector"], list[Detector])
        found += [msgspec.structs.replace(row, kind=kind) for row in rows]
    return Tables(tuple(found))
