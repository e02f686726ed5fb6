"""`callgate kill`, `callgate unkill`: switch something off, now."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command
from callgate.cli.output import say, table
from callgate.cli.session import Session


@dataclass(frozen=True, slots=True)
class KillOptions:
    reason: Annotated[str, typer.Option("--reason", help="Why; agents are told.")]
    upstream: Annotated[str | None, typer.Option("--upstream", help="All calls to this upstream.")] = None
    agent: Annotated[str | None, typer.Option("--agent", help="All calls through this agent.")] = None
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="All calls of this person.")] = None
    everything: Annotated[bool, typer.Option("--all", help="Every call of everybody.")] = False


@dataclass(frozen=True, slots=True)
class UnkillOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="As `callgate kills` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "kill", KillOptions)(kill)
    command(app, "kills", NoOptions)(kills)
    command(app, "unkill", UnkillOptions)(unkill)


def kill(session: Session, options: KillOptions) -> None:
    """Refuse all calls of an upstream, agent or person, on every gateway, and end those under way."""
    body = {"reason": options.reason, "upstream": options.upstream, "agent": options.agent, "person": options.person}
    given = {key: one for key, one in body.items() if one is not None}
    found = session.client.post("/kills", {**given, "everything": options.everything})
    session.show(found, lambda: say(f"{found['title']}. End it with: callgate unkill {found['id']}"))


def kills(session: Session, _options: NoOptions) -> None:
    """List what is switched off."""
    found = session.client.get("/kills")
    session.show(found, lambda: table(found, ("id", "title", "reason"), "Nothing is switched off."))


def unkill(session: Session, options: UnkillOptions) -> None:
    """Switch something on again."""
    session.client.delete(f"/kills/{segment(options.id)}")
    session.show({"id": options.id, "ended": True}, lambda: say(f"Ended {options.id}."))
