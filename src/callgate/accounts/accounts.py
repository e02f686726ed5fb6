"""One replica's service of accounts."""

from callgate.credentials.broker import Broker
from callgate.credentials.connecting import Connecting
from callgate.credentials.granted import Opened, began
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.offboarding import Offboarding, Summary
from callgate.model.person import Person
from callgate.model.upstream import PERSONAL, Upstream
from callgate.offboarding.leave import leave, outbox_entry, preview
from callgate.offboarding.outbox import Outbox
from callgate.store import grants
from callgate.store.engine import Database
from callgate.upstreams.discover import Discovery
from callgate.upstreams.exchange import Peer
from callgate.upstreams.pool import Upstreams

_NOTHING = b"{}"


def personal(upstream: Upstream) -> str:
    """How people authenticate themselves at an upstream: `own_token`, `on_behalf_of`, or "" for not at all."""
    for mode in (upstream.auth_mode, upstream.auth.writes):
        if mode in PERSONAL:
            return mode
    return ""


class Accounts:
    """Accounts of people at upstreams."""

    def __init__(self, db: Database, fleet: Fleet, broker: Broker, connecting: Connecting, outbox: Outbox) -> None:
        self._db = db
        self._fleet = fleet
        self.broker = broker
        self.connecting = connecting
        self.outbox = outbox
        self.upstreams: Upstreams | None = None  # set once they are there: they need the broker
        self.discovery: Discovery | None = None

    async def own_token(self, upstream: Upstream, person: str, token: str) -> None:
        """Keep a token that the upstream takes. Raises `Refused`: validation, connection_failed, person_inactive."""
        async with self._db.unit(upstream.tenant, write=False) as unit:
            since = await began(unit, person, upstream)
        scheme = upstream.auth_scheme
        header = (upstream.auth_header, f"{scheme} {token}" if scheme else token)
        await self._try(upstream, Opened(header))
        await self.connecting.own_token(upstream, since, token)

    async def test(self, upstream: Upstream, person: str) -> None:
        """Ask the upstream with the person's account. Raises `Refused`: connection_required, connection_failed."""
        await self._try(upstream, await self.broker.open(upstream, person, writes=bool(upstream.auth.writes)))

    async def _try(self, upstream: Upstream, opened: Opened) -> None:
        if self.upstreams is None:
            raise Refused("internal")
        try:
            await self.upstreams.attempt(upstream, Peer(upstream.tenant, "#test", None, _NOTHING, opened.header))
        except Refused as refused:
            raise Refused("connection_failed", f"The server did not take it: {refused.sentence}") from None

    async def connected(self, tenant: str, upstream: str) -> None:
        """Somebody has connected: calls that wait go on, and an upstream that nobody could look at is looked at."""
        await self.seen(tenant)
        state = self._fleet.view(tenant).states.get(upstream)
        if self.discovery is not None and (state is None or state.state != "ok"):
            self.discovery.suspect(upstream)

    async def seen(self, tenant: str) -> None:
        """Return when this replica acts on a change of grants."""
        await self._fleet.refresh_now(tenant)
        await self.broker.settled()

    async def disconnect(self, actor: Actor, person: str, upstream: Upstream) -> bool:
        """End an account here, and have the vendor told; whether there was one."""
        async with self._db.unit(upstream.tenant) as unit:
            held = await grants.to_end(unit, person, upstream.id)
            if not held:
                return False
            await outbox_entry(unit, held[0], None)
            await grants.remove(unit, person, upstream.id)
            await record(unit, actor, "connections.end", upstream.id, person)
        self.outbox.wake()
        await self.seen(upstream.tenant)
        return True

    async def preview(self, tenant: str, person: Person, heir: Person | None) -> Summary:
        """What `leave` would end."""
        async with self._db.unit(tenant, write=False) as unit:
            return await preview(unit, person, heir)

    async def leave(
        self, actor: Actor, person: Person, heir: Person | None = None, cause: str = "asked"
    ) -> Offboarding | None:
        """Off-board somebody. Raises `Refused`: conflict (the last admin), validation."""
        async with self._db.unit(actor.tenant) as unit:
            found = await leave(unit, actor, person, heir=heir, cause=cause)
        self.outbox.wake()
        await self.seen(actor.tenant)
        return found
