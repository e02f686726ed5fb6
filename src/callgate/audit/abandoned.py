"""Calls that a dead replica left open get the outcome `unknown` (PostgreSQL; the journal does it at its replay).

On failure: nothing is marked and the next round tries again. A replica that was only cut off and still ends a call
wins: a page shows the known outcome before an `unknown` one.
"""

from callgate.audit import events
from callgate.store import audit, replicas
from callgate.store.engine import Database

SILENT_S = 600.0
_MARGIN_US = 60_000_000


async def settle(db: Database, silent: float = SILENT_S) -> int:
    """End the open calls of replicas that were silent for so long, and forget those; how many calls there were.

    Call it now and then, by one replica (under a lease) or several: doing it twice does no harm.
    """
    async with db.unit(None, write=False) as unit:
        gone = await replicas.dead(unit, silent)
    count = 0
    for replica in gone:
        async with db.unit(None) as unit:
            since = int(replica.started * 1_000_000) - _MARGIN_US
            found = await audit.open_intents(unit, replica.id, since)
            await audit.append(unit, *(events.unknown_end(tenant, call) for tenant, call in found))
            await replicas.forget(unit, replica.id)
        count += len(found)
    return count
