"""`callgate approvals`: calls that wait for a person."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.client import segment
from callgate.cli.commands import command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session

app = group("approvals", "Calls that wait for a person.")
COLUMNS = ("id", "state", "person", "tool", "rules", "expires")


@dataclass(frozen=True, slots=True)
class ListOptions:
    state: Annotated[
        str, typer.Option("--state", help="pending, approved, denied, expired, cancelled, used, void, or all.")
    ] = "pending"


@dataclass(frozen=True, slots=True)
class OneOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the approval, as `approvals list` shows it.")]


@dataclass(frozen=True, slots=True)
class ApproveOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the approval, as `approvals list` shows it.")]
    reason: Annotated[str, typer.Option("--reason", help="Why it may be done; kept with the approval.")]
    reuse_for: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="The same call may be repeated so long, such as 10m.")
    ] = None


@dataclass(frozen=True, slots=True)
class DenyOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the approval, as `approvals list` shows it.")]
    reason: Annotated[str, typer.Option("--reason", help="Why not; the agent is told.")]


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List parked calls, the oldest first."""
    found = list(session.client.pages("/approvals", state=None if options.state == "all" else options.state))
    rows = [{**one, "rules": [need["title"] for need in one["needs"]]} for one in found]
    session.show(found, lambda: table(rows, COLUMNS, "Nothing waits."))


@command(app, "show", OneOptions)
def show(session: Session, options: OneOptions) -> None:
    """Show one parked call with its exact arguments."""
    found = session.client.get(f"/approvals/{segment(options.id)}")
    session.show(found, lambda: _say(found))


def _say(one: dict[str, Any]) -> None:
    via = " ".join(f"via {one[name]}" for name in ("agent", "client") if one[name])
    say(f"{one['id']} is {one['state']} (asked {one['created']}, until {one['expires']}).")
    say(f"{one['person']} {via} calls {one['tool']} of {one['upstream']}.".replace("  ", " "))
    for need in one["needs"]:
        who = f"of {', '.join(need['reviewers'])}" if need["reviewers"] else "reviewer"
        say(f"Rule {need['rule']} “{need['title']}” wants {need['quorum']} {who}.")
    for vote in one["votes"]:
        say(f"{vote['by']} {'approved' if vote['approve'] else 'denied'}: {vote['reason']}")
    if one["arguments"] is not None:
        say(f"Arguments{' (cut)' if one['arguments_cut'] else ''}:\n{one['arguments']}")
    elif one["state"] == "pending":
        say("You may not answer this one, so its arguments are not shown.")
    else:
        say("Its arguments were erased when it was decided.")


@command(app, "approve", ApproveOptions)
def approve(session: Session, options: ApproveOptions) -> None:
    """Let a call go on, once."""
    body = {"reason": options.reason}
    if options.reuse_for is not None:
        body["reuse_for"] = options.reuse_for
    found = session.client.post(f"/approvals/{segment(options.id)}/approve", body)
    waits = "" if found["state"] != "pending" else " It waits for more people."
    session.show(found, lambda: say(f"Approved {options.id}.{waits}"))


@command(app, "deny", DenyOptions)
def deny(session: Session, options: DenyOptions) -> None:
    """Refuse a call."""
    found = session.client.post(f"/approvals/{segment(options.id)}/deny", {"reason": options.reason})
    session.show(found, lambda: say(f"Denied {options.id}."))
