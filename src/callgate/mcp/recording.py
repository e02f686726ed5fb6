"""The records of one call, each with a deadline; both drivers of the machine write through it.

Fail closed: a record that is not durable in time fails the call. An intent that turns durable after that is closed by
the outcome of a refused call, so none stays open.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from callgate import clock
from callgate.audit.events import refused_unrecorded
from callgate.audit.writer import Recorder
from callgate.call import model as m
from callgate.model.event import Event, Intent

RECORD_SECONDS = 5.0
Post = Callable[[object], None]


class _Waiting:
    """A record that somebody waits for; nobody once `post` is None. `timed`: not for ever."""

    __slots__ = ("due", "post", "timed")

    def __init__(self, due: float, post: Post) -> None:
        self.due = due
        self.post: Post | None = post
        self.timed = True


class Deadlines:
    """What waits to become durable in one replica. All wait equally long, so they run out in order and one timer, which
    is rarely set, does for all: a timer for each record would cost a tenth of a call."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def add(self, post: Post) -> _Waiting:
        """Wait from now on."""
        one = _Waiting(clock.monotonic() + RECORD_SECONDS, post)
        self._waiting.append(one)
        if self._timer is None or one.due < self._at:
            self._arm(one.due)
        return one

    def clear(self) -> None:
        """Forget what nobody waits for any more, as far as it is the oldest."""
        waiting = self._waiting
        while waiting and (waiting[0].post is None or not waiting[0].timed):
            waiting.popleft()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - clock.monotonic()), self._look)

    def _look(self) -> None:
        self._timer = None
        self.clear()
        while self._waiting and self._waiting[0].due <= clock.monotonic():
            one = self._waiting.popleft()
            post, one.post = one.post, None
            if post is not None:
                post(m.RecordFailed())
            self.clear()
        if self._waiting and self._timer is None:
            self._arm(self._waiting[0].due)


class Recording:
    """Writes records and posts what became of each: the given event once it is durable, else `RecordFailed`."""

    __slots__ = ("_deadlines", "_recorder", "_waiting")

    def __init__(self, recorder: Recorder, deadlines: Deadlines) -> None:
        self._recorder = recorder
        self._deadlines = deadlines
        self._waiting: _Waiting | None = None

    def write(self, event: Event, durable: object, post: Post) -> None:
        """Record an event. A later one takes the place of this one's deadline: the call has gone on."""
        self.close()
        one = self._waiting = self._deadlines.add(post)

        def done(error: BaseException | None) -> None:
            waited, one.post = one.post, None
            self._deadlines.clear()
            if waited is not None:
                waited(durable if error is None else m.RecordFailed())
            elif error is None and isinstance(event, Intent):
                self._recorder.write(refused_unrecorded(event), lambda _: None)

        self._recorder.write(event, done)

    def close(self) -> None:
        """No deadline runs from here on."""
        if self._waiting is not None:
            self._waiting.timed = False
            self._waiting = None
