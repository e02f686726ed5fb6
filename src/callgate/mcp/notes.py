"""Small facts about handshake-era sessions, kept in the store so that every replica finds them.

Keys can be resource URIs, which clients choose; they are payload, so they are sealed before they are written.
Fail closed: what does not open is left out.
"""

from callgate.call.state import Sealer
from callgate.store import notes
from callgate.store.engine import Database


class StoreNotes:
    """The notes port over the store."""

    def __init__(self, db: Database, sealer: Sealer) -> None:
        self._db = db
        self._sealer = sealer

    async def put(self, tenant: str, session: str, key: str, lifetime: float) -> None:
        """Note a key for a session; noting it again changes nothing. `lifetime` in seconds."""
        if key in await self.all(tenant, session):
            return
        async with self._db.unit(tenant) as unit:
            await notes.put(unit, session, self._sealer.seal(key.encode()), b"", lifetime)

    async def all(self, tenant: str, session: str) -> tuple[str, ...]:
        """Every key of a session."""
        return tuple(await self._opened(tenant, session))

    async def remove(self, tenant: str, session: str, key: str) -> None:
        """Forget a key."""
        sealed = (await self._opened(tenant, session)).get(key)
        if sealed is not None:
            async with self._db.unit(tenant) as unit:
                await notes.remove(unit, session, sealed)

    async def _opened(self, tenant: str, session: str) -> dict[str, str]:
        async with self._db.unit(tenant, write=False) as unit:
            found = await notes.all_of(unit, session)
        opened = {sealed: self._sealer.open(sealed) for sealed in found}
        return {key.decode(): sealed for sealed, key in opened.items() if key is not None}
