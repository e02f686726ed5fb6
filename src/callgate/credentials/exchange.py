"""Tokens for upstreams out of a person's sign-in: no page to open, and the upstream still sees the person.

Two ways, as an admin says: RFC 8693 (`token_exchange`, for an upstream that takes tokens of the very provider) and
identity assertions (`id_jag`, cross-app access: the provider vouches towards the upstream's own authorization server).
What a person holds of their provider goes to that provider alone; an assertion goes to the issuer that an admin
entered, never to one that the upstream chose. Fail closed: no sign-in that is good any more, a provider that says no,
another issuer: `Ended` or `Refused`, and no grant.
Source: RFC 8693, section 2; MCP extension "Enterprise-Managed Authorization";
draft-ietf-oauth-identity-assertion-authz-grant; RFC 7523, section 2.1.
"""

import asyncio
from typing import Any

import msgspec

from callgate import clock
from callgate.credentials.derive import joined
from callgate.credentials.discovery import Found, discover, metadata_of
from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import written
from callgate.credentials.registering import Credentials, entered, kept, method_of, proof
from callgate.credentials.secrets import Secrets
from callgate.credentials.vendor import Server, Vendor, VendorRefused, seconds
from callgate.errors import CallgateError, Refused
from callgate.fleet.sync import Fleet
from callgate.jose.tokens import WrongToken, unverified
from callgate.model.grant import GrantFacts, Held, ProviderTokens
from callgate.model.signin import Provider
from callgate.model.upstream import ID_JAG, Upstream
from callgate.net.client import Client
from callgate.net.policy import Network
from callgate.store import grants, leases, provider_tokens, providers, secrets
from callgate.store.engine import Database
from callgate.store.unit import Unit

PURPOSE = "provider-tokens"
PROVIDER_SECRET = "provider"  # noqa: S105  a purpose
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TYPE = "urn:ietf:params:oauth:token-type:"
_SKEW = 30.0
_LEASE_SECONDS, _WAIT_SECONDS, _LOOK_SECONDS = 60.0, 30.0, 0.05
_held = msgspec.json.Decoder(Held).decode


class Ended(CallgateError):
    """There is no sign-in to be exchanged; the text says why, for the person."""


def binding(provider: str, person: str) -> bytes:
    """What sealed tokens of a provider are bound to, besides their tenant."""
    return joined(provider, person)


def holding(answer: dict[str, Any]) -> Held:
    """What is kept of a provider's token response."""
    refresh = answer.get("refresh_token")
    until = clock.now() + (seconds(answer.get("expires_in")) or 0.0)
    access = answer.get("access_token")
    return Held(
        str(answer.get("id_token") or ""), access if isinstance(access, str) else "",
        refresh if isinstance(refresh, str) else "", until,
    )  # fmt: skip


