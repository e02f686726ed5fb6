"""What the endpoints of the authorization server work with besides the site, and what several of them check."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from callgate.errors import Refused
from callgate.identity.authorizing import Lifetimes
from callgate.model.oauth import SCOPES
from callgate.oauth.documents import Reach
from callgate.oauth.faults import OAuthError
from callgate.oauth.redirects import LOOPBACK
from callgate.web import hosts, paths
from callgate.web.site import Visit

REPEATED = frozenset({"resource"})  # RFC 8707, section 2


@dataclass(frozen=True, slots=True)
class Authority:
    """One replica's authorization server."""

    reach: Reach
    lifetimes: Lifetimes


def resource_of(visit: Visit, given: str | None) -> str:
    """The protected resource that is asked for (RFC 8707): one of this tenant's MCP paths, by any spelling of ours.

    Raises `OAuthError("invalid_target")`.
    """
    if not given:
        return f"{visit.issuer}/mcp"
    foreign = OAuthError("invalid_target", "The resource is none of this gateway's MCP endpoints.")
    try:
        parts = urlsplit(given)
        host = parts.netloc
        hosts.check_host(host, visit.site.settings)
        next_door = _next_door(visit, parts)
    except (ValueError, Refused):
        raise foreign from None
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or next_door:
        raise foreign
    bare = parts.path in ("", "/")
    endpoint = paths.parse("/mcp" if bare else parts.path, host, visit.site.settings)
    if endpoint is None or endpoint.tenant != visit.tenant:
        raise foreign
    return given


def _next_door(visit: Visit, resource: SplitResult) -> bool:
    """Whether it is another program on the person's machine, which would get a token that is good here: loopback names
    are everybody's, so there the port has to be ours."""
    if (resource.hostname or "") not in LOOPBACK:
        return False
    return resource.port not in (visit.request.url.port, visit.site.settings.port)


def scope_of(given: str | None) -> tuple[str, ...]:
    """The scopes that are asked for and known here; all of them where none is. Unknown ones are left out: clients ask
    for `offline_access` and others as a matter of course."""
    asked = tuple(sorted({name for name in (given or "").split() if name in SCOPES}))
    return asked or SCOPES
