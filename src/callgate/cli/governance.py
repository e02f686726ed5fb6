"""`callgate plan`, `apply` and `export`: the governance file."""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import yaml

from callgate import clock
from callgate.cli.client import Client, segment
from callgate.cli.commands import NoOptions, command
from callgate.cli.governance_file import read
from callgate.cli.output import note, say, table
from callgate.cli.session import Session
from callgate.control.documents import Document, secret_names
from callgate.errors import Refused

_SLOW_DOWN = 5.0  # seconds between looks at an upstream that is broken


@dataclass(frozen=True, slots=True)
class PlanOptions:
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="Governance file; - is stdin.")]
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove upstreams, agents and rules that the file does not name.")
    ] = False


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="Governance file; - is stdin.")]
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove upstreams, agents and rules that the file does not name.")
    ] = False
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, max=3600, help="How long to wait for discovery.")
    ] = 120.0


def register(app: typer.Typer) -> None:
    """Add the three commands to the root."""
    command(app, "plan", PlanOptions)(plan)
    command(app, "apply", ApplyOptions)(apply)
    command(app, "export", NoOptions)(export)


def plan(session: Session, options: PlanOptions) -> None:
    """Show what `apply` would change."""
    document = read(options.file)
    result = session.client.post("/governance/plan", _body(document, options.prune, strict=False))

    def human() -> None:
        _changes(result["changes"], "Nothing to change.")
        for one in result["missing"]:
            say(f"waits    {one['kind']:9} {one['name']}: {one['reason']}")

    session.show(result, human)


def apply(session: Session, options: ApplyOptions) -> None:
    """Make everything as the file says; waits for discovery."""
    document = read(options.file)
    body = _body(document, options.prune, strict=True)
    result = session.client.post("/governance/apply", body)
    deadline = clock.monotonic() + options.wait
    changes: list[dict[str, Any]] = result["changes"]
    looked: dict[str, float] = {}
    while _open(result["missing"]) and clock.monotonic() < deadline:
        left = deadline - clock.monotonic()
        note(f"Waiting for {len(result['missing'])} of the file's entries, at most {left:.0f} s longer.")
        _look(session.client, _upstreams_of(document, result["missing"]), looked)
        result = session.client.post("/governance/apply", body)
        changes += result["changes"]
    answer = {"changes": changes, "missing": result["missing"]}
    session.show(answer, lambda: _changes(changes, "Everything is as the file says already."))
    if result["missing"]:
        lines = [f"  {one['kind']} {one['name']}: {one['reason']}" for one in result["missing"]]
        raise Refused("validation", "Applied, but this is missing:\n" + "\n".join(lines))


def _open(missing: Iterable[dict[str, Any]]) -> bool:
    return any(not one["final"] for one in missing)


def _upstreams_of(document: Document, missing: Iterable[dict[str, Any]]) -> list[str]:
    """The upstreams that something is missing of, in the order of the file."""
    names = {one["name"].partition(":")[0] for one in missing if one["kind"] != "person" and not one["final"]}
    in_file = [*(spec.name for spec in document.upstreams or ()), *(spec.upstream for spec in document.tools or ())]
    return [name for name in dict.fromkeys(in_file) if name in names]


def _look(client: Client, names: list[str], looked: dict[str, float]) -> None:
    """Look at each upstream now; one that was looked at a moment ago is given time first."""
    for name in names:
        since = clock.monotonic() - looked.get(name, -_SLOW_DOWN)
        if since < _SLOW_DOWN:
            threading.Event().wait(_SLOW_DOWN - since)
        state = client.post(f"/upstreams/{segment(name)}/refresh")
        looked[name] = clock.monotonic()
        if state["state"] == "broken":
            note(f"{name} is broken: {state['reason']}")


def _body(document: Document, prune: bool, *, strict: bool) -> dict[str, object]:
    """The request. Secrets come out of this command's environment; `plan` does without values that are not set."""
    secrets: dict[str, str] = {}
    for name in secret_names(document):
        value = os.environ.get(name)
        if value is None and strict:
            raise Refused("validation", f"The file refers to the environment variable {name}, which is not set here.")
        secrets[name] = value if value is not None else ""
    return {"document": msgspec.to_builtins(document), "secrets": secrets, "prune": prune}


def _changes(changes: list[dict[str, Any]], none: str) -> None:
    table(changes, ("action", "kind", "name", "detail"), none)


def export(session: Session, _options: NoOptions) -> None:
    """Print the configuration as a governance file, with full hashes."""
    document = session.client.get("/governance/export")
    if "rules" in document:
        document["rules"] = [{"id": rule["id"], **rule} for rule in document["rules"]]
    session.show(document, lambda: say(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip("\n")))
