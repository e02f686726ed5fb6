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


@command(app, "deactivate", OneOptions)
def deactivate(session: Session, options: OneOptions) -> None:
    """Deactivate a person: all their tokens end at once."""
    person = session.client.post(f"/people/{segment(options.email)}/deactivate")
    session.show(person, lambda: say(f"{person['email']} is deactivated; their tokens work no more."))


@command(app, "reactivate", OneOptions)
def reactivate(session: Session, options: OneOptions) -> None:
    """Let a person in again; tokens that ended stay ended."""
    person = session.client.post(f"/people/{segment(options.email)}/reactivate")
    session.show(person, lambda: say(f"{person['email']} is active again; issue a token: callgate tokens issue"))
