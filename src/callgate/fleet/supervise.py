"""Background tasks that must not end because of one unexpected error.

On failure: the error is logged without its text, and the work starts again with back-off. It holds the one broad
`except` for background work (house rule 2); a task that is cancelled ends.
"""

import asyncio
from collections.abc import Callable, Coroutine

from callgate import clock
from callgate.telemetry.logs import get_logger

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
_STEADY_SECONDS = 60.0  # work that ran for so long has recovered: its next failure waits the first wait again
_log = get_logger(__name__)

Work = Callable[[], Coroutine[None, None, None]]


def supervised(name: str, work: Work, first_wait: float = FIRST_WAIT) -> asyncio.Task[None]:
    """Run `work` until it returns or the task is cancelled; an exception starts it again after `first_wait` seconds,
    doubled each time up to a minute."""
    return asyncio.create_task(_run(name, work, first_wait), name=name)


async def _run(name: str, work: Work, first_wait: float) -> None:
    wait = first_wait
    while True:
        began = clock.monotonic()
        try:
            await work()
            return
        except Exception as error:  # noqa: BLE001  the supervisor of background tasks
            _log.error("background task failed", task=name, exc_info=error)
        if clock.monotonic() - began >= _STEADY_SECONDS:
            wait = first_wait
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)
