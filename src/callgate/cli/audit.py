"""`callgate audit`: what was called, by whom, and how it ended. It holds no payload."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.commands import command, group
from callgate.cli.output import note, print_json, say
from callgate.cli.session import Session

app = group("audit", "The record of every call and change.")
WAIT = 20  # seconds of one long poll


@dataclass(frozen=True, slots=True)
class TailOptions:
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until interrupted.")] = False
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=500, help="How many of the last events.")] = 20


@dataclass(frozen=True, slots=True)
class ExportOptions:
    format: Annotated[str, typer.Option("--format", help="csv.")] = "csv"
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Such as 2026-11-01 or 30d.")] = None


@command(app, "tail", TailOptions)
def tail(session: Session, options: TailOptions) -> None:
    """Show the last events, one a line; --follow goes on."""
    for event in events(session, options):
        if session.json:
            print_json(event)
        else:
            say(line(event))


def events(session: Session, options: TailOptions) -> Iterator[dict[str, Any]]:
    """The last events, then, when asked to follow, each new one."""
    answer = session.client.get("/audit/tail", limit=options.lines)
    yield from answer["items"]
    while options.follow:
        answer = session.client.get("/audit/tail", after=answer["next"], wait=WAIT, limit=500)
        yield from answer["items"]


def line(event: dict[str, Any]) -> str:
    """One event for a person."""
    at = event["time"][:19].replace("T", " ")
    if event["type"] == "change":
        moved = f" {event['before'][:12]} → {event['after'][:12]}" if event["after"] else ""
        return f"{at}  {event['actor']}  {event['action']}  {event['subject']}{moved}"
    who = event["person"] + (f" via {event['agent']}" if event["agent"] else "")
    what = event["tool"] or event["method"]
    how = event["outcome"] or "open"
    code = f" ({event['code']})" if event["code"] else ""
    took = f"  {event['duration_us'] / 1000:.1f} ms" if event["duration_us"] else ""
    return f"{at}  {who}  {what}  {event['decision']}  {how}{code}{took}"


@command(app, "export", ExportOptions)
def export(session: Session, options: ExportOptions) -> None:
    """Write the audit as CSV to stdout (with --json: one JSON object a line)."""
    if options.format != "csv":
        raise typer.BadParameter("only csv is known", param_hint="--format")
    count = 0
    if session.json:
        for event in session.client.pages("/audit/events", since=options.since):
            print_json(event)
            count += 1
    else:
        for text in session.client.lines("/audit/export.csv", since=options.since):
            sys.stdout.buffer.write(text)
            count += 1
        sys.stdout.buffer.flush()
    note(f"{count} lines.")
