"""The outbound client for `async` code: ask, read in pieces with back-pressure, close.

Cancelling any of these calls, or leaving `async with response`, closes the connection unless the answer was complete.
Redirects are handed back as they are; nothing is repeated; nothing is decompressed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from callgate.net.errors import AnswerTooLarge, EgressError
from callgate.net.exchange import DEFAULT_LIMITS, Headers, Limits, Ticket
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool
from callgate.net.request import build_head
from callgate.net.target import Target, parse_target

_HIGH = 256 * 1024  # bytes held for a slow reader before the server is told to wait
_LOW = 64 * 1024


class ResponseHeaders(Mapping[str, str]):
    """Headers by lower-case name; values of repeated names are joined by `, `. `raw` is what the server sent."""

    def __init__(self, raw: Headers) -> None:
        self.raw = raw
        self._values: dict[str, str] = {}
        for raw_name, raw_value in raw:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            self._values[name] = f"{self._values[name]}, {value}" if name in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Response:
    """An answer whose head is here and whose body may still be on its way. Made by `Client.request`."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = ResponseHeaders([])
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._over = False
        self._error: EgressError | None = None
        self._wake = asyncio.Event()
        self._ticket: Ticket | None = None

    # --- for readers --------------------------------------------------------------------------------------------

    async def chunks(self) -> AsyncIterator[bytes]:
        """Pieces of the body in order. Raises the `EgressError` that ended it, after the pieces that came before."""
        while True:
            while self._chunks:
                yield self._next_chunk()
            if self._error is not None:
                raise self._error
            if self._over:
                return
            self._wake.clear()
            await self._wake.wait()

    async def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises `AnswerTooLarge` over `max_bytes`, and then closes the connection."""
        parts: list[bytes] = []
        size = 0
        try:
            async for chunk in self.chunks():
                size += len(chunk)
                if size > max_bytes:
                    raise AnswerTooLarge("body", max_bytes)
                parts.append(chunk)
        except BaseException:
            await self.aclose()
            raise
        return b"".join(parts)

    async def aclose(self) -> None:
        """Done with this answer. What is not complete is cut off; calling it again does nothing."""
        self._chunks.clear()
        if self._ticket is not None and not self._ticket.done:
            self._ticket.abort()
            self._error = EgressError("The answer was closed by its reader.", request_sent=True)
        self._over = True
        self._wake.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- for the pool (a ResponseHandler) -----------------------------------------------------------------------

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = ResponseHeaders(headers)
        self._wake.set()

    def on_chunk(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > _HIGH and not self._paused and self._ticket is not None:
            self._paused = True
            self._ticket.pause()
        self._wake.set()

    def on_end(self) -> None:
        self._over = True
        self._wake.set()

    def on_error(self, error: EgressError) -> None:
        self._error = error
        self._wake.set()

    # --- inside -------------------------------------------------------------------------------------------------

    def _next_chunk(self) -> bytes:
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if self._paused and self._held < _LOW and self._ticket is not None:
            self._paused = False
            self._ticket.resume()
        return chunk

    async def until_head(self, ticket: Ticket) -> None:
        """For `Client`: wait for the head; a cancelled wait gives the request up."""
        self._ticket = ticket
        try:
            while self.status == 0:
                if self._error is not None:
                    raise self._error
                self._wake.clear()
                await self._wake.wait()
        except asyncio.CancelledError:
            ticket.abort()
            raise


class Client:
    """Requests over a pool. Holds no state of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def request(
        self,
        method: str,
        url: str | Target,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        policy: TargetPolicy,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Response:
        """Send a request and wait for the head of its answer.

        Raises `EgressRefused` for a URL or address that is not allowed, another `EgressError` for a failure on the
        way, `ValueError` for a method or header that is not valid. Close the response, or use it in `async with`.
        """
        target = parse_target(url) if isinstance(url, str) else url
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        head = build_head(method, target, pairs, len(body))
        response = Response()
        ticket = self.pool.send(target, policy, head, body, response, limits)
        await response.until_head(ticket)
        return response
