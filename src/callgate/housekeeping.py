"""What a gateway does once an hour: partitions, calls of dead replicas, what has expired, what older rules scanned.

Fail closed: nothing that a call needs depends on it; what fails is tried again an hour later.
"""

import asyncio

from callgate import clock
from callgate.audit import abandoned
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.store import grants, idempotency, kept, leases, limits, notes, oauth, signin, tokens
from callgate.store.engine import Database
from callgate.telemetry.logs import get_logger
from callgate.upstreams.scans import Scans

_SECONDS = 3600.0
_DAY = 86400.0
_RESCAN_SECONDS = 600.0  # how long one replica has this to itself
_log = get_logger(__name__)


async def keep_house(db: Database, fleet: Fleet, scans: Scans) -> None:
    """Work now and then once an hour, until cancelled."""
    while True:
        try:
            await db.maintain()
            await abandoned.settle(db)
            async with db.unit(None) as unit:
                await idempotency.prune(unit)
                await notes.prune(unit)
                await limits.prune(unit)
                await kept.prune(unit)
                now = clock.now()
                await oauth.prune(unit, now, now - _DAY)
                await signin.prune(unit, now)
                await grants.prune(unit, now)
                await tokens.prune(unit, now - _DAY)
            await rescan(db, fleet, scans)
        except Refused as refused:
            _log.warning("housekeeping failed", code=refused.code)
        await asyncio.sleep(_SECONDS)


async def rescan(db: Database, fleet: Fleet, scans: Scans) -> None:
    """After an upgrade: what older rules have looked at is looked at again, by one replica. Raises `Refused`."""
    async with db.unit(None) as unit:
        if not await leases.acquire(unit, "rescan", fleet.replica, _RESCAN_SECONDS):
            return
    for tenant in fleet.revisions():
        report = await scans.rescan(tenant, only_old=True)
        if report.scanned:
            _log.info("rescanned", tenant=tenant, scanned=report.scanned, raised=len(report.raised), gone=report.gone)
