"""Host names to checked addresses.

Every address that a name has is checked; one forbidden address refuses the whole name, because a name that points at
both a public and a private place is how DNS rebinding looks. What is returned is what gets connected to: nothing
resolves the name a second time. Fail closed: no answer, an empty or an unreadable one is an error.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from callgate import clock
from callgate.net.errors import EgressRefused, ResolveFailed
from callgate.net.policy import Address, TargetPolicy, check_address

Lookup = Callable[[str], Awaitable[list[str]]]
CACHE_SECONDS = 30.0
_MAX_NAMES = 4096
_MAX_ADDRESSES = 16


async def system_lookup(host: str) -> list[str]:
    """The addresses of a name by the system's resolver (`getaddrinfo`), in its order of preference."""
    loop = asyncio.get_running_loop()
    rows = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(row[4][0]) for row in rows]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Addresses that passed the check, in order of preference, and until when they may be used (monotonic)."""

    addresses: tuple[str, ...]
    expires: float


class Resolver:
    """A short cache in front of a look-up; parallel questions for one name ask once."""

    def __init__(self, lookup: Lookup = system_lookup, *, ttl: float = CACHE_SECONDS) -> None:
        if not 0 <= ttl <= CACHE_SECONDS:
            raise ValueError(f"ttl must be from 0 to {CACHE_SECONDS:g} seconds")
        self._lookup = lookup
        self._ttl = ttl
        self._known: dict[str, tuple[tuple[Address, ...], float]] = {}
        self._asking: dict[str, asyncio.Task[tuple[Address, ...]]] = {}

    async def resolve(self, host: str, policy: TargetPolicy) -> Resolved:
        """Checked addresses of a host. Raises `EgressRefused` or `ResolveFailed`."""
        addresses, expires = await self._addresses(host)
        for address in addresses:
            try:
                check_address(address, policy)
            except EgressRefused as error:
                if str(address) == host:
                    raise
                raise EgressRefused(f"{host} leads to a forbidden address: {error}") from None
        return Resolved(tuple(str(address) for address in addresses[:_MAX_ADDRESSES]), expires)

    async def _addresses(self, host: str) -> tuple[tuple[Address, ...], float]:
        try:
            return (ipaddress.ip_address(host),), float("inf")
        except ValueError:
            pass
        known = self._known.get(host)
        if known is not None and known[1] > clock.monotonic():
            return known
        asking = self._asking.get(host)
        if asking is None:
            asking = asyncio.create_task(self._ask(host))
            self._asking[host] = asking
            asking.add_done_callback(lambda task: self._asked(host, task))
        # shielded: one caller that gives up must not end the question of the others
        addresses = await asyncio.shield(asking)
        return addresses, clock.monotonic() + self._ttl

    async def _ask(self, host: str) -> tuple[Address, ...]:
        try:
            texts = await self._lookup(host)
            # a zone id is dropped: it names an interface, which no URL of ours may choose
            parsed = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
        except (OSError, UnicodeError) as error:
            raise ResolveFailed(f"The host name {host} has no address: {_why(error)}.") from error
        except ValueError as error:
            raise ResolveFailed(f"The resolver gave an unreadable address for {host}.") from error
        if not parsed:
            raise ResolveFailed(f"The host name {host} has no address.")
        return tuple(dict.fromkeys(parsed))

    def _asked(self, host: str, task: asyncio.Task[tuple[Address, ...]]) -> None:
        self._asking.pop(host, None)
        if task.cancelled() or task.exception() is not None:
            return
        if len(self._known) >= _MAX_NAMES:
            self._known.clear()
        self._known[host] = (task.result(), clock.monotonic() + self._ttl)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
