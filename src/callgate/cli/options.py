"""`callgate options`: what a tenant has chosen for itself."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say
from callgate.cli.session import Session

app = group("options", "What this installation has chosen.")


@dataclass(frozen=True, slots=True)
class SetOptions:
    two_person_review: Annotated[
        bool | None,
        typer.Option("--two-person-review/--one-person-review", help="How many people have to approve a hash."),
    ] = None


@command(app, "show", NoOptions)
def show(session: Session, _options: NoOptions) -> None:
    """Show them."""
    _say(session, session.client.get("/options"))


@command(app, "set", SetOptions)
def set_(session: Session, options: SetOptions) -> None:
    """Choose otherwise."""
    body = {} if options.two_person_review is None else {"two_person_review": options.two_person_review}
    _say(session, session.client.patch("/options", body))


def _say(session: Session, chosen: dict[str, bool]) -> None:
    people = "two different people" if chosen["two_person_review"] else "one reviewer"
    session.show(chosen, lambda: say(f"A hash is trusted once {people} approved it."))
