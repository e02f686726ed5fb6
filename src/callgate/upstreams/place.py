"""Where an HTTP upstream is and how it is reached; what outbound failures mean; posting what has no answer.

Fail closed: every failure has a code and says whether the request may have reached the server.
"""

import asyncio
from dataclasses import dataclass

from callgate.errors import Refused
from callgate.net.errors import AnswerTooLarge, BadAnswer, EgressError, EgressTimeout, PeerClosed
from callgate.net.exchange import Headers, Limits
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool
from callgate.net.target import Target
from callgate.upstreams.exchange import Failed


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upstream is, and how it may be reached. `credential`: header name and value."""

    target: Target
    policy: TargetPolicy
    limits: Limits
    credential: tuple[str, str] | None

    def __repr__(self) -> str:
        return f"Place({self.target.origin})"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The headers that carry the credential."""
        return [self.credential] if self.credential is not None else []


def failure(error: EgressError) -> Failed:
    """What an outbound failure means for a call."""
    code = "upstream_unavailable"
    if isinstance(error, EgressTimeout) and error.request_sent:
        code = "upstream_timeout"
    elif isinstance(error, PeerClosed):
        code = "upstream_broke_off"
    elif isinstance(error, AnswerTooLarge):
        code = "upstream_too_large"
    elif isinstance(error, BadAnswer):
        code = "upstream_invalid"
    return Failed(code, str(error), error.request_sent)


def media_type(headers: Headers) -> bytes:
    """The lower-case media type of an answer, `b""` when it names none."""
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""


async def posted(pool: Pool, place: Place, head: bytes, body: bytes, target: Target | None = None) -> int:
    """Send what has no answer, and give the status. Raises `Refused`."""
    waiter = _Waiter()
    ticket = pool.send(target or place.target, place.policy, head, body, waiter, place.limits)
    try:
        return await waiter.done
    finally:
        ticket.abort()  # where a body was still coming, nobody wants it


class _Waiter:
    """Waits for the end of an answer whose body says nothing; of a stream, for its head alone."""

    def __init__(self) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._status = 0

    def on_head(self, status: int, headers: Headers) -> None:
        self._status = status
        if media_type(headers) == b"text/event-stream":
            self.on_end()

    def on_chunk(self, data: bytes) -> None:
        """Not wanted."""

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(self._status)

    def on_error(self, error: EgressError) -> None:
        if not self.done.done():
            failed = failure(error)
            self.done.set_exception(Refused(failed.code, failed.detail))
