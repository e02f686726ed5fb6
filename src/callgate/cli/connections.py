"""`callgate connections`: people's own accounts at upstreams."""

import getpass
import sys
from dataclasses import dataclass
from threading import Event
from typing import Annotated

import typer

from callgate import clock
from callgate.cli.client import segment
from callgate.cli.commands import command, group
from callgate.cli.output import note, say, table
from callgate.cli.session import Session
from callgate.cli.upstreams import from_environment
from callgate.errors import Refused

app = group("connections", "People's own accounts at upstreams.")
COLUMNS = ("upstream", "state", "mode", "reason", "scope", "expires")
_WAIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class ListOptions:
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="Whose; default your own.")] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    upstream: Annotated[str, typer.Argument(metavar="UPSTREAM", help="Name of the upstream.")]
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="Whose; default your own.")] = None


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    upstream: Annotated[str, typer.Argument(metavar="UPSTREAM", help="Name of the upstream.")]
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="Whose; default your own.")] = None
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="K", help="Variable that holds your token there.")
    ] = None
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Show the link and return.")] = False


def _query(person: str | None) -> dict[str, object]:
    return {} if person is None else {"person": person}


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List accounts and how they stand."""
    found = list(session.client.pages("/connections", **_query(options.person)))
    session.show(found, lambda: table(found, COLUMNS, "No upstream here wants accounts of people."))


@command(app, "connect", ConnectOptions)
def connect(session: Session, options: ConnectOptions) -> None:
    """Connect an account: shows the page to open, and waits until it is done."""
    path, query = f"/connections/{segment(options.upstream)}", _query(options.person)
    found = session.client.get(path, **query)
    if found["mode"] == "own_token":
        found = session.client.put(f"{path}/token", {"token": _token(options)}, **query)
    elif options.no_wait:
        session.show(found, lambda: say(f"Open this page and connect: {found['url']}"))
        return
    else:
        note(f"Open this page and connect: {found['url']}")
        before, until = found["since"], clock.monotonic() + _WAIT_SECONDS
        while found["state"] != "connected" or found["since"] == before:
            if clock.monotonic() > until:
                raise Refused("connection_failed", "Nobody connected within ten minutes.")
            Event().wait(1.0)
            found = session.client.get(path, **query)
    session.show(found, lambda: say(f"{found['upstream']}: {found['state'].replace('_', ' ')}"))


def _token(options: ConnectOptions) -> str:
    """The token: out of a variable, or typed where nobody sees it."""
    if options.token_env is not None:
        return from_environment(options.token_env)
    if not sys.stdin.isatty():
        raise Refused("validation", "Give --token-env, the name of the variable that holds your token.")
    return getpass.getpass(f"Your token for {options.upstream}: ", stream=sys.stderr)


@command(app, "disconnect", OneOptions)
def disconnect(session: Session, options: OneOptions) -> None:
    """End an account here; the vendor is told."""
    session.client.delete(f"/connections/{segment(options.upstream)}", **_query(options.person))
    session.show({"upstream": options.upstream, "disconnected": True}, lambda: say(f"{options.upstream}: disconnected"))


@command(app, "test", OneOptions)
def test(session: Session, options: OneOptions) -> None:
    """Try an account: asks the upstream for its tools with it."""
    found = session.client.post(f"/connections/{segment(options.upstream)}/test", **_query(options.person))
    session.show(found, lambda: say(f"{found['upstream']} takes the account."))
