"""Grants as values: what they are bound to, whether they are due, the header that they become, and how they are sealed.

Fail closed: what is sealed for one person and upstream opens for no other.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from callgate import clock
from callgate.credentials.derive import joined
from callgate.credentials.envelope import Envelope
from callgate.credentials.vendor import seconds
from callgate.errors import Refused
from callgate.model.grant import CONNECTED, EXCHANGED, OWN_TOKEN, Grant, GrantFacts, GrantTokens
from callgate.model.upstream import Auth, Upstream
from callgate.store import offboarding, people, upstreams
from callgate.store.engine import Database
from callgate.store.unit import Unit

PURPOSE = "grant"
_SKEW = 30.0
_WRITE_SECONDS, _AGAIN_SECONDS = 20.0, 0.25  # well within the leases under which vendors are asked


class Opened(msgspec.Struct, frozen=True):
    """A credential for one request: a header. `account` says whose it is, whatever its value at the moment."""

    header: tuple[str, str] | None = None
    account: str = ""

    def __repr__(self) -> str:
        return f"Opened({self.account})"


def mode_of(upstream: Upstream, *, writes: bool) -> str:
    """How this call authenticates: an upstream may want the person themselves for tools that change something."""
    return upstream.auth.writes or upstream.auth_mode if writes else upstream.auth_mode


def binding(person: str, upstream: str) -> bytes:
    """What a sealed grant is bound to, besides its tenant."""
    return joined(person, upstream)


def connection_required(upstream: Upstream, reason: str = "") -> Refused:
    """The refusal that asks a person to connect; whoever answers the client adds the link."""
    why = f" {reason}" if reason else ""
    sentence = f"Your account at {upstream.name} is not connected yet.{why}"
    if reason:
        sentence = f"Your account at {upstream.name} has to be connected again: {reason}"
    return Refused("connection_required", sentence, {"upstream": upstream.name})


def header_of(upstream: Upstream, grant: Grant, access: str) -> Opened:
    """The credential that carries a grant's access token."""
    own = grant.kind == OWN_TOKEN
    scheme, header = (upstream.auth_scheme, upstream.auth_header) if own else ("Bearer", "Authorization")
    return Opened((header, f"{scheme} {access}" if scheme else access), f"{grant.person} {grant.created}")


def nothing_yet(upstream: Upstream, person: str) -> Grant:
    """The grant of somebody whose sign-in was not exchanged yet."""
    return Grant(
        upstream.tenant, person, upstream.id, EXCHANGED, CONNECTED, GrantFacts(), expires=0.0, created=clock.now(),
        edition=0,
    )  # fmt: skip


def needing(grant: Grant, scopes: str) -> Grant:
    """The grant with the scopes that the upstream asked for."""
    return msgspec.structs.replace(grant, facts=msgspec.structs.replace(grant.facts, needs=scopes))


class Began(msgspec.Struct, frozen=True):
    """Whom a grant is fetched for, and where, as things stood when that began. `left`: their last off-boarding."""

    person: str
    upstream: Upstream
    left: str = ""


async def began(unit: Unit, person: str, upstream: Upstream) -> Began:
    """Before a vendor is asked for what will be somebody's."""
    last = await offboarding.latest_of(unit, person)
    return Began(person, upstream, last.id if last is not None else "")


async def still_there(unit: Unit, since: Began) -> None:
    """Raise `Refused` when somebody left since, back or not, or when the upstream is another one; neither happens
    before the unit ends."""
    known = await people.locked(unit, since.person)
    if known is None or not known.active or await began(unit, since.person, since.upstream) != since:
        raise Refused("person_inactive")
    now = await upstreams.locked(unit, since.upstream.id)
    if not same_place(now, since.upstream):
        raise Refused("connection_failed", "The configuration of this server changed meanwhile; begin again.")


async def written(db: Database, tenant: str, write: Callable[[Unit], Awaitable[bool]]) -> bool:
    """Write what a vendor gave once and will not give again; a store that is away for a moment does not lose it.

    Raises `Refused("store_unavailable")`.
    """
    until = clock.monotonic() + _WRITE_SECONDS
    while True:
        try:
            async with db.unit(tenant) as unit:
                return await write(unit)
        except Refused as refused:
            if refused.code != "store_unavailable" or clock.monotonic() > until:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


def same_place(now: Upstream | None, then: Upstream) -> bool:
    """Whether a credential for an upstream as it is now is one for it as it was."""
    return now is not None and (now.revision == then.revision or _place(now) == _place(then))


def _place(upstream: Upstream) -> tuple[str, str, Auth]:
    return upstream.identity, upstream.auth_mode, upstream.auth


def due(grant: Grant) -> bool:
    """Whether an access token is over, or so nearly that it may be on its way."""
    if grant.expires is None:
        return False
    lifetime = max(grant.expires - grant.changed, 0.0)
    return grant.expires - min(_SKEW, lifetime * 0.2) <= clock.now()


async def sealed_grant(envelope: Envelope, grant: Grant, answer: dict[str, object], refresh: str = "") -> Grant:
    """The grant with the tokens of a vendor's answer; `refresh` is the earlier refresh token, kept where none comes."""
    now = clock.now()
    lasts = seconds(answer.get("expires_in"))
    given = answer.get("refresh_token")
    held = GrantTokens(str(answer["access_token"]), given if isinstance(given, str) and given else refresh)
    scope = answer.get("scope")
    facts = msgspec.structs.replace(
        grant.facts, scope=scope if isinstance(scope, str) else grant.facts.scope, refreshable=bool(held.refresh)
    )
    sealed = await envelope.seal(
        grant.tenant, PURPOSE, binding(grant.person, grant.upstream), msgspec.json.encode(held)
    )  # fmt: skip
    expires = now + lasts if lasts is not None else None
    return msgspec.structs.replace(grant, facts=facts, sealed=sealed, expires=expires, changed=now)
