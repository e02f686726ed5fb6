"""What a gateway process holds of its machine: the data directory, the port, the server on it.

Fail closed: a directory that others can use, or that another process holds, and a port that is taken stop the start.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from callgate.errors import Refused
from callgate.settings import Settings

LOCK = "lock"

# -- the data directory ------------------------------------------------------------------------------------------------


def prepare_data_dir(path: Path) -> None:
    """Make the data directory with mode 0700. Raises `Refused("bad_setting")` when others can use it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise Refused("bad_setting", f"The data directory {path} cannot be used: {error.strerror}.") from None
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Refused("bad_setting", f"Others can use the data directory {path}; run: chmod 700 {path}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the data directory. Raises `Refused("data_dir_in_use")` when another process does."""
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused("data_dir_in_use", f"Another Callgate uses {path}; stop it, or give --data-dir.") from None
        yield
    finally:
        os.close(descriptor)


# -- listening ---------------------------------------------------------------------------------------------------------


def bind_tcp(settings: Settings) -> socket.socket:
    """The listening port. Raises `Refused`: port_in_use, bad_setting."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise Refused("bad_setting", f"The host {host} cannot be used: {error.strerror}.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Refused("port_in_use", f"Port {port} on {host} is taken by another program; give --port.") from None
        raise Refused("bad_setting", f"Port {port} on {host} cannot be used: {error.strerror}.") from None
    return listener


def url_of(settings: Settings, listener: socket.socket) -> str:
    """The base URL as this machine reaches it."""
    port = listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    stack: AsyncExitStack, settings: Settings, app: ASGIApp, listener: socket.socket, protocol: Callable[..., Any]
) -> None:  # fmt: skip
    """Serve an application on a socket until the stack unwinds. uvicorn's signal handling is left out: ours counts."""
    config = uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]  # anything that makes a protocol will do
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.shutdown_seconds,  # type: ignore[arg-type]  # seconds, whole or not
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    ticking = asyncio.create_task(server.main_loop(), name="listener")

    async def close() -> None:
        ticking.cancel()
        await server.shutdown(sockets=[listener])

    stack.push_async_callback(close)
