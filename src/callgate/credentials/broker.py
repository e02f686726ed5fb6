"""The credential of a call: the upstream's shared one, or the person's own, fresh at the moment of the call.

A grant is cached sealed and opened for one request. An access token that is nearly over is renewed first: by one task
of one replica at a time, which reads the grant again under a lease, so that a refresh token that is good once is used
once.
Fail closed: no grant, one that the vendor refused, or one that does not open: `connection_required` with what to do;
nothing is ever sent with somebody else's.
"""

import asyncio
import contextlib
from collections import OrderedDict

import msgspec

from callgate import clock
from callgate.credentials.discovery import challenge_of
from callgate.credentials.envelope import Envelope
from callgate.credentials.exchange import Ended, Exchange
from callgate.credentials.granted import (
    PURPOSE,
    Opened,
    began,
    binding,
    connection_required,
    due,
    header_of,
    mode_of,
    needing,
    nothing_yet,
    same_place,
    sealed_grant,
    still_there,
    written,
)
from callgate.credentials.registering import opened, proof
from callgate.credentials.secrets import Secrets
from callgate.credentials.service import ServiceTokens
from callgate.credentials.vendor import Server, Vendor, VendorRefused
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.model.grant import (
    CONNECTED,
    EXCHANGED,
    NEEDS_SCOPES,
    REFUSED,
    Grant,
    GrantFacts,
    GrantTokens,
)
from callgate.model.upstream import NONE, PERSONAL, SHARED, Upstream
from callgate.net.client import Client
from callgate.net.policy import Network
from callgate.store import grants, leases
from callgate.store.engine import Database
from callgate.store.unit import Unit
from callgate.telemetry.logs import get_logger

_LEASE_SECONDS, _WAIT_SECONDS, _LOOK_SECONDS = 60.0, 30.0, 0.05
_CLOSE_SECONDS = 5.0
_TRIED = 5  # accounts that the gateway itself looks with
_KEPT = 50_000
_tokens = msgspec.json.Decoder(GrantTokens).decode
log = get_logger(__name__)
Outside = tuple[Client, tuple[Network, ...]]
Key = tuple[str, str, str]  # tenant, person, upstream


