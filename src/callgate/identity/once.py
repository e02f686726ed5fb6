"""What may be used once, on whichever replica: ids of assertions and of logout tokens."""

from callgate import clock
from callgate.errors import Refused
from callgate.store import notes
from callgate.store.engine import Database
from callgate.store.schema import key_of


async def once(db: Database, tenant: str, what: str, value: str, until: float) -> None:
    """Use a value. Raises `Refused("conflict")` when it was used before; `until` is when nobody takes it any more."""
    async with db.unit(tenant) as unit:
        first = await notes.put_first(unit, f"once:{what}", key_of(value), b"", max(until - clock.now(), 1.0))
    if not first:
        raise Refused("conflict", "This was used before.")


async def unused(db: Database, tenant: str, what: str, value: str) -> None:
    """Raise `Refused("conflict")` for a value that was used: where what it is for may fail and come again, it is looked
    at first and used afterwards."""
    async with db.unit(tenant, write=False) as unit:
        if f"once:{what}" in await notes.with_key(unit, key_of(value)):
            raise Refused("conflict", "This was used before.")
