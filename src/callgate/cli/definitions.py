"""`callgate definitions`: prompts, resources, templates, instructions and what servers call themselves."""

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import command, group
from callgate.cli.output import say, table
from callgate.cli.risks import finding_line
from callgate.cli.session import Session

app = group("definitions", "What upstreams offer beside tools.")
COLUMNS = ("public_name", "upstream", "status", "risk", "held_back", "id")


@dataclass(frozen=True, slots=True)
class ListOptions:
    kind: Annotated[str, typer.Option("--kind", help="prompt, resource, template, instructions or server.")] = "prompt"
    upstream: Annotated[str | None, typer.Option("--upstream", help="Only of this upstream.")] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id, as `definitions list` shows it.")]


@dataclass(frozen=True, slots=True)
class ApproveOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id, as `definitions list` shows it.")]
    hash: Annotated[str, typer.Option("--hash", metavar="FULL", help="The hash that was shown.")]
    note: Annotated[str, typer.Option("--note", help="What you want to say about it; kept in the history.")] = ""


@dataclass(frozen=True, slots=True)
class BlockOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id, as `definitions list` shows it.")]
    note: Annotated[str, typer.Option("--note", help="Why; kept in the history.")] = ""


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List prompts, or another kind."""
    found = list(session.client.pages("/definitions", kind=options.kind, upstream=options.upstream))
    found.sort(key=lambda one: (one["upstream"], one["public_name"]))
    session.show(found, lambda: table(found, COLUMNS, f"No upstream offers a {options.kind}."))


@command(app, "show", OneOptions)
def show(session: Session, options: OneOptions) -> None:
    """Show one with its content and what the scanner saw."""
    found = session.client.get(f"/definitions/{segment(options.id)}")

    def human() -> None:
        for key in ("kind", "public_name", "upstream", "status", "full", "approved_full", "held_back"):
            say(f"{key:14} {found[key] or '-'}")
        for finding in found["findings"]:
            say(finding_line(finding))
        content = found["definition"]
        say(found["raw"] if content is None else json.dumps(content, ensure_ascii=False, indent=2))
        say(f"Approve exactly this: callgate definitions approve {found['id']} --hash {found['full']}")

    session.show(found, human)


@command(app, "approve", ApproveOptions)
def approve(session: Session, options: ApproveOptions) -> None:
    """Approve one by the hash that was shown; a later change holds it back."""
    body = {"full": options.hash, "note": options.note}
    found = session.client.post(f"/definitions/{segment(options.id)}/approve", body)
    session.show(found, lambda: say(f"Approved: {found['kind']} {found['public_name']}"))


@command(app, "block", BlockOptions)
def block(session: Session, options: BlockOptions) -> None:
    """Block one: nobody gets to see it."""
    found = session.client.post(f"/definitions/{segment(options.id)}/block", {"note": options.note})
    session.show(found, lambda: say(f"Blocked: {found['kind']} {found['public_name']}"))
