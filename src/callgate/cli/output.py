"""Printing: one JSON value on stdout with `--json`, else a table or a sentence; notes and errors on stderr.

What an upstream chose (names, descriptions, reasons) is shown with control and invisible characters escaped.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from callgate.telemetry.logs import plain_text


def print_json(value: object) -> None:
    """One JSON value on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Lines of text for a person, on stdout."""
    sys.stdout.write("\n".join(plain_text(line) for line in text.split("\n")) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Lines that are not part of the answer, on stderr."""
    sys.stderr.write("\n".join(plain_text(line) for line in text.split("\n")) + "\n")
    sys.stderr.flush()


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str], empty: str) -> None:
    """Aligned columns with a heading; `empty` says what to do when there are no rows."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if not cells:
        say(empty)
        return
    widths = [max(len(column), *(len(row[index]) for row in cells)) for index, column in enumerate(columns)]
    for row in [[column.upper().replace("_", " ") for column in columns], *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(_cell(item) for item in value) or "-"
    return plain_text(str(value))
