"""A bare HTTP/1.1 server for hostile peers: every byte of an answer is the caller's, and who hangs up is noticed.

Standard library only. It reads requests (Content-Length or chunked), one after the other on a connection, and
hands each to one coroutine together with the connection to write to. It checks as little as it can.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

MAX_HEAD = 256 * 1024


class Gone(Exception):
    """The other side has closed the connection."""


@dataclass(frozen=True)
class Request:
    """One request as it came. Header names are lower case; their order and repetitions are kept."""

    number: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Connection(asyncio.Protocol):
    """One client connection. `gone` is set when the peer closes, also in the middle of an answer."""

    def __init__(self, handle: Callable[[Request, "Connection"], Awaitable[None]], count: Callable[[], int]) -> None:
        self.gone = asyncio.Event()
        self._handle = handle
        self._count = count
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    # --- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._more.set()

    def eof_received(self) -> bool:
        self._lost()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()

    def _lost(self) -> None:
        self.gone.set()
        self._more.set()
        self._may_write.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # --- reading -----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while True:
                await self._handle(await self._request(), self)
        except (Gone, ValueError):
            self.close()

    async def _request(self) -> Request:
        head = (await self._until(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines if line)
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        found = dict(headers)
        if "chunked" in found.get("transfer-encoding", ""):
            body = await self._chunks()
        else:
            body = await self._exactly(int(found.get("content-length", "0")))
        return Request(self._count(), method, path, headers, body)

    async def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size = int((await self._until(b"\r\n")).split(b";")[0], 16)
            part = await self._exactly(size + 2)
            if size == 0:
                return b"".join(parts)
            parts.append(part[:-2])

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Gone
            await self._wait()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._wait()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    async def _wait(self) -> None:
        if self.gone.is_set():
            raise Gone
        self._more.clear()
        await self._more.wait()

    # --- writing -----------------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Write bytes as they are. Raises Gone."""
        if self.gone.is_set() or self._transport is None:
            raise Gone
        self._transport.write(data)
        await self._may_write.wait()

    async def head(self, status: int, *headers: tuple[str, str], length: int | None = None) -> None:
        """Write a status line and headers; without a length the body that follows must be chunked."""
        framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        lines = "".join(f"{name}: {value}\r\n" for name, value in (*headers, framing))
        await self.write(f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        if data:
            await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        """A whole answer with its length."""
        await self.head(status, *headers, length=len(body))
        await self.write(body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset the connection, whatever is still to be written."""
        if self._transport is not None:
            self._transport.abort()

    async def until_gone(self, other: Awaitable[object]) -> bool:
        """Wait for `other` or for the peer to hang up; True if the peer has gone first."""
        task = asyncio.ensure_future(other)
        gone = asyncio.ensure_future(self.gone.wait())
        done, pending = await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await one
        return task not in done
