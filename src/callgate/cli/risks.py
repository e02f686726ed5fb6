"""`callgate risks`: what the scanner saw in the definitions of now, and who let it stand."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import note, say, table
from callgate.cli.session import Session
from callgate.errors import Refused

app = group("risks", "What the scanner saw in tools, prompts and instructions.")
COLUMNS = ("severity", "class", "name", "path", "excerpt", "id")
_EXCERPT = 60  # characters of it in a table


@dataclass(frozen=True, slots=True)
class ListOptions:
    upstream: Annotated[str | None, typer.Option("--upstream", help="Only of this upstream.")] = None
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Only of this tool.")] = None
    severity: Annotated[str, typer.Option("--severity", help="At least info, low, medium, high or critical.")] = "info"
    acknowledged: Annotated[bool, typer.Option("--acknowledged", help="Those that somebody let stand.")] = False


@dataclass(frozen=True, slots=True)
class OneOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the finding, as `risks list` shows it.")]


@dataclass(frozen=True, slots=True)
class AckOptions:
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the finding, as `risks list` shows it.")]
    note: Annotated[str, typer.Option("--note", help="Why it may stand.")]


@command(app, "list", ListOptions)
def list_(session: Session, options: ListOptions) -> None:
    """List findings that nobody has acknowledged, the worst first."""
    found = list(
        session.client.pages(
            "/risks", upstream=options.upstream, tool=options.tool, severity=options.severity,
            acknowledged="true" if options.acknowledged else None,
        )
    )  # fmt: skip
    order = ("critical", "high", "medium", "low", "info")
    found.sort(key=lambda risk: (order.index(risk["severity"]), risk["name"], risk["path"], risk["start"]))
    session.show(found, lambda: table([_row(risk) for risk in found], COLUMNS, "Nothing is open."))


def _row(risk: dict[str, Any]) -> dict[str, Any]:
    excerpt = risk["excerpt"]
    return {**risk, "excerpt": excerpt if len(excerpt) <= _EXCERPT else excerpt[:_EXCERPT] + "…"}


@command(app, "show", OneOptions)
def show(session: Session, options: OneOptions) -> None:
    """Show one finding: where, what, and why it matters."""
    found = session.client.get(f"/risks/{segment(options.id)}")

    def human() -> None:
        say(f"{found['name'] or found['kind']} ({found['upstream']}, {found['status']})")
        say(finding_line(found))
        for key in ("decoded", "why", "fix", "raised"):
            say(f"{key:8} {found[key] or '-'}")
        if found["acknowledged"] is None:
            say(f"Let it stand: callgate risks ack {found['id']} --note WHY")
        else:
            known = found["acknowledged"]
            say(f"Let stand by {known['by']} at {known['at']}: {known['note'] or '-'}")

    session.show(found, human)


@command(app, "ack", AckOptions)
def ack(session: Session, options: AckOptions) -> None:
    """Let a finding stand, until the text or the rule changes."""
    found = session.client.post(f"/risks/{segment(options.id)}/ack", {"note": options.note})
    session.show(found, lambda: say(f"Let stand: {found['rule']} in {found['name']}"))


@command(app, "rescan", NoOptions)
def rescan(session: Session, _options: NoOptions) -> None:
    """Look at every definition again, with the rules of now."""
    report = session.client.post("/risks/rescan")

    def human() -> None:
        say(f"Looked at {report['scanned']} definitions with rules {report['rules']}.")
        table([_row(risk) for risk in report["raised"]], COLUMNS, "Nothing new.")
        if report["gone"]:
            say(f"{report['gone']} findings are gone.")

    session.show(report, human)


@command(app, "judge", NoOptions)
def judge(session: Session, _options: NoOptions) -> None:
    """Ask the outside judge about every definition that it has not seen."""
    rounds: list[dict[str, Any]] = []
    while not rounds or (rounds[-1]["left"] and rounds[-1]["asked"] and not rounds[-1]["reason"]):
        rounds.append(session.client.post("/risks/judge"))
        note(f"{rounds[-1]['left']} definitions left")
    last = rounds[-1]
    raised = [risk for one in rounds for risk in one["raised"]]
    report = {**last, "asked": sum(one["asked"] for one in rounds), "raised": raised}

    def human() -> None:
        say(f"Asked {report['judge']} about {report['asked']} definitions.")
        table([_row(risk) for risk in raised], COLUMNS, "Nothing new.")

    session.show(report, human)
    if report["reason"]:
        raise Refused("internal", f"It stopped with {report['left']} definitions left. {report['reason']}")


def finding_line(finding: dict[str, Any]) -> str:
    """One line that says what was found and where."""
    place = f"{finding['path'] or '/'}:{finding['start']}-{finding['end']}"
    stands = " (acknowledged)" if finding["acknowledged"] is not None else ""
    return f"{finding['severity']:8} {finding['class']} [{finding['rule']}] {place}{stands}: {finding['excerpt']}"
