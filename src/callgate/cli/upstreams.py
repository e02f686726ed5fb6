"""`callgate upstreams`: the MCP servers behind the gateway."""

import os
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate.cli.client import segment
from callgate.cli.commands import NoOptions, command, group
from callgate.cli.output import say, table
from callgate.cli.session import Session
from callgate.errors import Refused

app = group("upstreams", "The MCP servers behind the gateway.")
_APART = ("stderr", "instructions", "stdio", "findings", "auth")
COLUMNS = ("name", "kind", "state", "tools", "era", "version", "target", "reason")


@dataclass(frozen=True, slots=True)
class AddOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 32 of a-z, 0-9, _ and -.")]
    target: Annotated[
        list[str], typer.Argument(metavar="URL | -- COMMAND [ARGS]...", help="An http(s) URL, or a command line.")
    ]
    sse: Annotated[bool, typer.Option("--sse", help="The URL speaks the old HTTP+SSE transport.")] = False
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="K=V", help="A variable of the program; may come again.")
    ] = None
    secret_env: Annotated[
        list[str] | None,
        typer.Option("--secret-env", metavar="K", help="A variable to take from here and keep sealed."),
    ] = None
    cwd: Annotated[str | None, typer.Option("--cwd", metavar="DIR", help="Working directory of the program.")] = None
    auth_env: Annotated[
        str | None, typer.Option("--auth-env", metavar="K", help="Variable that holds the credential to send.")
    ] = None
    auth: Annotated[
        str | None,
        typer.Option("--auth", help="none, shared, own_token or on_behalf_of; default shared with --auth-env."),
    ] = None
    auth_kind: Annotated[
        str,
        typer.Option(
            "--auth-kind",
            help="What is shared: secret, basic, client_credentials, private_key_jwt. Or, of on_behalf_of: "
            "token_exchange, id_jag.",
        ),
    ] = "secret"
    client_id: Annotated[str, typer.Option("--client-id", help="Our OAuth client id there, where it is entered.")] = ""
    issuer: Annotated[str | None, typer.Option("--issuer", help="Authorization server, where it is entered.")] = None
    scope: Annotated[list[str] | None, typer.Option("--scope", help="Scope to ask for; may come again.")] = None
    writes: Annotated[
        str | None, typer.Option("--writes", help="own_token or on_behalf_of, for tools that change something.")
    ] = None
    provider: Annotated[
        str | None, typer.Option("--provider", help="Whose sign-ins token_exchange and id_jag use.")
    ] = None
    auth_header: Annotated[str, typer.Option("--auth-header", help="Header that carries it.")] = "Authorization"
    auth_scheme: Annotated[str, typer.Option("--auth-scheme", help='Word before it; "" for none.')] = "Bearer"
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let this upstream live at a private address.")
    ] = False
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds without a sign of life.")] = 300.0
    review: Annotated[str, typer.Option("--review", help="review, trust_on_first_use or pin.")] = "review"
    trust_below: Annotated[
        str, typer.Option("--trust-below", help="trust_on_first_use: only without a finding of this severity.")
    ] = "medium"
    label: Annotated[list[str] | None, typer.Option("--label", help="A word that rules may match on.")] = None


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the upstream.")]
    mode: Annotated[str, typer.Argument(metavar="MODE", help="review, trust_on_first_use or pin.")]
    trust_below: Annotated[
        str | None, typer.Option("--trust-below", help="trust_on_first_use: only without a finding of this severity.")
    ] = None


@dataclass(frozen=True, slots=True)
class OneOptions:
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the upstream.")]


@command(app, "add", AddOptions)
def add(session: Session, options: AddOptions) -> None:
    """Add an upstream: callgate upstreams add NAME URL, or NAME -- COMMAND ARGS..."""
    upstream = session.client.post("/upstreams", creation(options))
    refreshed = session.client.post(f"/upstreams/{segment(options.name)}/refresh")

    def human() -> None:
        say(f"Added {upstream['name']}: {describe(refreshed)}")
        for finding in refreshed["findings"]:
            say(f"{finding['severity']}: {finding['detail']}")
        if refreshed["tools"]["pending_review"]:
            say("Look at its tools and approve them: callgate tools list; callgate tools approve --all --yes")

    session.show(refreshed, human)


@command(app, "review", ReviewOptions)
def review(session: Session, options: ReviewOptions) -> None:
    """Choose how an upstream's tools come to be trusted: review, trust_on_first_use or pin."""
    body: dict[str, object] = {"review": options.mode}
    if options.trust_below is not None:
        body["trust_below"] = options.trust_below
    upstream = session.client.patch(f"/upstreams/{segment(options.name)}", body)
    session.show(upstream, lambda: say(f"{upstream['name']}: {upstream['review']}"))


