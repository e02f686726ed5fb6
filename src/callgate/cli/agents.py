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


@dataclass(frozen=True, slots=True)
class OneOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")]


@command(app, "add", AddOptions)
def add(session: Session, options: AddOptions) -> None:
    """Add an agent profile."""
    agent = session.client.post("/agents", {"name": options.name, "upstreams": options.upstream})
    session.show(agent, lambda: say(f"Added the agent {agent['name']}."))


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List agent profiles."""
    found = list(session.client.pages("/agents"))
    rows = [{**one, "upstreams": one["upstreams"] if one["upstreams"] is not None else "all"} for one in found]
    session.show(found, lambda: table(rows, ("name", "upstreams", "id"), "No agent profiles."))


@command(app, "remove", OneOptions)
def remove(session: Session, options: OneOptions) -> None:
    """Remove an agent profile; tokens issued for it stop working."""
    session.client.delete(f"/agents/{segment(options.name)}")
    session.show({"name": options.name, "removed": True}, lambda: say(f"Removed {options.name}."))
