"""From an upstream's URL to its authorization server: the challenge, the resource's metadata, the server's metadata.

Fail closed: metadata of another resource or of another issuer, a server without PKCE (S256), or none at all:
`Refused("connection_failed")` with what is wrong.
Source: MCP 2026-07-28, /basic/authorization ("Authorization Server Discovery", "Scope Selection Strategy"); RFC 9728;
RFC 8414, section 3; OpenID Connect Discovery 1.0.
"""

import re

import msgspec

from callgate.credentials.vendor import Server, Vendor, object_of, split
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.net.errors import EgressRefused
from callgate.net.target import parse_target

_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_PRM = "/.well-known/oauth-protected-resource"


class Found(msgspec.Struct, frozen=True):
    """Where an upstream's tokens come from. `scope` is what to ask for, "" = nothing said."""

    server: Server
    resource: str
    scope: str


def challenge_of(header: str) -> dict[str, str]:
    """The parameters of a `WWW-Authenticate: Bearer …` (RFC 9110, section 11.6.1)."""
    _, found, rest = header.partition("Bearer")
    if not found:
        _, _, rest = header.partition("bearer")
    return {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}


async def discover(vendor: Vendor, upstream: Upstream, needs: str = "") -> Found:
    """Where tokens for an upstream come from. `needs` are scopes that it asked for before.

    Raises `Refused("connection_failed")`.
    """
    url = upstream.url or ""
    challenge = challenge_of(await vendor.challenge(url))
    about = await _resource(vendor, url, challenge.get("resource_metadata", ""))
    resource, issuer, scopes = url.rstrip("/") if url.endswith("/") else url, upstream.auth.issuer, ""
    if about:
        resource = str(about.get("resource", ""))
        _check_resource(resource, url)
        listed = about.get("authorization_servers")
        named = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
        if issuer and named and issuer not in named:
            raise Refused("connection_failed", "The server does not take tokens of the issuer that an admin entered.")
        issuer = issuer or (named[0] if named else "")
        supported = about.get("scopes_supported")
        scopes = " ".join(str(one) for one in supported) if isinstance(supported, list) else ""
    server = await metadata_of(vendor, issuer) if issuer else await _own_server(vendor, url)
    _check_page(server.authorization_endpoint, url)
    if server.authorization_endpoint and "S256" not in server.code_challenge_methods_supported:
        raise Refused("connection_failed", "The authorization server does not say that it knows PKCE (S256).")
    scope = " ".join(upstream.auth.scopes) or needs or challenge.get("scope", "") or scopes
    if scope and "offline_access" in server.scopes_supported and "offline_access" not in scope.split():
        scope += " offline_access"
    return Found(server, resource, scope)


async def _resource(vendor: Vendor, url: str, told: str) -> dict[str, object]:
    """The protected-resource metadata, {} when there is none."""
    parts = split(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    for place in dict.fromkeys([told] if told else [f"{origin}{_PRM}{path}", f"{origin}{_PRM}"]):
        status, body = await vendor.get(place)
        found = object_of(body) if status == 200 else {}
        if found:
            return found
    return {}


def _check_resource(resource: str, url: str) -> None:
    """The metadata has to speak of this upstream, or of what it is a part of (RFC 9728, section 3.3)."""
    said, own = split(resource), split(url)
    same = (said.scheme.lower(), said.netloc.lower()) == (own.scheme.lower(), own.netloc.lower())
    above, path = said.path.rstrip("/"), own.path.rstrip("/")
    if not same or not (path == above or path.startswith(f"{above}/")):
        raise Refused("connection_failed", "The server's metadata speaks of another resource than this server.")


def _check_page(page: str, url: str) -> None:
    """Where a person's browser is sent: https, or plain http for an upstream that is so itself (OAuth 2.1, 1.5)."""
    try:
        scheme = parse_target(page).scheme if page else "https"
    except EgressRefused:
        scheme = ""
    if scheme != "https" and not (scheme == "http" and url.startswith("http://")):
        raise Refused("connection_failed", "The authorization server names a sign-in page that is no https address.")


async def metadata_of(vendor: Vendor, issuer: str) -> Server:
    """An authorization server's own metadata. Raises `Refused("connection_failed")`."""
    parts = split(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    names = ("oauth-authorization-server", "openid-configuration")
    places = [f"{origin}/.well-known/{name}{path}" for name in names]
    if path:
        places.append(f"{origin}{path}/.well-known/openid-configuration")
    for place in places:
        found = await _read(vendor, place)
        if found is not None:
            if found.issuer != issuer:
                raise Refused("connection_failed", "The authorization server calls itself by another issuer.")
            return found
    raise Refused("connection_failed", "The authorization server publishes no metadata.")


async def _own_server(vendor: Vendor, url: str) -> Server:
    """An upstream of the first revision with OAuth (2025-03-26): its own host is the authorization server."""
    parts = split(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    found = await _read(vendor, f"{origin}/.well-known/oauth-authorization-server")
    if found is not None:
        if found.issuer.rstrip("/") != origin:
            raise Refused("connection_failed", "The authorization server calls itself by another issuer.")
        return found
    return Server(
        origin, f"{origin}/authorize", f"{origin}/token", f"{origin}/register",
        code_challenge_methods_supported=("S256",), token_endpoint_auth_methods_supported=("none",),
    )  # fmt: skip


async def _read(vendor: Vendor, place: str) -> Server | None:
    status, body = await vendor.get(place)
    if status != 200:
        return None
    said = {name: value for name, value in object_of(body).items() if value is not None}
    try:
        return msgspec.convert(said, Server)
    except msgspec.ValidationError:
        return None
