"""`callgate agents`: named profiles of what acts for a person."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session

app = group("agents", "Agent profiles: which upstreams an agent sees.")


@dataclass(frozen=True, slots=True)
class AddOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]
    upstream: Annotated[
        list[str] | None, typer.Option("--upstream", metavar="GLOB", help="Upstreams it sees; default all.")
    ] = None
    owner: Annotated[str | None, typer.Option("--owner", metavar="EMAIL", help="Who answers for it.")] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]


@command(app, "add", AddOptions)
def add(session: Session, options: AddOptions) -> None:
    """Add an agent profile."""
    agent = session.client.post(
        "/agents", {"name": options.name, "upstreams": options.upstream, "owner": options.owner}
    )
    session.show(agent, lambda: say(f"Added the agent {agent['name']}."))


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List agent profiles."""
    found = list(session.client.pages("/agents"))
    rows = [{**one, "upstreams": one["upstreams"] if one["upstreams"] is not None else "all"} for one in found]
    session.show(found, lambda: table(rows, ("name", "upstreams", "owner", "active", "id"), "No agent profiles."))


@command(app, "set", AddOptions)
def set_(session: Session, options: AddOptions) -> None:
    """Say anew which upstreams an agent sees and who answers for it; a stopped one goes on."""
    body = {"upstreams": options.upstream, "owner": options.owner}
    agent = session.client.put(f"/agents/{segment(options.name)}", body)
    session.show(agent, lambda: say(f"{agent['name']} is active, owned by {agent['owner'] or 'nobody'}."))


@command(app, "stop", OneOptions)
def stop(session: Session, options: OneOptions) -> None:
    """Stop an agent: its tokens are good for nothing until `agents set`."""
    path = f"/agents/{segment(options.name)}"
    known = session.client.get(path)
    body = {"upstreams": known["upstreams"], "owner": known["owner"], "active": False}
    agent = session.client.put(path, body)
    session.show(agent, lambda: say(f"{agent['name']} is stopped."))


@command(app, "remove", OneOptions)
def remove(session: Session, options: OneOptions) -> None:
    """Remove an agent profile; tokens issued for it stop working."""
    session.client.delete(f"/agents/{segment(options.name)}")
    session.show({"name": options.name, "removed": True}, lambda: say(f"Removed {options.name}."))
