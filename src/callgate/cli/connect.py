"""`callgate connect`: a stdio MCP server that is the gateway, for clients that take no URL."""

import asyncio
import os
import sys
import threading
from dataclasses import dataclass
from typing import Annotated

import typer

from callgate.cli.bridge import Bridge
from callgate.cli.commands import command
from callgate.cli.session import Session
from callgate.errors import Refused
from callgate.net.client import Client
from callgate.net.errors import EgressRefused
from callgate.net.pool import Pool
from callgate.net.target import parse_target

DEFAULT_URL = "http://127.0.0.1:8787"
FINISH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    endpoint: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="MCP endpoint; default: /mcp of --url or of this machine.")
    ] = None


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "connect", ConnectOptions)(connect)


def connect(session: Session, options: ConnectOptions) -> None:
    """Speak MCP on stdin and stdout; the gateway answers."""
    url = options.endpoint or f"{(session.url or DEFAULT_URL).rstrip('/')}/mcp"
    try:
        parse_target(url)
    except EgressRefused as refused:
        raise Refused("bad_setting", str(refused)) from None
    if not session.token:
        raise Refused("auth_required", "Set CALLGATE_TOKEN: callgate tokens issue --person EMAIL --client NAME")
    asyncio.run(run(url, session.token))


async def run(url: str, token: str) -> None:
    """Until stdin ends."""
    pool = Pool()
    bridge = Bridge(Client(pool), url, token, _write)
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    _read_lines(asyncio.get_running_loop(), lines)
    try:
        while (line := await lines.get()) is not None:
            if line.strip():
                await bridge.take(line.strip())
        await bridge.finish(FINISH_SECONDS)
    finally:
        await pool.aclose()


def _write(message: bytes) -> None:
    sys.stdout.buffer.write(message + b"\n")
    sys.stdout.buffer.flush()


def _read_lines(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[bytes | None]") -> None:
    """Read stdin in a thread of its own, whatever kind of file it is; a blocked read must not keep the program."""

    def read() -> None:
        with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as stdin:
            for line in stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="callgate-stdin", daemon=True).start()
