"""`callgate scan`: what the scanner finds in tool definitions of a file. Needs no gateway and no data directory.

A definition is scanned as its bytes stand in the line: re-writing it would hide what a parser forgives. A line that
cannot be read ends the command; it is never passed over.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from callgate.cli.commands import command
from callgate.cli.output import print_json, say, table
from callgate.cli.session import Session
from callgate.errors import Refused
from callgate.model.finding import Finding
from callgate.scanner.engine import scan as scanned

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[][{}:,]', re.DOTALL)
_COLUMNS = ("severity", "class", "path", "rule", "says")


@dataclass(frozen=True, slots=True)
class ScanOptions:
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines with id and tool; - is stdin.")]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "scan", ScanOptions)(scan)


def scan(session: Session, options: ScanOptions) -> None:
    """Scan tool definitions, one `{"id", "tool"}` a line, without a gateway."""
    count = suspect = 0
    with ExitStack() as stack:
        for name, raw in _tools(_opened(options.file, stack)):
            findings = scanned("tool", raw)
            count += 1
            suspect += bool(findings)
            if session.json:
                print_json({"id": name, "findings": [_short(finding) for finding in findings]})
            elif findings:
                _show(str(name), findings)
    if not session.json:
        say(f"{count} scanned, {suspect} with findings.")


def _opened(name: str, stack: ExitStack) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(name).open("rb"))
    except OSError as error:
        raise Refused("validation", f"{name} cannot be read: {error.strerror}.") from None


def _tools(lines: BinaryIO) -> Iterator[tuple[object, bytes]]:
    """The id and the raw definition of each line that is not blank. Raises `Refused`."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _tool(number, line)


def _tool(number: int, line: bytes) -> tuple[object, bytes]:
    members = _members(line.strip().removeprefix(b"\xef\xbb\xbf"))
    if members is None:
        raise Refused("validation", f"Line {number} is not a JSON object.")
    if "tool" not in members or "id" not in members:
        raise Refused("validation", f"Line {number} has no {'id' if 'tool' in members else 'tool'}.")
    try:
        name: object = json.loads(members["id"])
    except (ValueError, RecursionError):
        name = None
    if not isinstance(name, str | int):
        raise Refused("validation", f"The id in line {number} is neither a text nor a whole number.")
    return (_mended(name) if isinstance(name, str) else name), members["tool"]


def _members(line: bytes) -> dict[str, bytes] | None:
    """The members of an object with the bytes of their values, of which only the ends are looked for; `None` where it
    is no object."""
    try:
        json.loads(line.decode("utf-8", "replace"))
    except RecursionError:  # the scanner has a finding for that
        pass
    except ValueError:
        return None
    found: dict[str, bytes] = {}
    name, begin, depth = "", 0, 0
    for token in _TOKEN.finditer(line):
        sign = token[0][:1]
        if depth == 1 and sign == b":":
            begin = token.end()
        elif depth == 1 and sign == b'"' and not begin:
            name = json.loads(token[0].decode("utf-8", "replace"))
        elif depth == 1 and begin and sign in b",}":
            found[name] = line[begin : token.start()].strip()
            begin = 0
        depth += (sign in b"{[") - (sign in b"]}")
    return found if line[:1] == b"{" and depth == 0 else None


def _mended(text: str) -> str:
    """Half characters cannot be printed."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _short(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "class": finding.cls,
        "severity": finding.severity,
        "path": finding.path,
        "start": finding.start,
        "end": finding.end,
    }


def _show(name: str, findings: tuple[Finding, ...]) -> None:
    say(f"{name}: {len(findings)} findings" if len(findings) > 1 else f"{name}: 1 finding")
    rows = [{**_short(finding), "says": finding.decoded or finding.excerpt} for finding in findings]
    table(rows, _COLUMNS, "")
    say()
