"""What a match asks beyond names: of the upstream, the tool, and of where and when a request comes from. Pure.

These are looked at for each call, since a tool's findings, its status and the time change while a rule set lasts. Fail
closed: a call whose address is not known raises `NoAnswer` for a rule that names networks, which ends in a deny.
"""

import ipaddress
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from callgate.errors import Refused
from callgate.model.rule import DAYS, Match, Times
from callgate.policy.expr import NoAnswer
from callgate.policy.facts import Facts, annotations
from callgate.policy.globs import pattern

Detail = Callable[[Facts], bool]
# what an absent hint means (2025-11-25 and later, schema, ToolAnnotations)
_HINTS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
NO_RISK = "none"


def _annotations(facts: Facts) -> tuple[str, ...]:
    return _texts(facts.definition.offered) if facts.definition is not None else ()


@lru_cache(maxsize=8192)
def _texts(offered: bytes) -> tuple[str, ...]:
    """Annotations as texts such as `readOnlyHint=true`."""
    found = {**_HINTS, **annotations(offered)}
    return tuple(f"{name}={json.dumps(value)}" for name, value in found.items())


# what each list of a match is held against
TEXTS: MappingProxyType[str, Callable[[Facts], tuple[str, ...]]] = MappingProxyType(
    {
        "auth_mode": lambda facts: (facts.upstream.auth_mode,),
        "label": lambda facts: facts.upstream.labels,
        "annotation": _annotations,
        "risk": lambda facts: (facts.definition.risk or NO_RISK,) if facts.definition is not None else (),
        "status": lambda facts: (facts.definition.status,) if facts.definition is not None else (),
    }
)
NAMES = (*TEXTS, "network", "times")


def detail(match: Match, name: str) -> Detail | None:
    """What one of `NAMES` asks; None where it asks nothing."""
    wanted = getattr(match, name)
    if not wanted:
        return None
    if name == "times":
        return lambda facts: within(wanted, facts.at)
    if name == "network":
        networks = tuple(network(text) for text in wanted)
        return lambda facts: _inside(networks, facts)
    globs = tuple(pattern(glob) for glob in wanted)
    values = TEXTS[name]
    return lambda facts: any(glob(value) for value in values(facts) for glob in globs)


def details(match: Match) -> Detail | None:
    """All that a match asks beyond names, as one test; None where it asks nothing."""
    asked = tuple(test for name in NAMES if (test := detail(match, name)) is not None)
    return (lambda facts: all(test(facts) for test in asked)) if asked else None


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network as CIDR. Raises `Refused("validation")`."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Refused("validation", f"`network`: {error}; write 10.1.0.0/16 or fd00::/8.") from None


def _inside(networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], facts: Facts) -> bool:
    try:
        address = ipaddress.ip_address(facts.address)
    except ValueError:
        if facts.arguments is None:
            return False  # nobody calls yet
        raise NoAnswer("It is not known where this request comes from.") from None
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in one for one in networks)


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises `Refused("validation")`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused(
            "validation", f"`times.zone`: there is no time zone `{name[:60]}`; write Europe/Berlin."
        ) from None


def within(times: Times, at: int) -> bool:
    """Whether a moment (microseconds since 1970) lies in the window, on the clocks of its zone."""
    local = datetime.fromtimestamp(at / 1e6, zone(times.zone))
    minute, since, until = local.hour * 60 + local.minute, minutes(times.since), minutes(times.until)
    if since < until:
        return since <= minute < until and _on(times, local)
    # over midnight: the morning belongs to the day before
    return (minute >= since and _on(times, local)) or (minute < until and _on(times, local - timedelta(days=1)))


def minutes(text: str) -> int:
    """`HH:MM` as minutes of the day. Raises `Refused("validation")`."""
    hours, colon, rest = text.partition(":")
    if not (colon and len(hours) == len(rest) == 2 and (hours + rest).isdecimal()) or int(rest) > 59:
        raise Refused("validation", f"`{text[:20]}` is no time of day; write 08:30.")
    found = int(hours) * 60 + int(rest)
    if found > 24 * 60:
        raise Refused("validation", f"`{text[:20]}` is no time of day; write 08:30.")
    return found


def _on(times: Times, day: datetime) -> bool:
    return not times.days or DAYS[day.weekday()] in times.days


def check(match: Match) -> None:
    """Raise `Refused("validation")` for what none of these can be."""
    for text in match.network:
        network(text)
    if match.times is not None:
        zone(match.times.zone)
        if minutes(match.times.since) == minutes(match.times.until):
            raise Refused(
                "validation", "`times.since` and `times.until` are the same: write 00:00 and 24:00 for a day."
            )
        unknown = set(match.times.days) - set(DAYS)
        if unknown:
            raise Refused("validation", f"`times.days` are {', '.join(DAYS)}; not `{min(unknown)[:20]}`.")
