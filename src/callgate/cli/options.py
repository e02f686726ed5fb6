"""`callgate options`: what a tenant has chosen for itself."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say
from callgate.cli.session import Session
from callgate.control.fields import DURATION_PATTERN, seconds
from callgate.errors import Refused

app = group("options", "What this installation has chosen.")


@dataclass(frozen=True, slots=True)
class SetOptions:
    two_person_review: Annotated[
        bool | None,
        typer.Option("--two-person-review/--one-person-review", help="How many people have to approve a hash."),
    ] = None
    keep_arguments: Annotated[
        str | None,
        typer.Option("--keep-arguments", metavar="TIME", help="Of blocked calls, sealed, such as 7d; off for none."),
    ] = None


@command(app, "show", NoOptions)
def show(session: Session, _options: NoOptions) -> None:
    """Show them."""
    _say(session, session.client.get("/options"))


@command(app, "set", SetOptions)
def set_(session: Session, options: SetOptions) -> None:
    """Choose otherwise."""
    body: dict[str, object] = {}
    if options.two_person_review is not None:
        body["two_person_review"] = options.two_person_review
    if options.keep_arguments is not None:
        body["keep_arguments_s"] = _seconds(options.keep_arguments)
    _say(session, session.client.patch("/options", body))


def _seconds(text: str) -> float:
    if text == "off":
        return 0.0
    if re.search(DURATION_PATTERN, text) is None:
        raise Refused("validation", "Write --keep-arguments as a duration such as 7d, or off.")
    return seconds(text)


def _say(session: Session, chosen: dict[str, Any]) -> None:
    people = "two different people" if chosen["two_person_review"] else "one reviewer"
    kept = chosen["keep_arguments_s"]
    keeping = f"for {kept / 3600:g} hours, sealed" if kept else "not at all"

    def human() -> None:
        say(f"A hash is trusted once {people} approved it.")
        say(f"A trusted tool that no rule matches: {chosen['default_effect']}.")
        say(f"Arguments of blocked calls are kept {keeping}.")

    session.show(chosen, human)