class Exchange:
    """One replica's exchanges."""

    def __init__(
        self, db: Database, envelope: Envelope, secrets_: Secrets, fleet: Fleet,
        outside: tuple[Client, tuple[Network, ...]],
    ) -> None:  # fmt: skip
        self._db = db
        self._envelope = envelope
        self._secrets = secrets_
        self._fleet = fleet
        self._client, self._networks = outside

    async def people(self, upstream: Upstream, limit: int) -> list[str]:
        """Whose sign-in could be exchanged for this upstream, the newest first."""
        async with self._db.unit(upstream.tenant, write=False) as unit:
            provider = await providers.by_name(unit, upstream.auth.provider)
            return await provider_tokens.people(unit, provider.id, limit) if provider is not None else []

    async def obtain(self, upstream: Upstream, person: str, needs: str) -> tuple[GrantFacts, dict[str, Any]]:
        """What is known of the new tokens, and the answer that holds them. `needs`: scopes that were asked for before.

        Raises `Ended`; `Refused("connection_failed")` when somebody does not answer, or an admin has to look.
        """
        provider, held = await self._current(upstream, person)
        vendor = Vendor(self._client, self._networks, upstream)
        found = await discover(vendor, upstream, needs)
        own = self._vendor_of(provider)
        server = await metadata_of(own, provider.config.issuer)
        ourselves = await self._ourselves(provider, server)
        try:
            if upstream.auth.kind == ID_JAG:
                return await self._vouched(upstream, found, (own, server, ourselves), held)
            return await self._exchanged(upstream, found, (own, server, ourselves), held)
        except VendorRefused as refused:
            if refused.error in ("invalid_grant", "invalid_token"):
                raise Ended(f"your sign-in at {provider.name} is not good any more ({refused.error})") from None
            raise Refused("connection_failed", f"No token was given ({refused.error}); tell an admin.") from None

    # -- the two ways -----------------------------------------------------------------------------------------------

    async def _exchanged(
        self, upstream: Upstream, found: Found, at: tuple[Vendor, Server, Credentials], held: Held
    ) -> tuple[GrantFacts, dict[str, Any]]:
        own, server, ourselves = at
        if found.server.issuer != server.issuer:
            raise Refused("connection_failed", f"{upstream.name} takes no tokens of this provider; tell an admin.")
        form = {
            "subject_token": held.access, "subject_token_type": f"{_TYPE}access_token",
            "requested_token_type": f"{_TYPE}access_token", "resource": found.resource,
        }  # fmt: skip
        answer = await self._ask(own, server, ourselves, form | _scope(found))
        return await self._kept(upstream, found, ourselves), Vendor.bearer(answer)

    async def _vouched(
        self, upstream: Upstream, found: Found, at: tuple[Vendor, Server, Credentials], held: Held
    ) -> tuple[GrantFacts, dict[str, Any]]:
        own, server, ourselves = at
        form = {
            "subject_token": held.id_token, "subject_token_type": f"{_TYPE}id_token",
            "requested_token_type": f"{_TYPE}id-jag", "audience": found.server.issuer, "resource": found.resource,
        }  # fmt: skip
        given = await self._ask(own, server, ourselves, form | _scope(found))
        assertion = given.get("access_token")
        if given.get("issued_token_type") != f"{_TYPE}id-jag" or not isinstance(assertion, str):
            raise Refused("connection_failed", "The provider gave no identity assertion; tell an admin.")
        secret = await self._secrets.plain(upstream) if upstream.secret_id is not None else ""
        client = entered(upstream, found.server, secret)
        fields, headers = proof(client, found.server)
        form = {"grant_type": _BEARER, "assertion": assertion, "resource": found.resource, **fields, **_scope(found)}
        vendor = Vendor(self._client, self._networks, upstream)
        answer = await vendor.token(found.server.token_endpoint, form, headers)
        return await self._kept(upstream, found, client), answer

    async def _ask(self, own: Vendor, server: Server, ourselves: Credentials, form: dict[str, str]) -> dict[str, Any]:
        fields, headers = proof(ourselves, server)
        return await own.answer(server.token_endpoint, {"grant_type": _GRANT, **form, **fields}, headers)

    async def _kept(self, upstream: Upstream, found: Found, client: Credentials) -> GrantFacts:
        """Who we are there is kept, so that what was given can be revoked."""
        row = await kept(self._envelope, upstream, found.server.issuer, client, ("exchange", "", None))
        async with self._db.unit(upstream.tenant) as unit:
            await grants.put_client(unit, row)
        server = found.server
        return GrantFacts(
            server.issuer, client.client_id, found.resource, found.scope, refreshable=True,
            token_endpoint=server.token_endpoint, revocation_endpoint=server.revocation_endpoint,
        )  # fmt: skip

    # -- what a person holds ------------------------------------------------------------------------------------------

    async def _current(self, upstream: Upstream, person: str) -> tuple[Provider, Held]:
        """The provider and what the person holds of it, renewed where it is over."""
        tenant, name = upstream.tenant, upstream.auth.provider
        async with self._db.unit(tenant, write=False) as unit:
            provider = await providers.by_name(unit, name)
            row = await provider_tokens.get(unit, provider.id, person) if provider is not None else None
        if provider is None or not provider.config.keep_tokens:
            raise Refused("connection_failed", f"The provider {name} does not keep sign-ins; tell an admin.")
        if row is None:
            raise Ended(f"sign in with {name}")
        held = await self._opened(row)
        if _good(held, upstream):
            return provider, held
        if not held.refresh:
            raise Ended(f"your sign-in at {name} is over")
        server = await metadata_of(self._vendor_of(provider), provider.config.issuer)  # slow ones outlast no lease
        return provider, await self._renewed(provider, server, row, upstream)

    async def _opened(self, row: ProviderTokens) -> Held:
        bound = binding(row.provider, row.person)
        return _held(await self._envelope.open_sealed(row.tenant, PURPOSE, bound, row.sealed))

    async def _renewed(self, provider: Provider, server: Server, row: ProviderTokens, upstream: Upstream) -> Held:
        """A refresh token that is good once is used once: under a lease, after another look."""
        name, until = f"sign-in:{row.tenant}:{row.provider}:{row.person}", clock.monotonic() + _WAIT_SECONDS
        holder = f"{self._fleet.replica}/{clock.random_urlsafe(6)}"  # calls of other upstreams here wait as well
        while clock.monotonic() < until:
            async with leases.trying(self._db, name, holder, _LEASE_SECONDS) as ours:
                async with self._db.unit(row.tenant, write=False) as unit:
                    current = await provider_tokens.get(unit, row.provider, row.person)
                if current is None:
                    raise Ended(f"sign in with {provider.name}")
                held = await self._opened(current)
                if _good(held, upstream):
                    return held
                if ours:
                    return await self._refreshed(provider, server, current, held)
            await asyncio.sleep(_LOOK_SECONDS)
        raise Refused("connection_failed", f"Your sign-in at {provider.name} could not be renewed now.")

    async def _refreshed(self, provider: Provider, server: Server, row: ProviderTokens, held: Held) -> Held:
        own = self._vendor_of(provider)
        fields, headers = proof(await self._ourselves(provider, server), server)
        form = {"grant_type": "refresh_token", "refresh_token": held.refresh, **fields}
        try:
            answer = await own.token(server.token_endpoint, form, headers)
        except VendorRefused as refused:
            if refused.of_us:
                words = f"{provider.name} does not take us as a client ({refused.error}); tell an admin."
                raise Refused("connection_failed", words) from None
            async with self._db.unit(row.tenant) as unit:
                await provider_tokens.drop(unit, row)
            raise Ended(f"your sign-in at {provider.name} was ended there ({refused.error})") from None
        given = {name: value for name, value in answer.items() if value}
        fresh = holding({"id_token": held.id_token, "refresh_token": held.refresh, **given})
        bound = binding(row.provider, row.person)
        sealed = await self._envelope.seal(row.tenant, PURPOSE, bound, msgspec.json.encode(fresh))
        changed = msgspec.structs.replace(row, sealed=sealed, changed=clock.now())

        async def write(unit: Unit) -> bool:
            return await provider_tokens.write_back(unit, changed, row)

        if not await written(self._db, row.tenant, write):  # ended, or signed in again, meanwhile
            raise Ended(f"sign in with {provider.name}")
        return fresh

    def _vendor_of(self, provider: Provider) -> Vendor:
        config = provider.config
        place = Upstream(
            id=provider.id, tenant=provider.tenant, name=provider.name, kind="http", url=config.issuer,
            allow_private=config.allow_private,
        )  # fmt: skip
        return Vendor(self._client, self._networks, place)

    async def _ourselves(self, provider: Provider, server: Server) -> Credentials:
        """Who we are to the provider: as at sign-in."""
        secret = b""
        if provider.secret_id is not None:
            async with self._db.unit(provider.tenant, write=False) as unit:
                sealed = await secrets.get(unit, provider.secret_id)
            bound = provider.id.encode()
            secret = await self._envelope.open_sealed(provider.tenant, PROVIDER_SECRET, bound, sealed or b"")
        return Credentials(provider.config.client_id, method_of(server, secret.decode()), secret.decode())


def _scope(found: Found) -> dict[str, str]:
    scope = " ".join(one for one in found.scope.split() if one not in ("openid", "offline_access"))
    return {"scope": scope} if scope else {}


def _good(held: Held, upstream: Upstream) -> bool:
    """Whether what is held can be used now."""
    until = _expiry(held.id_token) if upstream.auth.kind == ID_JAG else held.until if held.access else 0.0
    return until > clock.now() + _SKEW


def _expiry(id_token: str) -> float:
    """When an id token is over (it was verified at sign-in; whoever takes it verifies it again); 0 without a date."""
    try:
        return float(unverified(id_token)["exp"])
    except (WrongToken, KeyError, TypeError, ValueError):
        return 0.0
