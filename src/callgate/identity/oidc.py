"""An OpenID provider as a relying party sees it: where its endpoints are, which keys it signs with, what it answers.

Source: OpenID Connect Discovery 1.0, Core 1.0 (section 3.1.3.7), RFC 7636, RFC 9207. Fail closed: metadata of another
issuer, an id token that is not for us or not for this sign-in, an answer that is no token: `Refused("sign_in_failed")`.
"""

import base64
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.jose.keys import Keys
from callgate.jose.tokens import Claims, WrongToken, verified
from callgate.model.signin import Provider
from callgate.net.client import Client
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import Network, TargetPolicy

_KEPT = 3600.0
_CLIENTS = 1000
_MOST = 256 * 1024
_LIMITS = Limits(connect=5.0, first_byte=10.0, idle=10.0, total=20.0, response_bytes=_MOST)


class Metadata(msgspec.Struct, frozen=True):
    """What a provider says of itself, as far as it matters here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


_metadata = msgspec.json.Decoder(Metadata).decode


class Directory:
    """Providers' metadata and keys, kept for an hour."""

    def __init__(self, client: Client, networks: tuple[Network, ...]) -> None:
        self._client = client
        self._networks = networks
        self._known: dict[str, tuple[float, Metadata, Keys]] = {}
        self._clients: dict[tuple[str, str], Keys] = {}  # the ones that were not asked for longest first

    def policy(self, provider: Provider) -> TargetPolicy:
        """Which addresses a provider may have."""
        return TargetPolicy(provider.config.allow_private, self._networks)

    async def metadata(self, provider: Provider) -> Metadata:
        """Raises `Refused("sign_in_failed")` with what is wrong."""
        return (await self._found(provider))[0]

    async def keys(self, provider: Provider) -> Keys:
        """Raises `WrongToken`."""
        try:
            return (await self._found(provider))[1]
        except Refused as refused:
            raise WrongToken(refused.sentence) from None

    def client_keys(self, uri: str, given: str) -> Keys:
        """The keys of a client of ours, which lie where strangers say; kept, so that forged proofs cost no fetches."""
        keys = self._clients.pop((uri, given), None)
        if keys is None:
            keys = Keys(self._client, TargetPolicy(False, self._networks), uri, given)
        self._clients[uri, given] = keys
        while len(self._clients) > _CLIENTS:
            del self._clients[next(iter(self._clients))]
        return keys

    async def _found(self, provider: Provider) -> tuple[Metadata, Keys]:
        issuer = provider.config.issuer
        known = self._known.get(provider.id)
        if known is not None and clock.monotonic() - known[0] < _KEPT and known[1].issuer == issuer:
            return known[1], known[2]
        raw = await self._get(provider, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            found = _metadata(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused("sign_in_failed", "The provider's metadata is not what a provider publishes.") from None
        if found.issuer != issuer:
            raise Refused("sign_in_failed", "The provider calls itself by another issuer than is configured.")
        keys = Keys(self._client, self.policy(provider), found.jwks_uri)
        self._known[provider.id] = (clock.monotonic(), found, keys)
        return found, keys

    async def _get(self, provider: Provider, url: str) -> bytes:
        try:
            async with await self._client.request(
                "GET", url, {"accept": "application/json"}, policy=self.policy(provider), limits=_LIMITS
            ) as answer:
                if answer.status != 200:
                    raise Refused("sign_in_failed", f"The provider answered with status {answer.status}.")
                return await answer.read(_MOST)
        except EgressError as error:
            raise Refused("sign_in_failed", f"The provider cannot be reached: {error}") from None

    async def redeem(self, provider: Provider, secret: str, code: Mapping[str, str]) -> dict[str, Any]:
        """The token response for a code (Core, section 3.1.3). `code` has code, code_verifier, redirect_uri.

        Raises `Refused("sign_in_failed")`.
        """
        metadata = await self.metadata(provider)
        form = {"grant_type": "authorization_code", **code}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        client_id = provider.config.client_id
        if secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            headers["authorization"] = basic(client_id, secret)
        else:
            form |= {"client_id": client_id, **({"client_secret": secret} if secret else {})}
        try:
            async with await self._client.request(
                "POST", metadata.token_endpoint, headers, urlencode(form).encode(), policy=self.policy(provider),
                limits=_LIMITS,
            ) as answer:  # fmt: skip
                raw = await answer.read(_MOST)
                status = answer.status
        except EgressError as error:
            raise Refused("sign_in_failed", f"The provider cannot be reached: {error}") from None
        try:
            found: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = {}
        if status != 200 or not isinstance(found.get("id_token"), str):
            raise Refused("sign_in_failed", f"The provider gave no identity (status {status}); begin again.")
        return found

    async def identity(self, provider: Provider, id_token: str, nonce: str) -> Claims:
        """The claims of an id token of this sign-in (Core, section 3.1.3.7). Raises `Refused("sign_in_failed")`."""
        config = provider.config
        try:
            keys = await self.keys(provider)
            claims = await verified(id_token, keys, issuer=config.issuer, audience={config.client_id})
        except WrongToken as wrong:
            raise Refused("sign_in_failed", f"The provider's identity is not good: {wrong}.") from None
        several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else config.client_id) != config.client_id:
            raise Refused("sign_in_failed", "The provider's identity was made for another client.")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Refused("sign_in_failed", "The provider's identity is of another sign-in; begin again.")
        return claims


def basic(client_id: str, secret: str) -> str:
    """An Authorization header of a client (RFC 6749, section 2.3.1: both parts are form-encoded first)."""
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
