"""Keeping the arguments of blocked calls, so that they can be judged again under other rules: off unless chosen.

They are sealed to the call that they came with, never in the audit, and nobody is shown them. Fail closed: what cannot
be kept is not; the refusal of the call does not wait for it.
"""

import contextlib

from callgate.approvals.requests import Vault
from callgate.errors import Refused
from callgate.store import kept
from callgate.store.engine import Database

PURPOSE = "kept"


class Kept:
    """The kept arguments of one replica's tenants."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def put(self, tenant: str, call: str, arguments: bytes, seconds: float) -> None:
        """Keep them for so many seconds; failing is no harm."""
        with contextlib.suppress(Refused):
            sealed = await self._vault.seal(tenant, PURPOSE, call.encode(), arguments)
            async with self._db.unit(tenant) as unit:
                await kept.put(unit, call, sealed, seconds)

    async def get(self, tenant: str, call: str) -> bytes | None:
        """The arguments of a call; None where none are kept. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(tenant, write=False) as unit:
            sealed = await kept.get(unit, call)
        return None if sealed is None else await self._vault.open_sealed(tenant, PURPOSE, call.encode(), sealed)
