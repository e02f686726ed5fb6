"""`callgate tokens`: access tokens that MCP clients and scripts send."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import command, group
from callgate.cli.output import note, say, table
from callgate.cli.session import Session

app = group("tokens", "Access tokens of people, for MCP clients and scripts.")
COLUMNS = ("id", "person", "agent", "client", "created", "expires", "revoked")


@dataclass(frozen=True, slots=True)
class IssueOptions:
    person: Annotated[str, typer.Option("--person", metavar="EMAIL", help="Who is accountable for its calls.")]
    agent: Annotated[str | None, typer.Option("--agent", help="Agent profile that acts for the person.")] = None
    client: Annotated[
        str | None,
        typer.Option("--client", help="MCP client it is for; `cli` = for the control API, `scim` = for provisioning."),
    ] = None
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="Such as 12h, 30d, 8w, or never.")] = "90d"


@dataclass(frozen=True, slots=True)
class ListOptions:
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="Only this person's.")] = None


@dataclass(frozen=True, slots=True)
class RevokeOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token (tok_…), as `tokens list` shows it.")]


@command(app, "issue", IssueOptions)
def issue(session: Session, options: IssueOptions) -> None:
    """Issue a token and print it, bare, once."""
    body: dict[str, object] = {"person": options.person, "agent": options.agent, "client": options.client}
    body["expires"] = None if options.expires == "never" else options.expires
    issued = session.client.post("/tokens", body)
    if not session.json:
        until = f"until {issued['expires']}" if issued["expires"] else "until it is revoked"
        note(f"Token {issued['id']} of {issued['person']}, valid {until}. It is shown this once.")
    session.show(issued, lambda: say(issued["token"]))


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List tokens; the tokens themselves are not stored."""
    tokens = list(session.client.pages("/tokens", person=options.person))
    session.show(tokens, lambda: table(tokens, COLUMNS, "No tokens; issue one: callgate tokens issue --person EMAIL"))


@command(app, "revoke", RevokeOptions)
def revoke(session: Session, options: RevokeOptions) -> None:
    """Revoke a token: it ends within seconds on every replica."""
    session.client.delete(f"/tokens/{segment(options.id)}")
    session.show({"id": options.id, "revoked": True}, lambda: say(f"Revoked {options.id}."))
