"""`callgate rules`: who may call what."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session
from callgate.errors import Refused
from callgate.policy.details import TEXTS
from callgate.policy.model import LISTS

app = group("rules", "Rules: who may call what.")
DIMENSIONS = (*LISTS, *TEXTS, "network")


@dataclass(frozen=True, slots=True)
class AddOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="A short id such as prod-deletes.")]
    effect: Annotated[str, typer.Option("--effect", help="deny, require_approval, redact or allow.")]
    title: Annotated[str, typer.Option("--title", help="What people see as the reason.")]
    match: Annotated[
        list[str] | None,
        typer.Option(
            "--match",
            metavar="WHAT=GLOB",
            help="upstream, tool, person, role, team, agent, label, risk … (docs/guides/rules.md).",
        ),
    ] = None
    unless: Annotated[
        list[str] | None, typer.Option("--unless", metavar="WHAT=GLOB", help="What it does not apply to.")
    ] = None
    when: Annotated[
        str, typer.Option("--when", metavar="CEL", help="Only if this holds, as in: args.force == true")
    ] = ""
    redact: Annotated[
        list[str] | None,
        typer.Option("--redact", metavar="WHAT=VALUE", help="phase, detector, kind, member, action or allowed."),
    ] = None
    message: Annotated[str, typer.Option("--message", help="What the agent is told instead.")] = ""


@dataclass(frozen=True, slots=True)
class OneOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the rule.")]


@command(app, "add", AddOptions)
def add(session: Session, options: AddOptions) -> None:
    """Add a rule."""
    match: dict[str, object] = dict(globs(options.match or []))
    if options.unless:
        match["unless"] = globs(options.unless)
    body = {
        "id": options.id,
        "title": options.title,
        "effect": options.effect,
        "match": match,
        "when": options.when,
        "message": options.message,
    }
    if options.redact or options.effect == "redact":
        body["redact"] = redaction(options.redact or [])
    rule = session.client.post("/rules", body)
    session.show(rule, lambda: say(f"Added the rule {rule['id']} ({rule['effect']})."))


def globs(pairs: list[str]) -> dict[str, list[str]]:
    """`tool=*delete*` and the like as lists per dimension. Raises `Refused("validation")`."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, sign, glob = pair.partition("=")
        if not sign or name not in DIMENSIONS or not glob:
            raise Refused("validation", f"Write WHAT=GLOB with one of {', '.join(DIMENSIONS)}.")
        found.setdefault(name, []).append(glob)
    return found


def redaction(pairs: list[str]) -> dict[str, object]:
    """`member=customer` and the like as what a rule redacts. Raises `Refused("validation")`."""
    found: dict[str, object] = {}
    lists = {"detector": "detectors", "kind": "kinds", "member": "members", "allowed": "allowed"}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or name not in (*lists, "phase", "action") or not value:
            raise Refused("validation", f"Write --redact WHAT=VALUE with one of {', '.join(lists)}, phase, action.")
        if name in lists:
            found[lists[name]] = [*found.get(lists[name], []), value]  # type: ignore[misc]
        else:
            found[name] = value
    return found


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List all rules."""
    found = list(session.client.pages("/rules"))
    rows = [{**rule, "match": summary(rule["match"])} for rule in found]
    session.show(
        found, lambda: table(rows, ("id", "effect", "title", "match", "when"), "No rules: trusted tools are allowed.")
    )


def summary(match: dict[str, Any]) -> str:
    """A match on one line."""
    parts = [f"{name}={'|'.join(match[name])}" for name in DIMENSIONS if match.get(name)]
    if match.get("unless"):
        parts.append(f"unless ({summary(match['unless'])})")
    return " ".join(parts) or "everything"


@command(app, "remove", OneOptions)
def remove(session: Session, options: OneOptions) -> None:
    """Remove a rule."""
    session.client.delete(f"/rules/{segment(options.id)}")
    session.show({"id": options.id, "removed": True}, lambda: say(f"Removed {options.id}."))