class Broker:
    """The credentials port of one replica."""

    def __init__(self, db: Database, envelope: Envelope, secrets: Secrets, fleet: Fleet, outside: Outside) -> None:
        self._db = db
        self._envelope = envelope
        self._secrets = secrets
        self._fleet = fleet
        self._client, self._networks = outside
        self._service = ServiceTokens(envelope, secrets, outside)
        self._exchange = Exchange(db, envelope, secrets, fleet, outside)
        self._known: OrderedDict[Key, tuple[int, Grant | None]] = OrderedDict()
        self._seen = {tenant: seen.get(grants.AGGREGATE, 0) for tenant, seen in fleet.revisions().items()}
        self._epoch = 0
        self._renewing: dict[Key, asyncio.Task[Grant]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = fleet.subscribe(self._on_change)

    async def open(self, upstream: Upstream, person: str, *, writes: bool = False) -> Opened:
        """The credential for one request. Raises `Refused`: connection_required, upstream_unavailable."""
        mode = mode_of(upstream, writes=writes)
        if mode == NONE:
            return Opened()
        self._check(upstream)
        if mode == SHARED:
            return await self._shared(upstream)
        grant = await self._usable(upstream, person)
        if due(grant):
            grant = await self._renewed(upstream, grant)
        return await self._opened(upstream, grant)

    def at_hand(self, upstream: Upstream, person: str, *, writes: bool = False) -> Opened | None:
        """The same, if nothing has to be waited for or renewed; else None. Raises `Refused`: what `open` has to say."""
        mode = mode_of(upstream, writes=writes)
        if mode == NONE:
            return Opened()
        self._check(upstream)
        if mode == SHARED:
            header = self._secrets.at_hand(upstream) if upstream.auth.kind in ("secret", "basic") else None
            return None if header is None else Opened(header)
        edition, grant = self._known.get((upstream.tenant, person, upstream.id), (0, None))
        if grant is None or grant.state != CONNECTED or grant.sealed is None or due(grant):
            return None
        if edition != self._envelope.keyring.edition(upstream.tenant):
            return None
        bound = binding(grant.person, grant.upstream)
        plain = self._envelope.open_at_hand(grant.tenant, PURPOSE, bound, grant.sealed)
        return None if plain is None else header_of(upstream, grant, _tokens(plain).access)

    def _check(self, upstream: Upstream) -> None:
        """A call that began before a change must not carry what is for the new place to the old one.

        Raises `Refused`, also when changes may have been missed.
        """
        if not same_place(self._fleet.view(upstream.tenant).upstreams.get(upstream.id), upstream):
            words = f"The configuration of {upstream.name} changed meanwhile; call again."
            raise Refused("upstream_unavailable", words)

    async def _shared(self, upstream: Upstream) -> Opened:
        if upstream.auth.kind in ("client_credentials", "private_key_jwt"):
            token = await self._service.token(upstream)
            return Opened((upstream.auth_header, f"Bearer {token}"), "service")
        return Opened(await self._secrets.open(upstream.tenant, upstream.id))

    async def for_discovery(self, upstream: Upstream) -> Opened:
        """The credential with which the gateway itself looks at an upstream: the shared one, else that of whoever
        connected first. Raises `Refused` as `open`."""
        if upstream.auth_mode not in PERSONAL:
            return await self.open(upstream, "")
        async with self._db.unit(upstream.tenant, write=False) as unit:
            connected = await grants.of_upstream(unit, upstream.id)
        able = await self._exchange.people(upstream, _TRIED) if upstream.auth.exchanges else []
        for person in [*(one.person for one in connected[:_TRIED]), *able]:
            with contextlib.suppress(Refused):
                return await self.open(upstream, person)
        raise Refused("upstream_unavailable", f"Nobody has connected an account at {upstream.name} yet.")

    async def replace_for_discovery(self, upstream: Upstream, challenge: str) -> None:
        """The upstream refused what `for_discovery` opened: make the next opening another one. Raises `Refused`."""
        used = await self.for_discovery(upstream)
        person = used.account.split(" ")[0]
        await self.again(upstream, person, used, challenge_of(challenge))

    async def again(self, upstream: Upstream, person: str, used: Opened, challenge: dict[str, str]) -> Opened:
        """Another credential after the upstream refused this one, to be tried once.

        Raises `Refused`: connection_required (with the grant marked), credential_refused (of a shared one).
        """
        self._check(upstream)
        if used.account == "service":
            self._service.forget(upstream)
            return await self._shared(upstream)
        if not used.account:
            raise Refused("credential_refused", f"The server {upstream.name} refused our credential; tell an admin.")
        self._forget((upstream.tenant, person, upstream.id))
        grant = await self._usable(upstream, person)
        if not used.account.endswith(f" {grant.created}"):
            return await self._opened(upstream, grant)  # connected again meanwhile
        if challenge.get("error") == "insufficient_scope":
            wanted = challenge.get("scope", "")[:2000]
            if grant.kind == EXCHANGED:
                return await self._opened(upstream, await self._renewed(upstream, needing(grant, wanted)))
            facts = msgspec.structs.replace(grant.facts, needs=wanted, reason="it needs more permissions")
            await self._mark(grant, NEEDS_SCOPES, facts)
            raise connection_required(upstream, "it needs more permissions for this.")
        current = await self._opened(upstream, grant)
        if current.header != used.header:
            return current  # somebody renewed it meanwhile
        if not grant.facts.refreshable:
            await self._refuse(upstream, grant, "the server refused it")
        return await self._opened(upstream, await self._renewed(upstream, grant))

    # -- grants ----------------------------------------------------------------------------------------------------

    async def _usable(self, upstream: Upstream, person: str) -> Grant:
        grant = await self._grant((upstream.tenant, person, upstream.id))
        if grant is None and upstream.auth.exchanges:
            return await self._renewed(upstream, nothing_yet(upstream, person))
        if grant is None:
            raise connection_required(upstream)
        if grant.state != CONNECTED or grant.sealed is None:
            raise connection_required(upstream, f"{grant.facts.reason or 'it was ended'}.")
        return grant

    async def _grant(self, key: Key) -> Grant | None:
        """The grant as the store has it, or had it when nothing has changed since."""
        self._fleet.view(key[0])  # refuses when changes may have been missed
        await self._envelope.unlock(key[0])
        known = self._known.get(key)
        if known is not None and known[0] == self._envelope.keyring.edition(key[0]):
            return known[1]
        epoch = self._epoch
        found = await self._read(key)
        if epoch == self._epoch:
            self._keep(key, found)
        return found

    async def _read(self, key: Key) -> Grant | None:
        async with self._db.unit(key[0], write=False) as unit:
            return await grants.get(unit, key[1], key[2])

    def _keep(self, key: Key, grant: Grant | None) -> None:
        self._known[key] = self._envelope.keyring.edition(key[0]), grant
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)

    def _forget(self, key: Key) -> None:
        self._known.pop(key, None)

    async def _opened(self, upstream: Upstream, grant: Grant) -> Opened:
        return header_of(upstream, grant, (await self._unsealed(grant)).access)

    async def _unsealed(self, grant: Grant) -> GrantTokens:
        bound = binding(grant.person, grant.upstream)
        return _tokens(await self._envelope.open_sealed(grant.tenant, PURPOSE, bound, grant.sealed or b""))

    # -- renewing ----------------------------------------------------------------------------------------------------

    async def _renewed(self, upstream: Upstream, grant: Grant) -> Grant:
        key = (grant.tenant, grant.person, grant.upstream)
        task = self._renewing.get(key)
        if task is None:
            task = self._renewing[key] = asyncio.ensure_future(self._renew(upstream, grant))
            task.add_done_callback(lambda _: self._renewing.pop(key, None))
        return await asyncio.shield(task)

    async def _renew(self, upstream: Upstream, grant: Grant) -> Grant:
        key = (grant.tenant, grant.person, grant.upstream)
        name = "grant:" + ":".join(key)
        until = clock.monotonic() + _WAIT_SECONDS
        while True:
            async with leases.trying(self._db, name, self._fleet.replica, _LEASE_SECONDS) as ours:
                current = await self._read(key)
                if current is None and grant.kind == EXCHANGED:
                    current = grant
                if current is None or current.state != CONNECTED:
                    self._forget(key)
                    raise connection_required(upstream, "it was ended.")
                if current.edition != grant.edition and not due(current):
                    self._keep(key, current)
                    return current
                if ours and current.kind == EXCHANGED:
                    return await self._exchanged(upstream, needing(current, grant.facts.needs))
                if ours:
                    return await self._ask(upstream, current)
            if clock.monotonic() > until:
                raise Refused("upstream_unavailable", f"The credential for {upstream.name} could not be renewed now.")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _exchanged(self, upstream: Upstream, grant: Grant) -> Grant:
        """Make a token out of the person's sign-in, unless they have left meanwhile."""
        async with self._db.unit(grant.tenant, write=False) as unit:
            since = await began(unit, grant.person, upstream)
        try:
            facts, answer = await self._exchange.obtain(upstream, grant.person, grant.facts.needs)
        except Ended as ended:
            async with self._db.unit(grant.tenant) as unit:
                await grants.remove(unit, grant.person, grant.upstream)
            raise connection_required(upstream, f"{ended}.") from None
        except Refused as refused:
            raise Refused("upstream_unavailable", refused.sentence) from None
        fresh = await sealed_grant(self._envelope, msgspec.structs.replace(grant, facts=facts), answer)
        fresh = msgspec.structs.replace(fresh, facts=msgspec.structs.replace(fresh.facts, refreshable=True))
        async with self._db.unit(grant.tenant) as unit:
            await still_there(unit, since)
            fresh = await grants.put(unit, fresh)
        self._keep((grant.tenant, grant.person, grant.upstream), fresh)
        return fresh

    async def _ask(self, upstream: Upstream, grant: Grant) -> Grant:
        """Use the refresh token, and keep what comes for it."""
        facts, held = grant.facts, await self._unsealed(grant)
        async with self._db.unit(grant.tenant, write=False) as unit:
            row = await grants.client(unit, upstream.id, facts.issuer)
        if row is None or not held.refresh:
            return await self._refuse(upstream, grant, "it is over")
        client = await opened(self._envelope, upstream, row)
        fields, headers = proof(client, Server(facts.issuer))
        form = {"grant_type": "refresh_token", "refresh_token": held.refresh, **fields}
        if facts.resource:
            form["resource"] = facts.resource
        vendor = Vendor(self._client, self._networks, upstream)
        try:
            answer = await vendor.token(facts.token_endpoint, form, headers)
        except VendorRefused as refused:
            if refused.of_us and row.how != "dynamic":
                words = f"The vendor of {upstream.name} does not take us as a client ({refused.error}); tell an admin."
                raise Refused("upstream_unavailable", words) from None
            if refused.of_us:
                async with self._db.unit(grant.tenant) as unit:
                    await grants.drop_client(unit, upstream.id, facts.issuer)
            return await self._refuse(upstream, grant, f"the vendor ended it ({refused.error})")
        except Refused as refused:
            raise Refused("upstream_unavailable", refused.sentence) from None
        fresh = await sealed_grant(self._envelope, grant, answer, held.refresh)

        async def write(unit: Unit) -> bool:
            return await grants.write_back(unit, fresh, grant.edition)

        if not await written(self._db, grant.tenant, write):
            # ended, or connected again, while the vendor answered: what came is nobody's
            with contextlib.suppress(Refused):
                if facts.revocation_endpoint:
                    gone = str(answer.get("refresh_token") or answer["access_token"])
                    await vendor.revoke(facts.revocation_endpoint, {"token": gone, **fields}, headers)
            raise connection_required(upstream, "it was ended.")
        fresh = msgspec.structs.replace(fresh, edition=grant.edition + 1)
        self._keep((grant.tenant, grant.person, grant.upstream), fresh)
        return fresh

    async def _refuse(self, upstream: Upstream, grant: Grant, reason: str) -> Grant:
        log.info("a vendor refused a grant", upstream=upstream.id, person=grant.person)
        await self._mark(grant, REFUSED, msgspec.structs.replace(grant.facts, reason=reason))
        raise connection_required(upstream, f"{reason}.")

    async def _mark(self, grant: Grant, state: str, facts: GrantFacts) -> None:
        async with self._db.unit(grant.tenant) as unit:
            await grants.mark(unit, grant, state, facts)
        self._forget((grant.tenant, grant.person, grant.upstream))

    # -- changes -------------------------------------------------------------------------------------------------------

    def _on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        if grants.AGGREGATE not in aggregates:
            return
        self._epoch += 1
        revision = self._fleet.view(tenant).revisions.get(grants.AGGREGATE, 0)
        task = asyncio.ensure_future(self._evict(tenant, revision))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evict(self, tenant: str, revision: int) -> None:
        try:
            async with self._db.unit(tenant, write=False) as unit:
                touched = await grants.changed_since(unit, self._seen.get(tenant, 0))
        except Refused:
            touched = [(person, upstream) for of, person, upstream in self._known if of == tenant]
        for person, upstream in touched:
            self._forget((tenant, person, upstream))
        self._seen[tenant] = max(revision, self._seen.get(tenant, 0))

    async def settled(self) -> None:
        """Return when every change that this replica has heard of is known here."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Stop following changes; what is under way ends, renewals if they can: what a vendor gave is kept."""
        self._stop()
        if self._renewing:
            await asyncio.wait(self._renewing.values(), timeout=_CLOSE_SECONDS)
        for task in (*self._tasks, *self._renewing.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._renewing.values(), return_exceptions=True)
