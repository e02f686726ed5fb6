"""Which tenant and which upstream a URL names. Pure. Fail closed: what is spelled otherwise is no MCP path."""

import re
from dataclasses import dataclass

from callgate import ids
from callgate.model.caller import DEFAULT_TENANT
from callgate.settings import Settings
from callgate.web.hosts import tenant_of_host

_PATH = re.compile(r"(?:/t/(?P<tenant>[^/]+))?/mcp(?:/u/(?P<upstream>[^/]+))?/?")
_METADATA = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One MCP path: tenant, scope (an upstream's name or None), and the path as the client spelled it."""

    tenant: str
    scope: str | None
    path: str


def parse(path: str, host: str, settings: Settings) -> Endpoint | None:
    """The endpoint a path names, None when it is no MCP path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    tenant = match["tenant"] or tenant_of_host(host, settings) or DEFAULT_TENANT
    scope = match["upstream"]
    if not ids.valid_slug(tenant) or (scope is not None and not ids.valid_slug(scope)):
        return None
    return Endpoint(tenant, scope, path)


def metadata_path(path: str) -> str | None:
    """The resource path that a protected-resource metadata URL is about (RFC 9728, section 3.1), None if it is none."""
    if path == _METADATA:
        return "/mcp"
    rest = path.removeprefix(_METADATA)
    return rest if rest != path and _PATH.fullmatch(rest) else None


def metadata_url(base: str, path: str) -> str:
    """Where the metadata of a resource path stands: the path-inserted form."""
    return base + _METADATA + path
