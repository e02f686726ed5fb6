"""The port through which everything is recorded, and what its two implementations share.

Fail closed: a record that is not durable within 5 s is an error to its callback; while `healthy` is False every write
fails at once. A callback is called exactly once, on the event loop, never from inside `write`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from callgate.errors import CallgateError, Refused
from callgate.model.event import Event

Done = Callable[[BaseException | None], None]
LONGEST_S = 5.0  # promise 3: not durable within this is refused


class NotDurable(CallgateError):
    """The record could not be made durable."""


class Recorder(Protocol):
    """Writes events durably, in groups."""

    @property
    def healthy(self) -> bool:
        """False while nothing durable can be written; the call path then refuses at once."""
        ...

    def write(self, event: Event, done: Done) -> None:
        """Queue an event; `done(None)` once it is durable, `done(error)` if it will not be."""
        ...

    async def record(self, event: Event) -> None:
        """Write an event and wait. Raises `Refused("not_recorded")` after 5 s at the latest."""
        ...

    async def flush(self) -> None:
        """Return when everything written so far is visible to queries (as far as that can be had now)."""
        ...

    async def stop(self) -> None:
        """Write what is queued, then release files and connections."""
        ...


async def record(recorder: Recorder, event: Event) -> None:
    """`Recorder.record` in terms of `write`."""
    waiting: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def done(error: BaseException | None) -> None:
        if not waiting.done():
            waiting.set_result(error)

    recorder.write(event, done)
    try:
        async with asyncio.timeout(LONGEST_S):
            error = await waiting
    except TimeoutError:
        error = NotDurable("no answer in time")
    if error is not None:
        raise Refused("not_recorded") from error


def tell(loop: asyncio.AbstractEventLoop, waiting: Iterable[Done | None], error: BaseException | None) -> None:
    """Call each callback; one that raises goes to the loop's exception handler and does not keep the others."""
    rest = iter(waiting)
    try:
        for done in rest:
            if done is not None:
                done(error)
    finally:
        left = list(rest)
        if left:
            loop.call_soon(tell, loop, left, error)
