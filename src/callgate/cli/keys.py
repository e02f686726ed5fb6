"""`callgate keys`: the keys of the stored secrets."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say
from callgate.cli.session import Session

app = group("keys", "The keys of the stored secrets.")


@dataclass(frozen=True, slots=True)
class RewrapOptions:
    everybody: Annotated[bool, typer.Option("--all", help="Of all tenants; for the operator.")] = False


@dataclass(frozen=True, slots=True)
class DestroyOptions:
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Its name, as a confirmation.")]


@command(app, "status", NoOptions)
def status(session: Session, _options: NoOptions) -> None:
    """Show what wraps the keys, and how many values each key has sealed."""
    found = session.client.get("/keys")

    def human() -> None:
        if found["destroyed"]:
            say(f"Destroyed at {found['destroyed']}; nothing can be sealed for this tenant any more.")
            return
        say(f"Wrapped by   {found['wrapped_by'] or 'nothing yet'}")
        if found["wrapped_by"] != found["wraps_now"]:
            say(f"Would be by  {found['wraps_now']} (callgate keys rewrap)")
        say(f"Rotated      {found['rotated'] or 'never'}")
        for number, count in found["sealed"].items():
            say(f"Key {number} sealed {count} values{' and seals now' if number == found['seals'] else ''}")
        if found["stray"]:
            say(f"{found['stray']} values are under keys that are gone: set them again.")

    session.show(found, human)


@command(app, "rotate", NoOptions)
def rotate(session: Session, _options: NoOptions) -> None:
    """Make a fresh key and seal every stored secret with it, while everything runs."""
    found = session.client.post("/keys/rotate")

    def human() -> None:
        say(f"A fresh key seals now; {found['resealed']} values were sealed again.")
        if found["left"]:
            say(f"{found['left']} values did not open and stay as they are.")
        say(f"{found['keys']} keys are kept; those that seal nothing any more go with the next rotation.")

    session.show(found, human)


@command(app, "rewrap", RewrapOptions)
def rewrap(session: Session, options: RewrapOptions) -> None:
    """Wrap the keys with the wrapping key that is set now: after a change of it, or of what is behind it."""
    found = session.client.post("/keys/rewrap", {"everybody": options.everybody})
    session.show(found, lambda: say(f"{found['count']} tenants' keys are wrapped by {found['by']}."))


@command(app, "destroy", DestroyOptions)
def destroy(session: Session, options: DestroyOptions) -> None:
    """Destroy a tenant's keys for good, and with them every secret that is stored for it."""
    found = session.client.post("/keys/destroy", {"tenant": options.tenant})
    done = "had been destroyed before" if found["before"] else "are destroyed"
    session.show(found, lambda: say(f"The keys of {found['tenant']} {done}; what they sealed never opens again."))
