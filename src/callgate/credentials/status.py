"""How a person's account at an upstream stands, in words for them and for admins."""

from typing import Literal

import msgspec

from callgate import clock
from callgate.model.grant import CONNECTED, NEEDS_SCOPES, Grant
from callgate.model.upstream import Upstream
from callgate.store import grants
from callgate.store.engine import Database

_SOON = 3 * 86400.0
State = Literal["not_connected", "connected", "expiring", "refused", "needs_scopes"]


class Connection(msgspec.Struct, frozen=True):
    """One account. `expires` and `since`: seconds since 1970."""

    upstream: str
    kind: str
    state: State
    reason: str = ""
    scope: str = ""
    issuer: str = ""
    since: float | None = None
    expires: float | None = None


class Status:
    """Looks accounts up."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, tenant: str, person: str, upstream: Upstream) -> Connection:
        """How one account stands."""
        async with self._db.unit(tenant, write=False) as unit:
            grant = await grants.get(unit, person, upstream.id)
        return connection(upstream, grant)


def connection(upstream: Upstream, grant: Grant | None) -> Connection:
    """A grant in words; none is `not_connected`."""
    if grant is None:
        reason = f"it is made out of your sign-in at {upstream.auth.provider}" if upstream.auth.exchanges else ""
        return Connection(upstream.name, "", "not_connected", reason)
    facts = grant.facts
    expires = grant.expires if not facts.refreshable else None
    reason = facts.reason
    if grant.state == NEEDS_SCOPES:
        state: State = "needs_scopes"
    elif grant.state != CONNECTED:
        state = "refused"
    elif expires is not None and expires <= clock.now():
        state, reason = "refused", "it is over"
    elif expires is not None and expires <= clock.now() + _SOON:
        state, reason = "expiring", "it cannot be renewed"
    else:
        state, reason = "connected", ""
    return Connection(upstream.name, grant.kind, state, reason, facts.scope, facts.issuer, grant.created, expires)
