"""The root of the command line."""

import sys
from typing import Any

import typer

from callgate import __version__
from callgate.cli import (
    adopt,
    agents,
    approvals,
    audit,
    clients,
    connect,
    connections,
    definitions,
    dlp,
    doctor,
    governance,
    keys,
    kill,
    options,
    people,
    policies,
    providers,
    risks,
    rules,
    scan,
    tokens,
    tools,
    up,
    upstreams,
)
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say
from callgate.cli.session import Session


def build() -> typer.Typer:
    """All commands."""
    root = group("callgate", "One governed URL in front of every MCP server.")
    up.register(root)
    connect.register(root)
    adopt.register(root)
    governance.register(root)
    doctor.register(root)
    kill.register(root)
    dlp.register(root)
    scan.register(root)
    command(root, "version", NoOptions)(version)
    known = (people, agents, tokens, clients, providers, connections, keys)
    policing = (rules, policies, approvals)
    for module in (upstreams, tools, definitions, risks, *known, *policing, audit, options):
        root.add_typer(module.app)
    return root


def version(session: Session, _options: NoOptions) -> None:
    """Print the version."""
    session.show({"version": __version__}, lambda: say(__version__))


app = build()


def main() -> Any:
    """Entry point of the `callgate` program. Exit codes: 0 done, 1 refused or failed, 2 usage."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a C locale must not make a name with an accent fail
            reconfigure(encoding="utf-8", errors="backslashreplace")
    return app(prog_name="callgate")
