"""Printing what changed in a definition: the weightiest first, each line of a changed text with its sign, as in a diff.

Every text is escaped before colour is put around it, and every line of it begins with a sign: it cannot pass for a
line of ours. Colour only on a terminal, and never with NO_COLOR set (no-color.org).
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from callgate.model.finding import SEVERITIES
from callgate.telemetry.logs import plain_text

_SIGNS = {"removed": "-", "added": "+"}
_COLOURS = {"removed": "\x1b[31m", "added": "\x1b[32m", "bold": "\x1b[1m", "faint": "\x1b[2m"}
_RESET = "\x1b[0m"


def print_changes(found: Sequence[dict[str, Any]]) -> None:
    """All of them on stdout."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines(found, colour=colour):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def lines(found: Sequence[dict[str, Any]], *, colour: bool) -> Iterator[str]:
    """Grouped by severity, the highest first, in the order of the paths."""
    for severity in reversed(SEVERITIES):
        group = [one for one in found if one["severity"] == severity]
        if group:
            yield _painted(f"{severity.upper()} ({len(group)})", "bold", colour)
        for one in group:
            yield f"  {plain_text(one['kind'])}  {plain_text(one['path']) or '/'}"
            yield _painted(f"    {plain_text(one['what'])}", "faint", colour)
            for op, side in (("removed", "before"), ("added", "after")):
                if one[side] is not None:
                    yield from _side(op, _pieces(one, op, side), colour)


def _pieces(one: dict[str, Any], op: str, side: str) -> list[tuple[str, str]]:
    """(op, text) of one side: what is equal and what is only there; without parts the value as a whole."""
    parts = [(part["op"], part["text"]) for part in one["parts"] if part["op"] in {op, "equal", "cut"}]
    return parts or [(op, one[side])]


def _side(op: str, pieces: list[tuple[str, str]], colour: bool) -> Iterator[str]:
    line = ""
    for kind, text in pieces:
        first, *rest = text.split("\n")
        line += _piece(kind, first, colour)
        for more in rest:
            yield f"    {_SIGNS[op]} {line}"
            line = _piece(kind, more, colour)
    yield f"    {_SIGNS[op]} {line}"


def _piece(kind: str, text: str, colour: bool) -> str:
    safe = plain_text(text)
    return _painted(safe, "faint" if kind == "cut" else kind, colour)


def _painted(text: str, name: str, colour: bool) -> str:
    return f"{_COLOURS[name]}{text}{_RESET}" if colour and text and name in _COLOURS else text
