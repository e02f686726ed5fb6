"""Access tokens of a service account: client credentials with a secret or with a signed assertion (mode `shared`).

Kept sealed for as long as they are good, asked for once however many wait. Fail closed: an authorization server that
says no is `upstream_unavailable` with its code.
Source: RFC 6749, section 4.4; RFC 7523; MCP extension "OAuth client credentials".
"""

import asyncio

from callgate import clock
from callgate.credentials.discovery import Found, discover
from callgate.credentials.envelope import Envelope
from callgate.credentials.registering import entered, proof
from callgate.credentials.secrets import Secrets
from callgate.credentials.vendor import Vendor, VendorRefused, seconds
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.net.client import Client
from callgate.net.policy import Network

_PURPOSE = "service-token"
_SKEW, _UNKNOWN = 30.0, 300.0
_Held = tuple[tuple[int, int], float, bytes]  # revision and edition of the keys, until when, sealed


class ServiceTokens:
    """One replica's tokens, by upstream and its revision."""

    def __init__(
        self, envelope: Envelope, secrets: Secrets, outside: tuple[Client, tuple[Network, ...]]
    ) -> None:  # fmt: skip
        self._envelope = envelope
        self._secrets = secrets
        self._client, self._networks = outside
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def token(self, upstream: Upstream) -> str:
        """A good access token. Raises `Refused("upstream_unavailable")`."""
        await self._envelope.unlock(upstream.tenant)
        keys = self._envelope.keyring.edition(upstream.tenant)
        async with self._locks.setdefault(upstream.id, asyncio.Lock()):
            held = self._held.get(upstream.id)
            if held is None or held[0] != (upstream.revision, keys) or held[1] <= clock.now():
                held = self._held[upstream.id] = await self._asked(upstream, keys)
        return (await self._envelope.open_sealed(upstream.tenant, _PURPOSE, upstream.id.encode(), held[2])).decode()

    def forget(self, upstream: Upstream) -> None:
        """The upstream refused what we have."""
        self._held.pop(upstream.id, None)

    async def _asked(self, upstream: Upstream, keys: int) -> _Held:
        vendor = Vendor(self._client, self._networks, upstream)
        try:
            found = await discover(vendor, upstream)
            answer = await self._answer(vendor, upstream, found)
        except VendorRefused as refused:
            raise Refused(
                "upstream_unavailable",
                f"The authorization server of {upstream.name} gave no token ({refused.error}); tell an admin.",
            ) from None
        except Refused as refused:
            raise Refused("upstream_unavailable", f"{upstream.name}: {refused.sentence}") from None
        lasts = seconds(answer.get("expires_in")) or _UNKNOWN
        access = str(answer["access_token"]).encode()
        sealed = await self._envelope.seal(upstream.tenant, _PURPOSE, upstream.id.encode(), access)
        return (upstream.revision, keys), clock.now() + lasts - min(_SKEW, lasts * 0.2), sealed

    async def _answer(self, vendor: Vendor, upstream: Upstream, found: Found) -> dict[str, object]:
        client = entered(upstream, found.server, await self._secrets.plain(upstream))
        fields, headers = proof(client, found.server)
        form = {"grant_type": "client_credentials", "resource": found.resource, **fields}
        if found.scope:
            form["scope"] = found.scope.removesuffix(" offline_access")
        return await vendor.token(found.server.token_endpoint, form, headers)
