"""`callgate dlp`: secrets and personal data in a file of texts, offline: no gateway, no data directory, no network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from callgate.cli.commands import command
from callgate.cli.jsonl import lines
from callgate.cli.output import print_json, say
from callgate.cli.session import Session
from callgate.dlp.engine import Match, TooMany, matches
from callgate.errors import Refused


@dataclass(frozen=True, slots=True)
class DlpOptions:
    file: Annotated[str, typer.Argument(metavar="FILE", help='Lines of {"id": …, "text": …}; - is stdin.')]


class Line(msgspec.Struct, frozen=True):
    id: object
    text: str


def register(root: typer.Typer) -> None:
    """Add the command to the root."""
    command(root, "dlp", DlpOptions)(dlp)


def dlp(session: Session, options: DlpOptions) -> None:
    """Find secrets and personal data, one {"id", "text"} a line; prints where and what kind, never the value."""
    for id_, found in _searched(lines(options.file)):
        if session.json:
            places = [{"detector": one.detector, "start": one.start, "end": one.end} for one in found]
            print_json({"id": id_, "matches": places})
            continue
        for one in found:
            say(f"{id_}: {one.kind} {one.detector} {one.start}-{one.end}")


def _searched(given: Iterator[bytes]) -> Iterator[tuple[object, tuple[Match, ...]]]:
    for number, line in enumerate(given, start=1):
        if not line.strip():
            continue
        try:
            read = msgspec.json.decode(line, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Refused("validation", f'Line {number} is no JSON object with "id" and "text".') from None
        try:
            yield read.id, matches(read.text)
        except TooMany:
            raise Refused("validation", f"Line {number} holds more values than can be listed.") from None
