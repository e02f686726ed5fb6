"""Slowing down who guesses, without locking anybody else out.

Failures are counted by account and network together, and by network alone: an attacker slows down themselves, not
the person whose account it is. From the fifth failure on each costs twice the time of the one before. What a whole
network shares is counted by the hour, so that a large one is not slowed down for good. Fail closed: while the store
cannot be asked, nobody signs in.
"""

import ipaddress

from callgate import clock
from callgate.errors import Refused
from callgate.store import signin
from callgate.store.unit import Unit

_FREE, _FREE_NETWORK = 5, 50
_LONGEST = 900.0
_MEMORY = 3600.0


def keys(account: str, address: str) -> list[str]:
    """What a try is counted by: account and network, network."""
    of = network(address)
    return [f"{account}@{of}", f"@{of}"]


def network(address: str) -> str:
    """What an address counts as: itself, or its /64 (IPv6)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


async def check(unit: Unit, tried: list[str]) -> None:
    """Raise `Refused("too_many_attempts")` while one of the keys has to wait."""
    wait = await signin.throttled(unit, tried) - clock.now()
    if wait > 0:
        seconds = max(1, round(wait))
        raise Refused("too_many_attempts", f"Too many attempts; try again in {seconds} seconds.", {"retry": seconds})


async def failed(unit: Unit, tried: list[str]) -> None:
    """Count a failure."""
    for key, free in zip(tried, (_FREE, _FREE_NETWORK), strict=True):
        count = await signin.count_failure(unit, key, clock.now(), _MEMORY, sliding=free == _FREE)
        if count >= free:
            pause = min(2.0 ** min(count - free, 10), _LONGEST)
            await signin.hold_off(unit, key, clock.now() + pause)


async def count(unit: Unit, key: str, free: int) -> None:
    """Count something that is allowed `free` times an hour, then ever more slowly.

    Raises `Refused("too_many_attempts")`, which undoes nothing that has to be kept.
    """
    await check(unit, [key])
    number = await signin.count_failure(unit, key, clock.now(), _MEMORY, sliding=False)
    if number > free:
        await signin.hold_off(unit, key, clock.now() + min(2.0 ** min(number - free, 10), _LONGEST))


async def succeeded(unit: Unit, tried: list[str]) -> None:
    """Forget the failures of the account from this network."""
    await signin.forgive(unit, tried[0])
