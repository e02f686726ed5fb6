"""`callgate providers`: the OpenID providers at which people sign in."""

from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session
from callgate.cli.upstreams import from_environment
from callgate.errors import Refused

app = group("providers", "OpenID providers at which people sign in.")


@dataclass(frozen=True, slots=True)
class PutOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the button says, such as okta.")]
    issuer: Annotated[str, typer.Option("--issuer", metavar="URL", help="Its issuer.")]
    client_id: Annotated[str, typer.Option("--client-id", help="Our client id there.")]
    secret_env: Annotated[
        str | None, typer.Option("--secret-env", metavar="K", help="Variable that holds the client secret.")
    ] = None
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Domain whose addresses it speaks for; may come again.")
    ] = None
    scope: Annotated[list[str] | None, typer.Option("--scope", help="Default: openid email profile.")] = None
    role: Annotated[list[str] | None, typer.Option("--role", metavar="GROUP=ROLE", help="Group to role.")] = None
    team: Annotated[list[str] | None, typer.Option("--team", metavar="GROUP=TEAM", help="Group to team.")] = None
    groups_claim: Annotated[str, typer.Option("--groups-claim", help="Claim that lists groups.")] = "groups"
    only_known: Annotated[bool, typer.Option("--only-known", help="Add nobody at their first sign-in.")] = False
    trust_email: Annotated[
        bool, typer.Option("--trust-email", help="Believe addresses that it does not call verified.")
    ] = False
    allow_private: Annotated[bool, typer.Option("--allow-private", help="It is at a private address.")] = False
    keep_tokens: Annotated[
        bool, typer.Option("--keep-tokens", help="Keep people's sign-ins, sealed, to exchange them for upstreams.")
    ] = False
    id_jag: Annotated[
        bool, typer.Option("--id-jag", help="Accept its identity assertions (enterprise-managed authorization).")
    ] = False


@dataclass(frozen=True, slots=True)
class OneOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the provider.")]


@command(app, "put", PutOptions)
def put(session: Session, options: PutOptions) -> None:
    """Add or change a provider."""
    body: dict[str, object] = {
        "issuer": options.issuer, "client_id": options.client_id, "domains": options.domain or [],
        "roles": dict(_pair(one) for one in options.role or []),
        "teams": dict(_pair(one) for one in options.team or []), "groups_claim": options.groups_claim,
        "just_in_time": not options.only_known, "trust_email": options.trust_email,
        "allow_private": options.allow_private, "id_jag": options.id_jag,
        "keep_tokens": options.keep_tokens,
    }  # fmt: skip
    if options.scope:
        body["scopes"] = options.scope
    if options.secret_env is not None:
        body["secret"] = from_environment(options.secret_env)
    found = session.client.put(f"/providers/{segment(options.name)}", body)

    def human() -> None:
        say(f"People can sign in with {found['name']}. Register this redirect URI there: {found['callback']}")
        say(f"And, for back-channel logout: {found['backchannel_logout']}")

    session.show(found, human)


def _pair(text: str) -> tuple[str, str]:
    group_, sign, of = text.rpartition("=")
    if not sign or not group_ or not of:
        raise Refused("validation", f"`{text}` is not of the form GROUP=NAME.")
    return group_, of


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List providers."""
    found = list(session.client.pages("/providers"))
    columns = ("name", "issuer", "client_id", "domains", "roles", "teams", "callback")
    session.show(found, lambda: table(found, columns, "None; people sign in with local accounts."))


@command(app, "remove", OneOptions)
def remove(session: Session, options: OneOptions) -> None:
    """Remove a provider; who signed in there stays, but cannot any more that way."""
    session.client.delete(f"/providers/{segment(options.name)}")
    session.show({"name": options.name, "removed": True}, lambda: say(f"Removed {options.name}."))
