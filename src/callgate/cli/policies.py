"""`callgate policies`: what the rules as a whole would do, and why."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli import drafts
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session
from callgate.errors import Refused

app = group("policies", "What the rules as a whole would do, and why; drafts, versions.")
drafts.register(app)


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    person: Annotated[str, typer.Option("--person", metavar="EMAIL", help="Who would call.")]
    tool: Annotated[str, typer.Option("--tool", metavar="NAME", help="The tool, as `tools list` shows it.")]
    arguments: Annotated[
        str | None, typer.Option("--arguments", metavar="JSON", help="What would be sent; without it, as in a list.")
    ] = None
    agent: Annotated[str | None, typer.Option("--agent", help="Through this agent.")] = None
    client: Annotated[str | None, typer.Option("--client", help="Through this client.")] = None
    draft: Annotated[str | None, typer.Option("--draft", metavar="NAME", help="Under this draft.")] = None


@command(app, "explain", ExplainOptions)
def explain(session: Session, options: ExplainOptions) -> None:
    """Say what the rules decide on a call, and why each matches or does not. Nothing is called."""
    body: dict[str, Any] = {"person": options.person, "tool": options.tool}
    body |= {
        "agent": options.agent,
        "client": options.client,
        "draft": options.draft,
        "arguments": _arguments(options.arguments),
    }
    found = session.client.post("/policies/explain", {key: one for key, one in body.items() if one is not None})

    def human() -> None:
        by = f"the rule {found['rule']}" if found["rule"] else "the default, no rule matches"
        say(f"{found['decision']}: {by}" + ("" if found["callable"] else "; but the tool is not trusted now"))
        if found["limited_by"]:
            say(f"It is counted by {', '.join(found['limited_by'])}.")
        if found["shadow"]:
            say(f"The rules in shadow mode would make it {found['shadow']}.")
        if found["message"]:
            say(found["message"])
        table([_row(one) for one in found["rules"]], ("rule", "effect", "outcome", "because"), "There are no rules.")

    session.show(found, human)


@command(app, "lint", NoOptions)
def lint(session: Session, _options: NoOptions) -> None:
    """Name rules that can never decide, contradict each other, may fail, or match nothing; exit code 1 for any."""
    found = session.client.get("/policies/lint")
    odd = found["oddities"]
    session.show(found, lambda: table(odd, ("rule", "kind", "sentence"), "Nothing is odd about the rules."))
    if odd:
        raise Refused("conflict", f"{len(odd)} things to look at.")


def _row(verdict: dict[str, Any]) -> dict[str, Any]:
    missed = ", ".join(verdict["missed"])
    almost = "only " if verdict["almost"] else ""
    return {**verdict, "because": verdict["why"] or (f"{almost}{missed} did not match" if missed else "")}


def _arguments(text: str | None) -> object:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused("validation", "Write --arguments as a JSON object, such as '{\"force\": true}'.")
    return found
