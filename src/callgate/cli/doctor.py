"""`callgate doctor`: checks the whole set-up and ends with one real tools/call through the MCP endpoint."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from callgate import clock
from callgate.cli.client import Client, segment
from callgate.cli.commands import command
from callgate.cli.local import LocalGateway
from callgate.cli.mcp_probe import call_tool
from callgate.cli.output import say
from callgate.cli.session import Session
from callgate.errors import Refused

LIFETIME = "5m"


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    tool: Annotated[
        str | None, typer.Option("--tool", metavar="NAME", help="Tool to call; default: a read-only one.")
    ] = None
    arguments: Annotated[str, typer.Option("--arguments", metavar="JSON", help="Its arguments.")] = "{}"
    person: Annotated[str | None, typer.Option("--person", metavar="EMAIL", help="Who calls; default: an admin.")] = (
        None
    )


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "doctor", DoctorOptions)(doctor)


def doctor(session: Session, options: DoctorOptions) -> None:
    """Check the whole set-up; ends with one real call."""
    with ExitStack() as stack:
        base = _base_url(session, stack)
        report = session.client.get("/doctor")
        checks: list[dict[str, Any]] = report["checks"]
        checks.append(_call(session.client, base, options))
    ok = all(one["ok"] for one in checks)

    def human() -> None:
        for one in checks:
            say(f"{'ok    ' if one['ok'] else 'FAILED'}  {one['name']:20}  {one['detail']}")

    session.show({"ok": ok, "checks": checks}, human)
    if not ok:
        failed = sum(not one["ok"] for one in checks)
        raise Refused("validation", f"{failed} of {len(checks)} checks failed.")


def _base_url(session: Session, stack: ExitStack) -> str | None:
    """Where the MCP endpoint is. A gateway that does not run is started for the time of the checks."""
    if session.url is not None:
        return session.url.rstrip("/")
    if session.running():
        found: str | None = session.client.get("/doctor")["url"]
        return found
    return stack.enter_context(LocalGateway(session.settings(port=0), tcp=True)).url


def _call(client: Client, base: str | None, options: DoctorOptions) -> dict[str, Any]:
    """The last check: a token for five minutes, one tools/call, and the token is revoked again."""
    if base is None:
        return _check(False, "The gateway serves no MCP endpoint here (role control).")
    try:
        arguments = json.loads(options.arguments)
        tool = options.tool or _harmless(client)
        issued = client.post(
            "/tokens", {"person": _caller(client, options.person), "client": "doctor", "expires": LIFETIME}
        )
    except Refused as refused:
        return _check(False, refused.sentence)
    except ValueError:
        return _check(False, "--arguments is not JSON.")
    began = clock.monotonic()
    try:
        outcome = call_tool(f"{base}/mcp", issued["token"], tool, arguments)
    except Refused as refused:
        return _check(False, f"{tool}: {refused.sentence}")
    finally:
        client.delete(f"/tokens/{segment(issued['id'])}")
    took = (clock.monotonic() - began) * 1000
    return _check(outcome == "result", f"{tool} answered with a {outcome.replace('_', ' ')} in {took:.0f} ms")


def _check(ok: bool, detail: str) -> dict[str, Any]:
    return {"name": "tools/call", "ok": ok, "detail": detail}


def _caller(client: Client, wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    people = list(client.pages("/people", active=True))
    people.sort(key=lambda one: "admin" not in one["roles"])
    if not people:
        raise Refused("validation", "Nobody can call; add a person: callgate people add EMAIL")
    return str(people[0]["email"])


def _harmless(client: Client) -> str:
    """A trusted tool that says it only reads and needs no arguments. Raises `Refused` when there is none."""
    for tool in client.pages("/tools", status="trusted"):
        found = client.get(f"/tools/{segment(tool['name'])}")["definition"] or {}
        schema = found.get("inputSchema") or {}
        reads = (found.get("annotations") or {}).get("readOnlyHint") is True
        if reads and isinstance(schema, dict) and not schema.get("required"):
            return str(tool["name"])
    raise Refused(
        "validation",
        "No trusted tool is marked read-only and works without arguments; approve one, or name one: --tool NAME",
    )
