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


def refused_credential(place: Place, status: int, challenge: str) -> Failed | None:
    """What 401 and 403 say of our credential, None for other statuses. Where another one may help, the failure has the
    challenge (`WWW-Authenticate`; RFC 6750, section 3)."""
    if status not in (401, 403):
        return None
    words = f"The upstream refused our credential (HTTP status {status})."
    if place.credential is None:
        words = f"The upstream wants a credential (HTTP status {status}) and none is set for it."
    if status == 401 or "insufficient_scope" in challenge:
        return Failed("credential_refused", words, False, challenge or "Bearer")
    return Failed("upstream_unavailable", words, False)


def challenge_in(headers: Headers) -> str:
    """`WWW-Authenticate` of an answer, "" when it has none."""
    found = next((value for name, value in headers if name == b"www-authenticate"), b"")
    return found.decode("latin-1")[:2000]


def media_type(headers: Headers) -> bytes:
    """The lower-case media type of an answer, `b""` when it names none."""
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""


async def posted(
    pool: Pool, place: Place, head: bytes, body: bytes, target: Target | None = None
) -> tuple[int, str]:  # fmt: skip
    """Send what has no answer, and give the status and the challenge, if any. Raises `Refused`."""
    waiter = _Waiter()
    ticket = pool.send(target or place.target, place.policy, head, body, waiter, place.limits)
    try:
        return await waiter.done
    finally:
        ticket.abort()  # where a body was still coming, nobody wants it


class _Waiter:
    """Waits for the end of an answer whose body says nothing; of a stream, for its head alone."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._status, self._challenge = 0, ""

    def on_head(self, status: int, headers: Headers) -> None:
        self._status, self._challenge = status, challenge_in(headers)
        if media_type(headers) == b"text/event-stream":
            self.on_end()

    def on_chunk(self, data: bytes) -> None:
        """Not wanted."""

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result((self._status, self._challenge))

    def on_error(self, error: EgressError) -> None:
        if not self.done.done():
            failed = failure(error)
            self.done.set_exception(Refused(failed.code, failed.detail))
