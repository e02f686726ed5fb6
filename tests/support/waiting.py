"""Waiting for what tells nobody that it has happened: looks again and again, for a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Return when `check()` is true. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.02)
