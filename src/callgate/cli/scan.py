"""`callgate scan`: the scanner over a file of tool definitions, offline: no gateway, no data directory, no network."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from callgate.cli.commands import command
from callgate.cli.jsonl import lines
from callgate.cli.output import print_json, say
from callgate.cli.session import Session
from callgate.errors import Refused
from callgate.model.finding import Finding
from callgate.scanner.engine import scan as findings_of
from callgate.wire import jsonrpc


@dataclass(frozen=True, slots=True)
class ScanOptions:
    file: Annotated[str, typer.Argument(metavar="FILE", help='Lines of {"id": …, "tool": …}; - is stdin.')]
    second_opinion: Annotated[
        bool, typer.Option("--second-opinion", help="Ask the statistical model too; it adds `low` at most.")
    ] = False


_BEGINNING = re.compile(rb'\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*,\s*"tool"\s*:')


def register(root: typer.Typer) -> None:
    """Add the command to the root."""
    command(root, "scan", ScanOptions)(scan)


def scan(session: Session, options: ScanOptions) -> None:
    """Scan tool definitions, one {"id", "tool"} a line, and print what is found in each."""
    for id_, findings in _scanned(lines(options.file), options.second_opinion):
        if session.json:
            print_json({"id": id_, "findings": [_place(finding) for finding in findings]})
            continue
        for finding in findings:
            place = f"{finding.path or '/'}:{finding.start}-{finding.end}"
            say(f"{id_}: {finding.severity} {finding.cls} [{finding.rule}] {place}: {finding.excerpt}")


def _place(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "class": finding.cls,
        "severity": finding.severity,
        "path": finding.path.encode("utf-8", "backslashreplace").decode(),
        "start": finding.start,
        "end": finding.end,
    }


def _scanned(given: Iterator[bytes], second_opinion: bool) -> Iterator[tuple[object, tuple[Finding, ...]]]:
    for number, line in enumerate(given, start=1):
        if not line.strip():
            continue
        try:
            id_, tool = _parted(line.strip())
        except (Refused, KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Refused("validation", f'Line {number} is no JSON object with "id" and "tool".') from None
        yield id_, findings_of("tool", tool, second_opinion=second_opinion)


def _parted(line: bytes) -> tuple[object, bytes]:
    """The id and the raw tool of a line. A tool that is nested too deep to be read is handed on as it stands."""
    begun = _BEGINNING.match(line)
    if begun is not None and line.endswith(b"}"):
        try:
            jsonrpc.check_depth(line, 256)
        except Refused:
            return msgspec.json.decode(begun[1]), line[begun.end() : -1]
    read = jsonrpc.members(line)
    return msgspec.json.decode(read["id"]), bytes(read["tool"])
