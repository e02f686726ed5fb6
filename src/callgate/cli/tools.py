"""`callgate tools`: what upstreams offer, and what a reviewer said of it."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.client import Client, segment
from callgate.cli.commands import command, group
from callgate.cli.differences import print_changes
from callgate.cli.output import note, say, table
from callgate.cli.session import Session
from callgate.errors import Refused

app = group("tools", "Tools of the upstreams and their review.")
COLUMNS = ("name", "upstream", "status", "full", "findings")
_AT_ONCE = 1000  # tools approved by one request
REVIEWABLE = ("pending_review", "drift_detected")


@dataclass(frozen=True, slots=True)
class ListOptions:
    upstream: Annotated[str | None, typer.Option("--upstream", help="Only of this upstream.")] = None
    status: Annotated[
        str | None, typer.Option("--status", help="pending_review, trusted, drift_detected, blocked or removed.")
    ] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Public name of the tool.")]


@dataclass(frozen=True, slots=True)
class ApproveOptions:
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Public name of the tool.")] = None
    hash: Annotated[str | None, typer.Option("--hash", metavar="FULL", help="The hash that was shown.")] = None
    all: Annotated[bool, typer.Option("--all", help="Every tool that was never reviewed.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do it.")] = False


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List tools with their status and hashes."""
    found = list(session.client.pages("/tools", upstream=options.upstream, status=options.status))
    found.sort(key=lambda tool: tool["name"])
    rows = [{**tool, "full": tool["full"][:12] + "…", "findings": len(tool["findings"])} for tool in found]
    session.show(found, lambda: table(rows, COLUMNS, "No tools; add an upstream: callgate upstreams add NAME URL"))


@command(app, "show", OneOptions)
def show(session: Session, options: OneOptions) -> None:
    """Show one tool: definition, hashes, versions."""
    found = session.client.get(f"/tools/{segment(options.name)}")

    def human() -> None:
        for key in ("name", "upstream", "tool", "status", "full", "core", "approved_full", "quarantined"):
            say(f"{key:14} {found[key] or '-'}")
        say("definition:")
        definition = found["definition"]
        say(found["raw"] if definition is None else json.dumps(definition, ensure_ascii=False, indent=2))
        if found["status"] in REVIEWABLE:
            say(f"Approve exactly this: callgate tools approve {found['name']} --hash {found['full']}")

    session.show(found, human)


@command(app, "diff", OneOptions)
def diff(session: Session, options: OneOptions) -> None:
    """Show what changed since the approved version."""
    found = session.client.get(f"/tools/{segment(options.name)}/diff")

    def human() -> None:
        say(f"{found['name']}: {found['old'] or 'never approved'} → {found['new']}")
        print_changes(found["changes"])
        if not found["changes"]:
            say("No difference.")
        else:
            say(f"Approve exactly this: callgate tools approve {found['name']} --hash {found['new']}")

    session.show(found, human)


@command(app, "approve", ApproveOptions)
def approve(session: Session, options: ApproveOptions) -> None:
    """Approve a tool by the hash that was shown, or --all --yes."""
    if options.all == (options.name is not None):
        raise typer.BadParameter("give NAME --hash FULL, or --all --yes")
    if options.name is not None:
        if options.hash is None:
            raise typer.BadParameter("give the hash that you looked at: --hash FULL (callgate tools show NAME)")
        tool = _approve(session.client, options.name, options.hash)
        session.show(tool, lambda: say(_approved(tool)))
        return
    _approve_all(session, options.yes)


def _approved(tool: dict[str, Any]) -> str:
    if tool["listed"]:
        return f"Trusted: {tool['name']}"
    return f"Approved: {tool['name']}, but the server no longer offers it; trusted once it offers exactly this again."


def _approve(client: Client, name: str, full: str) -> dict[str, Any]:
    tool: dict[str, Any] = client.post(f"/tools/{segment(name)}/approve", {"full": full})
    return tool


def _approve_all(session: Session, yes: bool) -> None:
    """Only what nobody has reviewed: a drifted or blocked tool is approved one by one, with its hash."""
    waiting = list(session.client.pages("/tools", status="pending_review"))
    if not yes:
        rows = [{**tool, "full": tool["full"][:12] + "…", "findings": len(tool["findings"])} for tool in waiting]
        table(rows, COLUMNS, "No tool waits for its first review.")
        raise Refused("validation", f"{len(waiting)} tools would be trusted; say --yes to do it.")
    trusted, refused = [], []
    shown = [{"name": tool["name"], "full": tool["full"]} for tool in waiting]
    for start in range(0, len(shown), _AT_ONCE):
        done = session.client.post("/tools/approve", {"tools": shown[start : start + _AT_ONCE]})
        trusted += done["approved"]
        refused += done["refused"]
    for tool in refused:
        note(f"{tool['name']}: {tool['detail']}")
    session.show(trusted, lambda: say(f"Trusted {len(trusted)} tools."))
    if refused:
        raise Refused("validation", f"{len(refused)} tools were not approved.")


@command(app, "block", OneOptions)
def block(session: Session, options: OneOptions) -> None:
    """Block a tool: nobody can list or call it."""
    tool = session.client.post(f"/tools/{segment(options.name)}/block")
    session.show(tool, lambda: say(f"Blocked: {tool['name']}"))
