"""`callgate tools`: what upstreams offer, and what a reviewer said of it."""

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer

from callgate.cli.client import Client, segment
from callgate.cli.commands import command, group
from callgate.cli.differences import print_changes
from callgate.cli.output import note, say, table
from callgate.cli.risks import finding_line
from callgate.cli.session import Session
from callgate.errors import Refused
from callgate.model.finding import SEVERITIES, rank

app = group("tools", "Tools of the upstreams and their review.")
COLUMNS = ("name", "upstream", "status", "full", "risk", "findings")
_AT_ONCE = 1000  # tools approved by one request
_SHOWN = (
    "name", "upstream", "tool", "status", "full", "core", "approved_full", "approved_by", "quarantined", "renamed_from",
)  # fmt: skip
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
    upstream: Annotated[str | None, typer.Option("--upstream", help="With --all: only of this upstream.")] = None
    glob: Annotated[str | None, typer.Option("--glob", help="With --all: only public names like this.")] = None
    no_findings: Annotated[
        bool, typer.Option("--no-findings", help="With --all: only where the scanner saw nothing.")
    ] = False
    note: Annotated[str, typer.Option("--note", help="What you want to say about it; kept in the history.")] = ""


@dataclass(frozen=True, slots=True)
class BlockOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Public name of the tool.")]
    note: Annotated[str, typer.Option("--note", help="Why; kept in the history.")] = ""


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    upstream: Annotated[list[str] | None, typer.Option("--upstream", help="Only of this upstream; may come again.")] = (
        None
    )
    severity: Annotated[
        str, typer.Option("--severity", help="The least severe finding that fails: info, low, medium, high, critical.")
    ] = "medium"
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="STATUS", help="A status that does not fail; may come again.")
    ] = None
    no_refresh: Annotated[bool, typer.Option("--no-refresh", help="Judge by the last look.")] = False


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List tools with their status and hashes."""
    found = list(session.client.pages("/tools", upstream=options.upstream, status=options.status))
    found.sort(key=lambda tool: tool["name"])
    session.show(found, lambda: _table(found, "No tools; add an upstream: callgate upstreams add NAME URL"))


def _table(tools: list[dict[str, Any]], empty: str) -> None:
    rows = [
        {**tool, "full": tool["full"][:12] + "…", "findings": len(tool["findings"]), "status": _status(tool)}
        for tool in tools
    ]
    table(rows, COLUMNS, empty)


def _status(tool: dict[str, Any]) -> str:
    """The status with what is special about it."""
    more = [
        word
        for word, holds in (
            ("pinned", tool["pinned"]),
            ("first use", tool["approved_by"] == "trust_on_first_use"),
            ("1 of 2", tool["awaiting_second"]),
            ("renamed", tool["renamed_from"] and tool["status"] == "pending_review"),
        )
        if holds
    ]
    return f"{tool['status']} ({', '.join(more)})" if more else str(tool["status"])


@command(app, "show", OneOptions)
def show(session: Session, options: OneOptions) -> None:
    """Show one tool: definition, hashes, versions."""
    found = session.client.get(f"/tools/{segment(options.name)}")

    def human() -> None:
        for key in _SHOWN:
            say(f"{key:14} {_status(found) if key == 'status' else found[key] or '-'}")
        for finding in found["findings"]:
            say(finding_line(finding))
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
        tool = _approve(session.client, options)
        session.show(tool, lambda: say(_approved(tool)))
        return
    _approve_all(session, options)


def _approved(tool: dict[str, Any]) -> str:
    if tool["awaiting_second"]:
        return f"Approved by you: {tool['name']}. A second reviewer has to approve the same hash."
    if tool["listed"]:
        return f"Trusted: {tool['name']}"
    return f"Approved: {tool['name']}, but the server no longer offers it; trusted once it offers exactly this again."


def _approve(client: Client, options: ApproveOptions) -> dict[str, Any]:
    body = {"full": options.hash, "note": options.note}
    tool: dict[str, Any] = client.post(f"/tools/{segment(options.name or '')}/approve", body)
    return tool


def _chosen(session: Session, options: ApproveOptions) -> list[dict[str, Any]]:
    """What `--all` means: tools that nobody has reviewed, narrowed by upstream, name and findings."""
    waiting = session.client.pages("/tools", status="pending_review", upstream=options.upstream)
    return [
        tool
        for tool in waiting
        if (options.glob is None or fnmatchcase(tool["name"], options.glob))
        and not (options.no_findings and tool["findings"])
    ]


def _approve_all(session: Session, options: ApproveOptions) -> None:
    """Only what nobody has reviewed and has no high finding: all else is approved one by one, with its hash."""
    waiting = _chosen(session, options)
    if not options.yes:
        _table(waiting, "No tool waits for its first review.")
        raise Refused("validation", f"{len(waiting)} tools would be trusted; say --yes to do it.")
    trusted, refused = [], []
    shown = [{"name": tool["name"], "full": tool["full"]} for tool in waiting]
    for start in range(0, len(shown), _AT_ONCE):
        body = {"tools": shown[start : start + _AT_ONCE], "note": options.note}
        done = session.client.post("/tools/approve", body)
        trusted += done["approved"]
        refused += done["refused"]
    for tool in refused:
        note(f"{tool['name']}: {tool['detail']}")
    session.show(trusted, lambda: say(_trusted(trusted)))
    if refused:
        raise Refused("validation", f"{len(refused)} tools were not approved.")


def _trusted(tools: list[dict[str, Any]]) -> str:
    second = sum(tool["awaiting_second"] for tool in tools)
    first = f"Trusted {len(tools) - second} tools."
    return f"{first} {second} wait for a second reviewer." if second else first


@command(app, "block", BlockOptions)
def block(session: Session, options: BlockOptions) -> None:
    """Block a tool: nobody can list or call it."""
    tool = session.client.post(f"/tools/{segment(options.name)}/block", {"note": options.note})
    session.show(tool, lambda: say(f"Blocked: {tool['name']}"))


@command(app, "history", OneOptions)
def history(session: Session, options: OneOptions) -> None:
    """Show what happened to a tool, and why."""
    found = session.client.get(f"/tools/{segment(options.name)}/history")["items"]
    columns = ("at", "actor", "cause", "before", "after", "full", "note")
    rows = [{**step, "full": step["full"][:12] + "…"} for step in found]
    session.show(found, lambda: table(rows, columns, "Nothing happened to it yet."))


@command(app, "preflight", PreflightOptions)
def preflight(session: Session, options: PreflightOptions) -> None:
    """Look at everything now; exit 1 if a tool is not trusted or has a finding."""
    if options.severity not in SEVERITIES:
        raise typer.BadParameter(f"--severity is one of {', '.join(SEVERITIES)}")
    broken = [] if options.no_refresh else _refreshed(session, options)
    allowed = {"trusted", "blocked", *(options.allow or ())}
    failing = [
        {"name": tool["name"], "status": tool["status"], "risk": tool["risk"], "full": tool["full"], "why": why}
        for tool in session.client.pages("/tools")
        if (not options.upstream or tool["upstream"] in options.upstream)
        and (why := _preflight(tool, allowed, options.severity))
    ]
    shown = {"ok": not failing and not broken, "tools": failing, "broken": broken}

    def human() -> None:
        for upstream in broken:
            say(f"{upstream['name']}: broken: {upstream['reason']}")
        table(failing, ("name", "status", "risk", "why"), "Every tool is as it was approved.")

    session.show(shown, human)
    if failing or broken:
        raise Refused("validation", f"{len(failing)} tools and {len(broken)} upstreams do not pass.")


def _refreshed(session: Session, options: PreflightOptions) -> list[dict[str, Any]]:
    """Look at the upstreams now; those that are broken."""
    wanted = [
        upstream["name"]
        for upstream in session.client.pages("/upstreams")
        if upstream["enabled"] and (not options.upstream or upstream["name"] in options.upstream)
    ]
    found = [session.client.post(f"/upstreams/{segment(name)}/refresh") for name in wanted]
    return [{"name": one["name"], "reason": one["reason"]} for one in found if one["state"] == "broken"]


def _preflight(tool: dict[str, Any], allowed: set[str], severity: str) -> str:
    """Why a tool does not pass; "" when it does. What a reviewer blocked is out of reach already."""
    if tool["status"] not in allowed:
        return f"it is {tool['status']}"
    if tool["status"] != "blocked" and rank(tool["risk"]) >= rank(severity):
        return f"it has a {tool['risk']} finding: callgate risks list --tool {tool['name']}"
    return ""
