"""A gateway in this process, for commands that find none running: same services, same API, no TCP port.

It runs in a thread of its own and is stopped when the command ends. A start that fails is raised in the command.
"""

import asyncio
import importlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from callgate.settings import Settings
from callgate.telemetry import logs

if TYPE_CHECKING:
    from callgate.app import Gateway


def gateway_class() -> "type[Gateway]":
    """The composition root, loaded when it is needed: it costs a second that commands to a running gateway save."""
    found: type[Gateway] = importlib.import_module("callgate.app").Gateway
    return found


class LocalGateway:
    """Context manager: the gateway answers on `socket` while it is open, with `tcp` also on its port.

    Without `tcp` nobody but this command knows the socket: others wait for the data directory to be free again.
    """

    def __init__(self, settings: Settings, *, tcp: bool = False) -> None:
        self._settings = settings
        self._tcp = tcp
        self._changed = threading.Event()  # it has started, or failed to
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "callgate-local")
        self._ended: Future[None] = Future()
        self.url: str | None = None
        self.socket = settings.control_socket

    def __enter__(self) -> Self:
        logs.configure("error")
        self._ended = self._thread.submit(lambda: asyncio.run(self._serve()))
        self._ended.add_done_callback(lambda _: self._changed.set())
        self._changed.wait()
        if self._ended.done():
            self._thread.shutdown()
            self._ended.result()  # raises what stopped the start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None and not self._ended.done():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.shutdown()
        if error is None:
            self._ended.result()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with gateway_class().start(self._settings, tcp=self._tcp) as gateway:
            self.url, self.socket = gateway.url, gateway.socket
            self._changed.set()
            await self._stop.wait()
