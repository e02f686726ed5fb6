"""What the control API works with: the gateway's own parts, handed in by the composition root."""

import asyncio
from dataclasses import dataclass

from callgate.accounts.accounts import Accounts
from callgate.approvals.kept import Kept
from callgate.approvals.requests import Approvals
from callgate.audit.writer import Recorder
from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.identity.tokens import TokenCache
from callgate.settings import Settings
from callgate.store.engine import Database
from callgate.upstreams.discover import Discovery
from callgate.upstreams.judging import Judge
from callgate.upstreams.pool import Upstreams
from callgate.upstreams.scans import Scans
from callgate.web import hosts


@dataclass(frozen=True, slots=True)
class Services:
    """One replica's parts. `replica` is its row id; `url` is its base URL, None where it serves no port;
    `judge` is the outside one, None where none
    is set; `stopping` is set when the gateway shuts down."""

    settings: Settings
    replica: str
    url: str | None
    db: Database
    fleet: Fleet
    tokens: TokenCache
    recorder: Recorder
    envelope: Envelope
    upstreams: Upstreams
    discovery: Discovery
    scans: Scans
    judge: Judge | None
    approvals: Approvals
    accounts: Accounts
    kept: Kept
    stopping: asyncio.Event

    def address(self, tenant: str) -> str:
        """A tenant's address: its issuer, and what its pages' paths come after. Raises `Refused("bad_setting")`."""
        base = self.settings.public_url or self.url
        if base is None:
            raise Refused("bad_setting", "This gateway serves no port here; set CALLGATE_PUBLIC_URL.")
        return hosts.issuer(base.rstrip("/"), tenant, "", self.settings)

    async def seen(self, tenant: str) -> None:
        """After a change: return when this replica acts on it. Failing is no harm, the fleet's poll follows."""
        await self.fleet.refresh_now(tenant)
        await self.tokens.settled()
