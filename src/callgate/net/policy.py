"""Which addresses the gateway may connect to (against server-side request forgery).

Fail closed: an address is refused unless it is known to be a public unicast one or the policy opens it. Metadata
addresses of clouds are refused always, also when they hide inside an IPv6 transition address.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4),
RFC 4380 (Teredo).
"""

import ipaddress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from callgate.net.errors import EgressRefused
from callgate.net.trust import SYSTEM_TRUST, Trust

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """What one upstream may be. `allow_private` opens private, shared (CGNAT), unique-local and loopback addresses;
    `allowed_networks` opens what lies in these networks, link-local and reserved ranges too. Neither opens metadata,
    multicast, broadcast or unspecified addresses. `trust` says which certificates are believed."""

    allow_private: bool = False
    allowed_networks: tuple[Network, ...] = ()
    trust: Trust = SYSTEM_TRUST
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # hashed once: the policy is part of a dictionary key on the hot path
        object.__setattr__(self, "_hash", hash((self.allow_private, self.allowed_networks, self.trust)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class _Range:
    network: Network
    what: str
    opened_by: str  # `private`: by allow_private or a network; `network`: by a network only; `never`; `public`


def _ranges(what: str, opened_by: str, *networks: str) -> tuple[_Range, ...]:
    return tuple(_Range(ipaddress.ip_network(text), what, opened_by) for text in networks)


METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, Oracle, DigitalOcean, OpenStack, …
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "169.254.169.253",  # AWS VPC resolver
        "169.254.169.123",  # AWS time service
        "169.254.0.23",  # Tencent
        "169.254.10.10",  # Tencent
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure WireServer
        "192.0.0.192",  # Oracle (classic)
        "fd00:ec2::254",  # AWS IMDS
        "fd00:ec2::23",  # AWS EKS pod identity
        "fd00:ec2::253",  # AWS VPC resolver
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
        "fe80::a9fe:a9fe",  # OpenStack
    )
)

# The first match wins, so narrower ranges stand before wider ones.
_V4 = (
    *_ranges("the unspecified network", "never", "0.0.0.0/8"),
    *_ranges("the broadcast address", "never", "255.255.255.255/32"),
    *_ranges("a multicast address", "never", "224.0.0.0/4"),
    *_ranges("a loopback address", "private", "127.0.0.0/8"),
    *_ranges("a private address", "private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *_ranges("a shared (CGNAT) address", "private", "100.64.0.0/10"),
    *_ranges("a link-local address", "network", "169.254.0.0/16"),
    *_ranges("an address kept for protocols", "network", "192.0.0.0/24", "192.88.99.0/24"),
    *_ranges("an address kept for documentation", "network", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    *_ranges("an address kept for benchmarks", "network", "198.18.0.0/15"),
    *_ranges("a reserved address", "network", "240.0.0.0/4"),
    *_ranges("a public address", "public", "0.0.0.0/0"),
)
_V6 = (
    *_ranges("the unspecified address", "never", "::/128"),
    *_ranges("a loopback address", "private", "::1/128"),
    *_ranges("a multicast address", "never", "ff00::/8"),
    *_ranges("a unique-local address", "private", "fc00::/7"),
    *_ranges("a link-local address", "network", "fe80::/10"),
    *_ranges("a site-local address", "network", "fec0::/10"),
    *_ranges("a 6to4 address", "network", "2002::/16"),
    *_ranges("a Teredo address", "network", "2001::/32"),
    *_ranges("an address kept for protocols", "network", "2001::/23"),
    *_ranges("an address kept for documentation", "network", "2001:db8::/32", "3fff::/20"),
    *_ranges("an address for translation at this site", "network", "64:ff9b:1::/48"),
    *_ranges("a public address", "public", "2000::/3"),
    *_ranges("a reserved address", "network", "::/0"),
)
_NAT64 = (IPv6Network("64:ff9b::/96"),)
_MAPPED = (IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("::/96"))
_HOW = {
    "private": "The operator can open it with `allow_private` on this upstream or with CALLGATE_ALLOWED_NETWORKS.",
    "network": "The operator can open it with CALLGATE_ALLOWED_NETWORKS.",
    "never": "It can not be opened.",
}


def check_address(ip: Address, policy: TargetPolicy) -> None:
    """Raise `EgressRefused` unless `policy` lets the gateway connect to this address."""
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        ip = IPv6Address(int(ip))  # a zone must not make an address look like another one
    if any(inner in METADATA for inner in (ip, *_embedded(ip))):
        raise EgressRefused(f"{ip} is a metadata address of a cloud; no setting opens it.")
    hidden = _judged_as_v4(ip)
    if hidden is not None:
        _check_ranges(hidden, policy, shown=f"{ip} (that is {hidden})")
    else:
        _check_ranges(ip, policy, shown=str(ip))


def _check_ranges(ip: Address, policy: TargetPolicy, *, shown: str) -> None:
    for row in _V4 if isinstance(ip, IPv4Address) else _V6:
        if ip in row.network:
            if row.opened_by != "public" and not _opened(ip, row.opened_by, policy):
                raise EgressRefused(f"{shown} is {row.what}. {_HOW[row.opened_by]}")
            return


def _opened(ip: Address, opened_by: str, policy: TargetPolicy) -> bool:
    if opened_by == "never":
        return False
    if opened_by == "private" and policy.allow_private:
        return True
    return any(ip in network for network in policy.allowed_networks if network.version == ip.version)


def _judged_as_v4(ip: Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, compatible or NAT64 address really leads to."""
    if not isinstance(ip, IPv6Address) or int(ip) <= 1:  # :: and ::1 are addresses of their own
        return None
    if any(ip in network for network in (*_MAPPED, *_NAT64)):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def _embedded(ip: Address) -> tuple[IPv4Address, ...]:
    """Every IPv4 address that the bits of a transition address could stand for."""
    if not isinstance(ip, IPv6Address):
        return ()
    found = [hidden] if (hidden := _judged_as_v4(ip)) is not None else []
    if ip.sixtofour is not None:
        found.append(ip.sixtofour)
    if ip.teredo is not None:
        found.extend(ip.teredo)
    return tuple(found)
