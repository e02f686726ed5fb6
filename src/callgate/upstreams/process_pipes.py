"""The gateway's ends of the pipes to a launcher: reading with pause and resume, writing with back-pressure.

Fail closed: after `close` nothing is written, and nothing more is heard.
"""

import asyncio
import os
from collections.abc import Callable
from typing import cast


class Inlet(asyncio.Protocol):
    """A pipe that is read. `on_end` is called once, unless it was closed from here before."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self.fd = -1
        self._on_data = on_data
        self._on_end = on_end
        self._transport: asyncio.ReadTransport | None = None
        self._paused = False

    async def connect(self) -> None:
        file = os.fdopen(self.fd, "rb", 0)
        self.fd = -1
        try:
            await asyncio.get_running_loop().connect_read_pipe(lambda: self, file)
        except BaseException:
            file.close()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_end()

    def pause(self) -> None:
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        elif self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Outlet(asyncio.BaseProtocol):
    """A pipe that is written to."""

    def __init__(self) -> None:
        self.fd = -1
        self._transport: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = False

    async def connect(self) -> None:
        file = os.fdopen(self.fd, "wb", 0)
        self.fd = -1
        try:
            await asyncio.get_running_loop().connect_write_pipe(lambda: self, file)
        except BaseException:
            file.close()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed = True
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def write(self, data: bytes) -> bool:
        """False when nobody reads any more; then nothing was written."""
        if self._closed or self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    async def drained(self) -> bool:
        """Wait until there is room again; False when the pipe was closed meanwhile."""
        await self._writable.wait()
        return not self._closed

    def close(self) -> None:
        """At once: what has not been written is dropped."""
        self._closed = True
        self._writable.set()
        transport, self._transport = self._transport, None
        if transport is not None:
            if not transport.is_closing():  # asyncio would end it a second time
                transport.abort()
        elif self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
