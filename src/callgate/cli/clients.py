"""`callgate clients`: OAuth client programs, and what people allowed them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session
from callgate.errors import Refused

app = group("clients", "OAuth client programs, and what people allowed them.")
COLUMNS = ("name", "kind", "client_id", "agent", "owner", "used", "id")


@dataclass(frozen=True, slots=True)
class AddOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people are shown.")]
    redirect: Annotated[
        list[str] | None, typer.Option("--redirect", metavar="URL", help="Redirect URI; may come again.")
    ] = None
    secret: Annotated[bool, typer.Option("--secret", help="Make a secret, shown once.")] = False
    jwks: Annotated[Path | None, typer.Option("--jwks", help="File with its public keys (private_key_jwt).")] = None
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="EMAIL", help="Whom it acts for with client credentials.")
    ] = None
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Agent profile that it acts as.")] = None
    document: Annotated[
        str | None, typer.Option("--document", metavar="URL", help="Pin a copy of this metadata document.")
    ] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `list` shows it.")]


@dataclass(frozen=True, slots=True)
class SetOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `list` shows it.")]
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help='Agent profile; "" for none.')] = ""


@dataclass(frozen=True, slots=True)
class AllowedOptions:
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="Of one person.")] = None


@command(app, "add", AddOptions)
def add(session: Session, options: AddOptions) -> None:
    """Enter a client of your own, or pin a metadata document."""
    body: dict[str, object] = {
        "name": options.name, "redirect_uris": options.redirect or [], "confidential": options.secret,
        "owner": options.owner, "agent": options.agent, "document": options.document,
    }  # fmt: skip
    if options.jwks is not None:
        try:
            body["jwks"] = json.loads(options.jwks.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise Refused("validation", f"{options.jwks} is no readable JSON: {error}") from None
    client = session.client.post("/clients", body)

    def human() -> None:
        say(f"Added {client['name']}. Its client_id: {client['client_id']}")
        if client["secret"]:
            say(f"Its client_secret, shown only now: {client['secret']}")

    session.show(client, human)


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List clients: those that registered themselves, too."""
    found = list(session.client.pages("/clients"))
    session.show(found, lambda: table(found, COLUMNS, "No client has registered yet; connect one to this gateway."))


@command(app, "set", SetOptions)
def set_(session: Session, options: SetOptions) -> None:
    """Say as which agent a client acts; it has to sign in again."""
    client = session.client.patch(f"/clients/{segment(options.id)}", {"agent": options.agent or None})
    session.show(client, lambda: say(f"{client['name']} acts as {client['agent'] or 'the person alone'}."))


@command(app, "remove", OneOptions)
def remove(session: Session, options: OneOptions) -> None:
    """Remove a client; its tokens end at once."""
    session.client.delete(f"/clients/{segment(options.id)}")
    session.show({"id": options.id, "removed": True}, lambda: say(f"Removed {options.id}."))


@command(app, "allowed", AllowedOptions)
def allowed(session: Session, options: AllowedOptions) -> None:
    """List what clients were allowed by whom."""
    query = {} if options.person is None else {"person": options.person}
    found = list(session.client.pages("/authorizations", **query))
    columns = ("person", "client", "agent", "scope", "created", "expires", "id")
    session.show(found, lambda: table(found, columns, "Nobody has allowed any client anything."))


@command(app, "end", OneOptions)
def end(session: Session, options: OneOptions) -> None:
    """End what a client was allowed, by its id in `allowed`; its tokens end at once."""
    session.client.delete(f"/authorizations/{segment(options.id)}")
    session.show({"id": options.id, "ended": True}, lambda: say(f"Ended {options.id}."))
