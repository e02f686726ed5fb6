"""Limits as one replica's calls take them: counted in the store, exact over all replicas.

A call under way keeps its slots for as long as its replica renews them; a replica that is killed renews nothing, and
its slots are free half a minute later. Fail closed: while the store is away nothing is taken, so nothing goes on.
"""

import asyncio
import contextlib

from callgate.errors import Refused
from callgate.fleet.supervise import supervised
from callgate.model.limit import Take
from callgate.store import limits
from callgate.store.engine import Database

_RENEW_SECONDS = limits.SLOT_SECONDS / 3
Reached = limits.Reached


class Counters:
    """The limits of one replica's calls."""

    def __init__(self, db: Database, replica: str) -> None:
        self._db = db
        self._replica = replica
        self._held: dict[str, str] = {}  # call → tenant, of those that hold slots
        self._renewing: asyncio.Task[None] | None = None

    async def take(self, tenant: str, call: str, takes: tuple[Take, ...]) -> tuple[Take, ...]:
        """Count a call; what was taken.

        Raises `Reached` (and then nothing was counted), `Refused("store_unavailable")`.
        """
        if any(one.kind == "concurrency" for one in takes):
            self._held[call] = tenant
            if self._renewing is None:
                self._renewing = supervised("limits-renew", self._renew)
        try:
            async with self._db.unit(tenant) as unit:
                return await limits.take(unit, takes, call, self._replica)
        except BaseException:
            self._held.pop(call, None)
            raise

    async def charge(self, tenant: str, one: Take, amount: int) -> None:
        """Count what a call cost beyond what was taken, or give back what it did not use; a store that is away forgets
        it."""
        with contextlib.suppress(Refused):
            async with self._db.unit(tenant) as unit:
                if amount < 0:
                    await limits.untake(unit, one, -amount)
                else:
                    await limits.charge(unit, one, amount)

    async def done(self, call: str) -> None:
        """A call is over; slots that cannot be freed now are not renewed."""
        tenant = self._held.pop(call, None)
        if tenant is not None:
            with contextlib.suppress(Refused):
                async with self._db.unit(tenant) as unit:
                    await limits.give_back(unit, call)

    async def close(self) -> None:
        """Renew no more."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            for tenant in set(self._held.values()):
                calls = [call for call, of in self._held.items() if of == tenant]
                with contextlib.suppress(Refused):
                    async with self._db.unit(tenant) as unit:
                        await limits.renew(unit, calls, self._replica)
