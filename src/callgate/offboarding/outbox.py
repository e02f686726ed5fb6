"""The outbox of revocations: every vendor is asked until it has answered.

One replica takes what is due for a minute; one that dies leaves it to another. A vendor that is away is asked again,
ever more seldom, but at least every hour. Fail closed: nothing here gives anything back.
"""

import asyncio

from callgate import clock
from callgate.credentials.revoking import Revoker
from callgate.errors import Refused
from callgate.model.offboarding import Revocation
from callgate.store import offboarding
from callgate.store.engine import Database
from callgate.telemetry.logs import get_logger

_TAKEN_SECONDS = 60.0
_LONGEST = 3600.0
_log = get_logger(__name__)


class Outbox:
    """One replica's part of the work."""

    def __init__(self, db: Database, revoker: Revoker, every: float = 1.0) -> None:
        self._db = db
        self._revoker = revoker
        self._every = every
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was put in just now."""
        self._wake.set()

    async def keep_asking(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                done = await self.round()
            except Refused as refused:
                _log.warning("the outbox of revocations waits", code=refused.code)
                done = 0
            if done == 0:
                self._wake.clear()
                try:
                    async with asyncio.timeout(self._every * 5):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def round(self) -> int:
        """Ask for what is due; how many that were. Raises `Refused("store_unavailable")`."""
        now = clock.now()
        async with self._db.unit(None) as unit:
            taken = await offboarding.due(unit, now, now + _TAKEN_SECONDS)
        ended = await asyncio.gather(*(self._one(one) for one in taken), return_exceptions=True)
        for one, error in zip(taken, ended, strict=True):
            if isinstance(error, Refused):
                raise error
            if error is not None:  # nobody foresaw it: that one waits like one whose vendor is away
                _log.error("a revocation failed", revocation=one.id, exc_info=error)
                await self._later(one, "The vendor could not be asked.")
        return len(taken)

    async def _one(self, one: Revocation) -> None:
        try:
            state, answer = await self._revoker.revoke(one.tenant, one.sealed or b"")
        except Refused as refused:
            await self._later(one, refused.sentence)
            return
        async with self._db.unit(one.tenant) as unit:
            await offboarding.answered(unit, one.id, state, answer, clock.now())

    async def _later(self, one: Revocation, answer: str) -> None:
        wait = min(2.0 ** min(one.tries, 12), _LONGEST)
        async with self._db.unit(one.tenant) as unit:
            await offboarding.later(unit, one.id, answer, clock.now() + wait)
