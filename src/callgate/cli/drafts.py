"""`callgate policies …`: drafts of the rules, trials, publishing and rolling back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import yaml

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command
from callgate.cli.governance_file import read
from callgate.cli.output import note, say, table
from callgate.cli.session import Session
from callgate.errors import Refused

_TRIED = "Draft to try; without it, the rules in force."


@dataclass(frozen=True, slots=True)
class DraftOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="A short name such as spring.")]
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="File with rules: and tests:; - is stdin.")
    ] = None
    rebase: Annotated[bool, typer.Option("--rebase", help="Make the version in force its base.")] = False


@dataclass(frozen=True, slots=True)
class NameOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the draft.")]


@dataclass(frozen=True, slots=True)
class PublishOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the draft.")]
    note: Annotated[str, typer.Option("--note", help="Why; it stands in the list of versions.")]


@dataclass(frozen=True, slots=True)
class VersionOptions:
    version: Annotated[int, typer.Argument(metavar="VERSION", min=0, help="As `policies versions` shows it.")]


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    version: Annotated[int, typer.Argument(metavar="VERSION", min=0, help="As `policies versions` shows it.")]
    note: Annotated[str, typer.Option("--note", help="Why; it stands in the list of versions.")]


@dataclass(frozen=True, slots=True)
class TryOptions:
    name: Annotated[str | None, typer.Argument(metavar="NAME", help=_TRIED)] = None


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    name: Annotated[str | None, typer.Argument(metavar="NAME", help=_TRIED)] = None
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="2026-11-01, or back from now such as 7d.")] = (
        "7d"
    )
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Likewise; without it, now.")] = None


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    person: Annotated[str, typer.Argument(metavar="EMAIL", help="As whom.")]
    agent: Annotated[str | None, typer.Option("--agent", help="Through this agent.")] = None
    draft: Annotated[str | None, typer.Option("--draft", metavar="NAME", help=_TRIED)] = None


@dataclass(frozen=True, slots=True)
class RetestOptions:
    call: Annotated[str, typer.Argument(metavar="CALL", help="Id of a blocked call, as the audit shows it.")]
    draft: Annotated[str | None, typer.Option("--draft", metavar="NAME", help=_TRIED)] = None


def register(app: typer.Typer) -> None:
    """Add the commands to `callgate policies`."""
    command(app, "versions", NoOptions)(versions)
    command(app, "show", VersionOptions)(show)
    command(app, "rollback", RollbackOptions)(rollback)
    command(app, "drafts", NoOptions)(drafts)
    command(app, "draft", DraftOptions)(draft)
    command(app, "diff", NameOptions)(diff)
    command(app, "discard", NameOptions)(discard)
    command(app, "publish", PublishOptions)(publish)
    command(app, "test", TryOptions)(test)
    command(app, "simulate", SimulateOptions)(simulate)
    command(app, "preview", PreviewOptions)(preview)
    command(app, "retest", RetestOptions)(retest)


def versions(session: Session, _options: NoOptions) -> None:
    """List the versions of the rules, the newest first."""
    found = list(session.client.pages("/policies/versions"))
    columns = ("version", "in_force", "at", "actor", "back_to", "note")
    session.show(found, lambda: table(found, columns, "No rule was ever published."))


def show(session: Session, options: VersionOptions) -> None:
    """Print the rules of a version as a file."""
    found = session.client.get(f"/policies/versions/{options.version}")
    session.show(found, lambda: say(_file(found)))


def rollback(session: Session, options: RollbackOptions) -> None:
    """Bring a version back, as a new version."""
    found = session.client.post("/policies/rollback", {"version": options.version, "note": options.note})
    session.show(found, lambda: say(f"Version {found['version']} is in force: the rules of {options.version} again."))


def drafts(session: Session, _options: NoOptions) -> None:
    """List drafts."""
    found = session.client.get("/policies/drafts")
    rows = [{**one, "rules": len(one["rules"]), "tests": len(one["tests"])} for one in found]
    columns = ("name", "base", "stale", "rules", "tests", "changed", "actor")
    session.show(found, lambda: table(rows, columns, "No drafts. Make one: callgate policies draft NAME -f FILE"))


def draft(session: Session, options: DraftOptions) -> None:
    """Make or change a draft from a file; without a file, print it (a new one is a copy of what is in force)."""
    path = f"/policies/drafts/{segment(options.name)}"
    body: dict[str, Any] = {"rebase": True} if options.rebase else {}
    if options.file is not None:
        body |= _content(options.file)
    found = session.client.put(path, body) if body else _opened(session, path)
    if options.file is None and not options.rebase:
        session.show(found, lambda: say(_file(found)))
        return
    stale = " Another version is in force by now: look at the difference and save with --rebase." * found["stale"]
    counts = f"{len(found['rules'])} rules, {len(found['tests'])} tests"
    session.show(found, lambda: say(f"Saved {found['name']}: {counts}, from version {found['base']}.{stale}"))


def _opened(session: Session, path: str) -> Any:
    try:
        return session.client.get(path)
    except Refused as refused:
        if refused.code != "not_found":
            raise
        return session.client.put(path, {})


def _content(path: Path) -> dict[str, Any]:
    document = read(path)
    given = {name for name in document.__struct_fields__ if getattr(document, name) is not None}
    other = sorted(given - {"rules", "tests", "options"})
    if other:
        raise Refused("validation", f"{path}: a draft holds rules and tests; {other[0]} go with `callgate apply`.")
    values = msgspec.to_builtins(document)
    found = {name: values[name] for name in ("rules", "tests") if values.get(name) is not None}
    if document.options is not None and document.options.default_effect is not None:
        found["default"] = document.options.default_effect
    return found


def _file(content: dict[str, Any]) -> str:
    """As a file that `policies draft NAME -f FILE` takes."""
    value: dict[str, Any] = {name: [{"id": one["id"], **one} for one in content[name]] for name in ("rules", "tests")}
    if content["default"] != "allow":
        value["options"] = {"default_effect": content["default"]}
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n")


def diff(session: Session, options: NameOptions) -> None:
    """Show what publishing a draft would change."""
    found = session.client.get(f"/policies/drafts/{segment(options.name)}/diff")

    def human() -> None:
        table(found["differences"], ("action", "kind", "id", "fields"), "Nothing: it is as in force.")
        if found["stale"]:
            say(f"It was made from version {found['base']}; {found['in_force']} is in force by now.")

    session.show(found, human)


def discard(session: Session, options: NameOptions) -> None:
    """Throw a draft away."""
    session.client.delete(f"/policies/drafts/{segment(options.name)}")
    session.show({"name": options.name, "discarded": True}, lambda: say(f"Discarded {options.name}."))


def publish(session: Session, options: PublishOptions) -> None:
    """Put a draft into force, if its tests pass."""
    found = session.client.post(f"/policies/drafts/{segment(options.name)}/publish", {"note": options.note})
    session.show(found, lambda: say(f"Version {found['version']} is in force."))


def test(session: Session, options: TryOptions) -> None:
    """Run the stored tests; exit code 1 when one fails."""
    found = session.client.post("/policies/test", _tried(options.name))
    failed = found["failures"]
    session.show(found, lambda: table(failed, ("test", "why"), f"{found['tests']} tests pass."))
    if failed:
        raise Refused("tests_failed", f"{len(failed)} of {found['tests']} tests fail.")


def simulate(session: Session, options: SimulateOptions) -> None:
    """Say which recorded calls would be decided otherwise. Nothing is called."""
    note("Going through the recorded calls.")
    body = {**_tried(options.name), "since": options.since, "until": options.until}
    found = session.client.post("/policies/simulate", {key: one for key, one in body.items() if one is not None})

    def human() -> None:
        cut = " (there are more)" if found["cut"] else ""
        say(f"{found['calls']} calls{cut}: {found['changed']} would be decided otherwise, {found['unknown']} depend on")
        say(f"arguments, which nobody kept, {found['gone']} are of people or tools that are gone.")
        for title in ("by_change", "by_rule", "by_person", "by_tool", "unknown_by_rule"):
            rows = [{title: key or "the default", "calls": number} for key, number in found[title].items()]
            if rows:
                say()
                table(rows, (title, "calls"), "")

    session.show(found, human)


def preview(session: Session, options: PreviewOptions) -> None:
    """Show every tool as one person finds it."""
    body = {"person": options.person, "agent": options.agent, "draft": options.draft}
    found = session.client.post("/policies/preview", {key: one for key, one in body.items() if one is not None})
    columns = ("tool", "listed", "decision", "rule", "depends")
    session.show(found, lambda: table(found, columns, "There are no tools."))


def retest(session: Session, options: RetestOptions) -> None:
    """Judge a blocked call again with the arguments that it had. Nothing is sent."""
    found = session.client.post("/policies/retest", {"call": options.call, **_tried(options.draft)})

    def human() -> None:
        say(f"It was {found['before']} by {found['before_rule'] or 'default'}.")
        say(f"It would be {found['decision']} by {found['rule'] or 'default'}. {found['message']}".rstrip())

    session.show(found, human)


def _tried(name: str | None) -> dict[str, Any]:
    return {} if name is None else {"draft": name}
