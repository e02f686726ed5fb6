"""Who the gateway is to a vendor: entered by an admin, by its own metadata document, or registered once per tenant.

In that order (MCP 2026-07-28, /basic/authorization/client-registration). Each upstream has a redirect URI of its own,
so an answer of one vendor cannot be taken for another's. Fail closed: where none of the three works,
`connection_failed` says what an admin can do.
"""

import base64
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from callgate import clock
from callgate.credentials.derive import joined
from callgate.credentials.envelope import Envelope
from callgate.credentials.vendor import Server, Vendor, object_of, seconds
from callgate.errors import Refused
from callgate.jose.tokens import signed
from callgate.model.grant import UpstreamClient
from callgate.model.upstream import Upstream
from callgate.store import grants
from callgate.store.unit import Unit

PURPOSE = "upstream-client"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Credentials(msgspec.Struct, frozen=True):
    """A client that can authenticate. `secret` is a secret or a private key; in no repr."""

    client_id: str
    method: str
    secret: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.client_id})"


def binding(upstream: str, issuer: str) -> bytes:
    return joined(upstream, issuer)


def entered(upstream: Upstream, server: Server, secret: str) -> Credentials:
    """The client that an admin entered."""
    if upstream.auth.kind == "private_key_jwt":
        return Credentials(upstream.auth.client_id, "private_key_jwt", secret)
    return Credentials(upstream.auth.client_id, method_of(server, secret), secret)


def method_of(server: Server, secret: str) -> str:
    """How a client with this secret proves itself (RFC 6749, section 2.3.1)."""
    if not secret:
        return "none"
    known = server.token_endpoint_auth_methods_supported
    return "client_secret_post" if "client_secret_basic" not in known and known else "client_secret_basic"


async def register(
    vendor: Vendor, server: Server, redirect_uri: str, scope: str
) -> tuple[Credentials, float | None]:  # fmt: skip
    """A client registered by us (RFC 7591), and when its secret is over. Raises `Refused("connection_failed")`."""
    if not server.registration_endpoint:
        raise Refused(
            "connection_failed",
            "The authorization server lets nobody register; an admin has to enter a client: "
            f"callgate upstreams auth NAME --client-id ID, with the redirect URI {redirect_uri}",
        )
    methods = server.token_endpoint_auth_methods_supported
    preferred = ("none", "client_secret_basic", "client_secret_post")
    method = next((one for one in preferred if one in methods), "client_secret_basic")
    document: dict[str, object] = {
        "client_name": "Callgate", "redirect_uris": [redirect_uri], "token_endpoint_auth_method": method,
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "application_type": "web",
    }  # fmt: skip
    if redirect_uri.startswith("http://"):
        document["application_type"] = "native"
    if scope:
        document["scope"] = scope
    status, body = await vendor.post_json(server.registration_endpoint, document)
    found = object_of(body)
    client_id, secret = found.get("client_id"), found.get("client_secret") or ""
    if status not in (200, 201) or not isinstance(client_id, str) or not isinstance(secret, str):
        raise Refused("connection_failed", f"The authorization server did not register us (status {status}).")
    given = str(found.get("token_endpoint_auth_method") or (method if secret or method == "none" else "none"))
    return Credentials(client_id, given, secret), seconds(found.get("client_secret_expires_at"))


def proof(client: Credentials, server: Server) -> tuple[dict[str, str], dict[str, str]]:
    """Form fields and headers with which a client proves itself at the token endpoint (RFC 6749, 2.3; RFC 7523)."""
    if client.method == "client_secret_basic":
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        return {}, {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    fields = {"client_id": client.client_id}
    if client.method == "client_secret_post":
        fields["client_secret"] = client.secret
    elif client.method == "private_key_jwt":
        fields |= {"client_assertion_type": _ASSERTION, "client_assertion": _assertion(client, server)}
    return fields, {}


def _assertion(client: Credentials, server: Server) -> str:
    key = private_key(client.secret)
    now = int(clock.now())
    claims: Mapping[str, object] = {
        "iss": client.client_id, "sub": client.client_id, "aud": server.issuer, "iat": now, "exp": now + 120,
        "jti": clock.random_urlsafe(16),
    }  # fmt: skip
    return signed(dict(claims), key, algorithm_of(key))


def private_key(text: str) -> Key:
    """A private key, PEM or JWK. Raises `Refused("validation")`."""
    try:
        if text.lstrip().startswith("{"):
            return JWKRegistry.import_key(msgspec.json.decode(text.encode(), type=dict[str, str | list[str]]))
        for kind in (RSAKey, ECKey, OKPKey):
            try:
                return kind.import_key(text)
            except (JoseError, ValueError, TypeError):
                continue
    except (JoseError, ValueError, TypeError, msgspec.DecodeError):
        pass
    raise Refused("validation", "The secret is no private key, neither PEM nor JWK.")


def algorithm_of(key: Key) -> str:
    """The algorithm that a key signs with."""
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "Ed25519"}
    if isinstance(key, RSAKey):
        return "RS256"
    return curves.get(str(key.as_dict(private=False).get("crv")), "ES256")


async def kept(
    envelope: Envelope, upstream: Upstream, issuer: str, client: Credentials, more: tuple[str, str, float | None]
) -> UpstreamClient:
    """A client as the store keeps it. `more`: how, redirect URI, expiry."""
    how, redirect_uri, expires = more
    sealed = None
    if client.secret:
        sealed = await envelope.seal(upstream.tenant, PURPOSE, binding(upstream.id, issuer), client.secret.encode())
    return UpstreamClient(
        upstream.tenant, upstream.id, issuer, client.client_id, how, client.method, redirect_uri, clock.now(), sealed,
        expires,
    )  # fmt: skip


async def change_secret(unit: Unit, envelope: Envelope, upstream: Upstream, secret: bytes) -> None:
    """The client that an admin entered has another secret: what is renewed or revoked from here on needs that one."""
    for row in await grants.clients(unit, upstream.id):
        if row.how == "entered" and row.client_id == upstream.auth.client_id and row.sealed is not None:
            sealed = await envelope.seal(upstream.tenant, PURPOSE, binding(upstream.id, row.issuer), secret)
            await grants.put_client(unit, msgspec.structs.replace(row, sealed=sealed))


async def opened(envelope: Envelope, upstream: Upstream, row: UpstreamClient) -> Credentials:
    """A kept client with its secret."""
    secret = b""
    if row.sealed is not None:
        secret = await envelope.open_sealed(upstream.tenant, PURPOSE, binding(upstream.id, row.issuer), row.sealed)
    return Credentials(row.client_id, row.method, secret.decode())
