"""Which Host and Origin are served, who a request comes from, and how a client spells our address. Pure.

Fail closed: a Host that is not served is refused (DNS rebinding), a foreign Origin as well
(2025-06-18 and later, streamable HTTP, security warning).
"""

import ipaddress
import re

from callgate.errors import Refused
from callgate.model.caller import DEFAULT_TENANT
from callgate.settings import LOOPBACK, Settings

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s\"]+)(?::[0-9]{1,5})?")


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
    if settings.public_url is None:
        return f"http://{host}"
    if tenant_of_host(host, settings) is not None:  # each of these tenants has a name of its own
        return f"{settings.public_url.partition('://')[0]}://{host}"
    return settings.public_url.rstrip("/")


def issuer(base: str, tenant: str, host: str, settings: Settings) -> str:
    """The tenant's issuer (RFC 8414): the gateway's address, with the tenant's path where its host does not name it."""
    by_host = tenant_of_host(host, settings) == tenant
    return base if by_host or tenant == DEFAULT_TENANT else f"{base}/t/{tenant}"


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


def check_origin(origin: str | None, host: str, settings: Settings) -> None:
    """Refuse a present Origin that is neither loopback, nor our own, nor allowed by name. `host` was checked before."""
    if origin is None or origin in settings.allowed_origins:
        return
    scheme, _, authority = origin.partition("://")
    if scheme in ("http", "https") and _name(authority) in LOOPBACK:
        return
    own = base_url(host, settings).split("/")[:3]  # the scheme, nothing, and the authority
    if origin in ("/".join(own), f"{own[0]}//{host}"):
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
    in `X-Forwarded-For` that is none of theirs. Some proxies write a port with it, or IPv4 as IPv6."""
    peer = _plain(peer)
    if forwarded is None or not _one_of(peer, proxies):
        return peer
    for hop in reversed([part.strip() for part in forwarded.split(",")]):
        peer = _plain(hop)
        if not _one_of(peer, proxies):
            break
    return peer


def _one_of(text: str, networks: Networks) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(found in network for network in networks)


def _plain(hop: str) -> str:
    """An address without its port; one of IPv4 that is written as IPv6 (`::ffff:…`) as what it is."""
    name = _name(hop)
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(found.ipv4_mapped) if found.version == 6 and found.ipv4_mapped is not None else name
