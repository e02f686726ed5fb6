"""Which tenant and which upstream a URL names, and who may ask: paths, Host and Origin. Pure.

Fail closed: a Host that is not served is refused (DNS rebinding), a foreign Origin as well
(2025-06-18 and later, streamable HTTP, security warning).
"""

import ipaddress
import re
from dataclasses import dataclass

from callgate import ids
from callgate.errors import Refused
from callgate.model.caller import DEFAULT_TENANT
from callgate.settings import LOOPBACK, Settings

_PATH = re.compile(r"(?:/t/(?P<tenant>[^/]+))?/mcp(?:/u/(?P<upstream>[^/]+))?/?")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s\"]+)(?::[0-9]{1,5})?")
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


def tenant_of_host(host: str, settings: Settings) -> str | None:
    """The tenant in `mcp-gateway.<tenant>.<base domain>`."""
    if settings.base_domain is None:
        return None
    name = _name(host)
    prefix, suffix = "mcp-gateway.", "." + settings.base_domain.lower()
    if name.startswith(prefix) and name.endswith(suffix):
        return name[len(prefix) : -len(suffix)] or None
    return None


def base_url(host: str, settings: Settings) -> str:
    """The gateway's own address as this client sees it. Behind a proxy it must be configured, never guessed."""
    return settings.public_url.rstrip("/") if settings.public_url else f"http://{host}"


def check_host(host: str, settings: Settings) -> None:
    """Refuse a Host that this gateway does not serve, or that is more than a name and a port: it is given back."""
    if _HOST.fullmatch(host) is None:
        raise Refused("bad_host")
    name = _name(host)
    allowed = {_name(entry) for entry in settings.allowed_hosts}
    if settings.public_url:
        allowed.add(_name(settings.public_url.partition("://")[2].partition("/")[0]))
    if name in LOOPBACK or name in allowed or name == settings.host.lower():
        return
    if tenant_of_host(host, settings) is not None:
        return
    raise Refused("bad_host")


def check_origin(origin: str | None, settings: Settings) -> None:
    """Refuse a present Origin that is neither loopback, nor our own, nor allowed by name."""
    if origin is None or origin in settings.allowed_origins:
        return
    scheme, _, authority = origin.partition("://")
    if scheme in ("http", "https") and _name(authority) in LOOPBACK:
        return
    if settings.public_url and origin == settings.public_url.rstrip("/"):
        return
    raise Refused("bad_origin")


def _name(host: str) -> str:
    """The host without its port, lower case, without brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name = host.rpartition(":")[0] if host.count(":") == 1 else host
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


PEER = ""  # where `header_map` has no header: the address that a request comes from
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def address(peer: str, forwarded: str | None, proxies: Networks) -> str:
    """Where a request comes from: the peer of its connection, or, behind proxies that are trusted, the last address
    in `X-Forwarded-For` that is none of theirs."""
    if forwarded is None or not _one_of(peer, proxies):
        return peer
    for hop in reversed([part.strip() for part in forwarded.split(",")]):
        peer = hop
        if not _one_of(hop, proxies):
            break
    return peer


def _one_of(text: str, networks: Networks) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(found in network for network in networks)
