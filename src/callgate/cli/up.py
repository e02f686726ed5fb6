"""`callgate up` and `callgate serve`: running the gateway in the foreground."""

import asyncio
import getpass
import re
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop

from callgate.cli import demo_server
from callgate.cli.client import Client, segment
from callgate.cli.commands import command
from callgate.cli.local import gateway_class
from callgate.cli.output import note, print_json, say
from callgate.cli.session import Session
from callgate.cli.snippets import again, welcome
from callgate.errors import Refused
from callgate.settings import Settings
from callgate.telemetry import logs

if TYPE_CHECKING:
    from callgate.app import Gateway

DEMO = "demo"
FIRST_CLIENT = "first-run"


@dataclass(frozen=True, slots=True)
class UpOptions:
    demo: Annotated[bool, typer.Option("--demo", help="Add a small bundled stdio server to try things with.")] = False
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 = any free one.")] = None


@dataclass(frozen=True, slots=True)
class ServeOptions:
    role: Annotated[str | None, typer.Option("--role", help="all, gateway or control.")] = None
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None
    port: Annotated[int | None, typer.Option("--port", help="Port; 0 = any free one.")] = None


def register(app: typer.Typer) -> None:
    """Add both commands to the root."""
    command(app, "up", UpOptions)(up)
    command(app, "serve", ServeOptions)(serve)


def up(session: Session, options: UpOptions) -> None:
    """Run the whole gateway; the first start prints how to connect."""
    settings = session.settings(host=options.host, port=options.port)
    _run(settings, lambda gateway: _welcome(session, gateway, options.demo))


def serve(session: Session, options: ServeOptions) -> None:
    """Run one role of the gateway, without the greeting."""
    settings = session.settings(role=options.role, host=options.host, port=options.port)
    _run(settings, lambda gateway: _ready(session, gateway, {}))


def _run(settings: Settings, started: Any) -> None:
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, started))


async def _serve(settings: Settings, started: Any) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with gateway_class().start(settings) as gateway:
        gateway.freeze()
        await asyncio.to_thread(started, gateway)
        await stop.wait()


def _ready(session: Session, gateway: "Gateway", more: dict[str, object]) -> None:
    """With --json: one line that says where the gateway is."""
    url = gateway.url
    facts: dict[str, object] = {
        "url": url,
        "mcp": None if url is None else f"{url}/mcp",
        "data_dir": str(gateway.settings.data_dir.resolve()),
        "pid": gateway.pid,
    }
    if session.json:
        print_json(facts | more)
    elif not more:
        note(f"Callgate serves {url}")


def _welcome(session: Session, gateway: "Gateway", demo: bool) -> None:
    client = Client.at_socket(gateway.settings.control_socket)
    try:
        first = _first_person(client)
        if demo:
            _add_demo(client)
    finally:
        client.close()
    url = f"{gateway.url}/mcp"
    data_dir = str(gateway.settings.data_dir)
    if session.json:
        _ready(session, gateway, {"first_run": first is not None, **(first or {})})
    elif first is not None:
        say(welcome(url, first, data_dir))
    else:
        say(again(url, data_dir))


def _first_person(client: Client) -> dict[str, Any] | None:
    """On the first start: an admin and a token, so that the printed snippet works. None when somebody is there."""
    if client.get("/people", limit=1)["items"]:
        return None
    person = client.post("/people", {"email": _own_email(), "roles": ["admin"]})
    issued: dict[str, Any] = client.post("/tokens", {"person": person["email"], "client": FIRST_CLIENT})
    link = client.post(f"/people/{segment(person['email'])}/link")
    return {"person": issued["person"], "token": issued["token"], "link": link["url"]}


def _own_email() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        user = "operator"
    return f"{re.sub(r'[^a-z0-9._-]', '', user.lower()) or 'operator'}@localhost"


def _add_demo(client: Client) -> None:
    program = {"command": sys.executable, "args": ["-I", str(Path(demo_server.__file__).resolve())]}
    with suppress(Refused):
        client.get(f"/upstreams/{segment(DEMO)}")
        return
    client.post("/upstreams", {"name": DEMO, "stdio": program})
    state = client.post(f"/upstreams/{segment(DEMO)}/refresh")
    if state["state"] == "broken":
        note(f"The demo server does not start: {state['reason']}")