def creation(options: AddOptions) -> dict[str, object]:
    """The body that creates the upstream."""
    body: dict[str, object] = {
        "name": options.name,
        "allow_private": options.allow_private,
        "timeout_s": options.timeout,
        "review": options.review,
        "trust_below": options.trust_below,
        "labels": options.label or [],
    }
    if options.target[0].startswith(("http://", "https://")):
        if len(options.target) > 1:
            raise Refused("validation", "Give one URL, or a command after `--`.")
        body |= {"url": options.target[0], "transport": "sse" if options.sse else "http"}
    else:
        stdio: dict[str, object] = {"command": options.target[0], "args": options.target[1:], "cwd": options.cwd}
        stdio["env"] = dict(_pair(text) for text in options.env or [])
        stdio["secret_env"] = {name: from_environment(name) for name in options.secret_env or []}
        body["stdio"] = stdio
    if options.auth_env is not None or options.auth is not None:
        body["auth"] = authentication(options)
    return body


def authentication(options: AddOptions) -> dict[str, object]:
    """How the gateway authenticates there."""
    secret = None if options.auth_env is None else from_environment(options.auth_env)
    return {
        "mode": options.auth or "shared", "secret": secret, "header": options.auth_header,
        "scheme": options.auth_scheme, "kind": options.auth_kind, "client_id": options.client_id,
        "issuer": options.issuer, "scopes": options.scope or [], "writes": options.writes,
        "provider": options.provider,
    }  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Refused("validation", f"--env needs NAME=VALUE, got {name}.")
    return name, value


def from_environment(name: str) -> str:
    """A secret out of this command's environment. Raises `Refused("validation")`."""
    value = os.environ.get(name)
    if not value:
        raise Refused("validation", f"The environment variable {name} is not set here.")
    return value


def describe(upstream: dict[str, Any]) -> str:
    """One sentence on how an upstream is."""
    if upstream["state"] == "broken":
        return f"broken: {upstream['reason']}"
    if upstream["state"] == "new":
        return "not looked at yet"
    counts = ", ".join(f"{count} {status}" for status, count in upstream["tools"].items() if count)
    return f"{upstream['era']} {upstream['version']}, tools: {counts or 'none'}"


def row(upstream: dict[str, Any]) -> dict[str, object]:
    """An upstream as a line of a table."""
    tools = upstream["tools"]
    stdio = upstream["stdio"]
    target = upstream["url"] or " ".join([stdio["command"], *stdio["args"]])
    shown = f"{tools['trusted']} of {sum(tools.values()) - tools['removed']} trusted"
    return {**upstream, "tools": shown, "target": target if len(target) <= 60 else target[:59] + "…"}


@command(app, "list", NoOptions)
def list_(session: Session, _options: NoOptions) -> None:
    """List all upstreams with their state."""
    found = list(session.client.pages("/upstreams"))
    rows = [row(one) for one in found]
    session.show(found, lambda: table(rows, COLUMNS, "No upstreams; add one: callgate upstreams add NAME URL"))


@command(app, "show", OneOptions)
def show(session: Session, options: OneOptions) -> None:
    """Show one upstream, with the last lines of its stderr."""
    found = session.client.get(f"/upstreams/{segment(options.name)}")

    def human() -> None:
        shown = {key: value for key, value in row(found).items() if key not in _APART}
        for key, value in shown.items():
            say(f"{key:14} {value if value not in (None, '') else '-'}")
        auth = found["auth"]
        if auth["mode"] != "none":
            say(f"{'auth':14} {auth['mode']}, sent as {auth['header']}: {auth['scheme']} …")
        if found["stdio"]:
            say(f"{'environment':14} {', '.join([*found['stdio']['env'], *found['stdio']['secret_env']]) or '-'}")
        for finding in found["findings"]:
            say(f"{'finding':14} {finding['severity']}: {finding['detail']}")
        if found["instructions"]:
            say(f"instructions:\n{found['instructions']}")
        if found["stderr"]:
            say(f"stderr (not stored):\n{found['stderr']}")

    session.show(found, human)


@command(app, "refresh", OneOptions)
def refresh(session: Session, options: OneOptions) -> None:
    """Look at an upstream now."""
    found = session.client.post(f"/upstreams/{segment(options.name)}/refresh")
    session.show(found, lambda: say(f"{found['name']}: {describe(found)}"))


@command(app, "remove", OneOptions)
def remove(session: Session, options: OneOptions) -> None:
    """Remove an upstream; its tools are gone for every client."""
    session.client.delete(f"/upstreams/{segment(options.name)}")
    session.show({"name": options.name, "removed": True}, lambda: say(f"Removed {options.name}."))
