"""The old HTTP+SSE transport of 2024-11-05 towards an upstream: a GET stream to hear, POSTs to speak.

Source: 2024-11-05, transports, "HTTP with SSE". Fail closed: an `endpoint` on another origin is refused, so that a
hostile upstream cannot send our credential elsewhere.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from urllib.parse import urljoin

from callgate.errors import Refused
from callgate.net.errors import EgressError, EgressRefused
from callgate.net.exchange import Headers, Limits, Ticket
from callgate.net.pool import Pool
from callgate.net.request import build_head
from callgate.net.target import Target, parse_target
from callgate.upstreams.inbox import refusal_of
from callgate.upstreams.place import Place, challenge_in, failure, media_type, posted, refused_credential
from callgate.wire.sse import SseParser

_OPEN_SECONDS = 30.0


class SseChannel:
    """One GET stream and the address to POST to."""

    def __init__(self, pool: Pool, place: Place, url: str) -> None:
        self._pool = pool
        self._place = place
        self._url = url
        self._parser = SseParser(place.limits.response_bytes)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._endpoint: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
        self._why = Refused("upstream_broke_off", "The server ended its event stream.")
        limits = Limits(place.limits.connect, _OPEN_SECONDS, None, None, response_bytes=2**62)
        head = build_head("GET", place.target, [("Accept", "text/event-stream"), *place.fields], 0)
        self._ticket: Ticket | None = pool.send(place.target, place.policy, head, b"", self, limits)

    async def ready(self) -> None:
        """Wait for the `endpoint` event. Raises `Refused`."""
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await asyncio.shield(self._endpoint)
        except TimeoutError:
            raise Refused("upstream_timeout", "The server did not name its endpoint in time.") from None

    def on_head(self, status: int, headers: Headers) -> None:
        """Only an event stream will do."""
        refused = refused_credential(self._place, status, challenge_in(headers))
        if refused is not None:
            self._broken(refusal_of(refused))
        elif status != 200 or media_type(headers) != b"text/event-stream":
            self._broken(
                Refused("upstream_invalid", f"The server answered with HTTP status {status}, no event stream.")
            )

    def on_chunk(self, data: bytes) -> None:
        """Events: first the endpoint, then messages."""
        try:
            for event in self._parser.feed(data):
                if event.event == "endpoint" and not self._endpoint.done():
                    self._endpoint.set_result(self._same_origin(event.data.decode("utf-8", "replace")))
                elif event.event == "message" and event.data:
                    self._queue.put_nowait(event.data)
        except Refused as refused:
            self._broken(refused)

    def _same_origin(self, text: str) -> Target:
        try:
            target = parse_target(urljoin(self._url, text))
        except EgressRefused as refused:
            raise Refused("upstream_invalid", f"The server named an endpoint that cannot be used. {refused}") from None
        if target.origin != self._place.target.origin:
            raise Refused("upstream_invalid", "The server named an endpoint on another host.")
        return target

    def on_end(self) -> None:
        """The stream is over."""
        self._broken(self._why)

    def on_error(self, error: EgressError) -> None:
        """The stream broke."""
        failed = failure(error)
        self._broken(Refused(failed.code, failed.detail))

    def _broken(self, refused: Refused) -> None:
        self._why = refused
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.abort()
        if not self._endpoint.done():
            self._endpoint.set_exception(refused)
        self._queue.put_nowait(None)

    def carry(self, credential: tuple[str, str] | None) -> None:
        """What is posted from here on carries it; the stream stays."""
        self._place = dataclasses.replace(self._place, credential=credential)

    async def send(self, message: bytes) -> None:
        """POST one message."""
        target = await asyncio.shield(self._endpoint)
        fields = [("Content-Type", "application/json"), *self._place.fields]
        head = build_head("POST", target, fields, len(message))
        status, challenge = await posted(self._pool, self._place, head, message, target)
        refused = refused_credential(self._place, status, challenge)
        if refused is not None:
            raise refusal_of(refused)
        if status >= 400:
            raise Refused("upstream_unavailable", f"The server answered a message with HTTP status {status}.")

    async def messages(self) -> AsyncIterator[bytes]:
        """Messages until the stream ends; then `Refused` with the reason."""
        while True:
            message = await self._queue.get()
            if message is None:
                raise self._why
            yield message

    async def close(self) -> None:
        """End the stream."""
        self._broken(Refused("upstream_broke_off", "The conversation was closed."))
        if self._endpoint.done() and not self._endpoint.cancelled():
            self._endpoint.exception()  # mark it as seen

    def reason(self) -> str:
        return self._why.sentence
