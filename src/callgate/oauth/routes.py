"""The paths of the authorization server."""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.responses import Response

from callgate.oauth import authorize, consent, metadata, register, revoke, token
from callgate.oauth.context import Authority
from callgate.web.site import PageRoute, Visit

_Endpoint = Callable[[Authority, Visit], Awaitable[Response]]
_PAGES: tuple[tuple[str, str, _Endpoint], ...] = (
    ("GET", "/oauth/authorize", authorize.authorize),
    ("POST", "/oauth/consent", consent.consent),
)
_MACHINE: tuple[tuple[str, str, _Endpoint], ...] = (
    ("GET", "/.well-known/oauth-authorization-server", metadata.server),
    ("GET", "/.well-known/openid-configuration", metadata.openid),
    ("GET", "/oauth/jwks", metadata.jwks),
    ("POST", "/oauth/register", register.register),
    ("POST", "/oauth/token", token.token),
    ("POST", "/oauth/revoke", revoke.revoke),
    ("POST", "/oauth/introspect", revoke.introspect),
)


def routes(authority: Authority) -> list[PageRoute]:
    """Every path with its endpoint."""
    shown = [PageRoute(method, path, partial(one, authority)) for method, path, one in _PAGES]
    asked = [PageRoute(method, path, partial(one, authority), machine=True) for method, path, one in _MACHINE]
    return [*shown, *asked]
