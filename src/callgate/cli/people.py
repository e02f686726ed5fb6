"""`callgate people`: who is accountable for calls."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session

app = group("people", "People: who is accountable for a call.")
COLUMNS = ("email", "roles", "teams", "active", "id")


@dataclass(frozen=True, slots=True)
class AddOptions:
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address.")]
    role: Annotated[
        list[str] | None, typer.Option("--role", help="member (default), reviewer, admin or auditor; may come again.")
    ] = None
    team: Annotated[list[str] | None, typer.Option("--team", help="A team; may come again.")] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address.")]


@command(app, "add", AddOptions)
def add(session: Session, options: AddOptions) -> None:
    """Add a person."""
    body = {"email": options.email, "roles": options.role or ["member"], "teams": options.team or []}
    person = session.client.post("/people", body)
    session.show(person, lambda: say(f"Added {person['email']} ({', '.join(person['roles'])})."))


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List all people."""
    people = list(session.client.pages("/people"))
    session.show(people, lambda: table(people, COLUMNS, "Nobody yet; add one: callgate people add EMAIL"))


@command(app, "set", AddOptions)
def set_(session: Session, options: AddOptions) -> None:
    """Set the roles or teams of a person."""
    body: dict[str, object] = {}
    if options.role is not None:
        body["roles"] = options.role
    if options.team is not None:
        body["teams"] = options.team
    person = session.client.patch(f"/people/{segment(options.email)}", body)
    session.show(person, lambda: say(f"{person['email']}: {', '.join(person['roles'])}."))


@command(app, "invite", OneOptions)
def invite(session: Session, options: OneOptions) -> None:
    """Make a one-time link with which a person sets a password."""
    link = session.client.post(f"/people/{segment(options.email)}/link")
    session.show(link, lambda: say(f"Give this to {options.email} alone; it is good once: {link['url']}"))


@dataclass(frozen=True, slots=True)
class LeaveOptions:
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address.")]
    transfer_to: Annotated[
        str | None, typer.Option("--transfer-to", metavar="EMAIL", help="Who gets their agents; else these stop.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be ended, and end nothing.")] = False


@dataclass(frozen=True, slots=True)
class ReceiptOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `deactivate` and `left` show it.")]


@command(app, "deactivate", LeaveOptions)
def deactivate(session: Session, options: LeaveOptions) -> None:
    """Off-board a person: sessions, tokens, accounts, parked calls and agents end at once."""
    body = {"transfer_to": options.transfer_to, "dry_run": options.dry_run}
    left = session.client.post(f"/people/{segment(options.email)}/deactivate", body)

    def human() -> None:
        will = "would end" if left["dry_run"] else "ended"
        found = left["summary"]
        for name in ("sessions", "authorizations", "tokens", "parked_calls"):
            say(f"{will:9} {found[name]} {name.replace('_', ' ')}")
        say(f"{will:9} accounts at: {', '.join(found['upstreams']) or 'none'}")
        for agent in found["agents"]:
            say(f"{will:9} agent {agent['name']}: {'given to ' + agent['to'] if agent['to'] else 'stopped'}")
        if left["receipt"]:
            say(f"{left['email']} is deactivated. Receipt: callgate people receipt {left['receipt']}")

    session.show(left, human)


@command(app, "left", NoOptions)
def left_(session: Session, _options: NoOptions) -> None:
    """List who left."""
    found = list(session.client.pages("/offboardings"))
    session.show(found, lambda: table(found, ("email", "at", "cause", "id"), "Nobody has left."))


@command(app, "receipt", ReceiptOptions)
def receipt(session: Session, options: ReceiptOptions) -> None:
    """Show the signed receipt of an off-boarding."""
    signed = session.client.get(f"/offboardings/{segment(options.id)}")

    def human() -> None:
        found = signed["receipt"]
        say(f"{found['email']} left at {found['at']}, ended by {found['actor']}.")
        for one in found["upstreams"]:
            say(f"{one['upstream']:24} {one['state'].replace('_', ' '):14} {one['answer']}")
        say("All vendors have answered." if found["complete"] else "Some vendors have not answered yet; look again.")

    session.show(signed, human)


@command(app, "reactivate", OneOptions)
def reactivate(session: Session, options: OneOptions) -> None:
    """Let a person in again; tokens that ended stay ended."""
    person = session.client.post(f"/people/{segment(options.email)}/reactivate")
    session.show(person, lambda: say(f"{person['email']} is active again; issue a token: callgate tokens issue"))
