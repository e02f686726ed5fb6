"""The parts of a run. Each starts its targets, loads them, and puts tables and facts into the results.

A fact is one figure with a name; the verdict (verdict.py) reads facts and nothing else. On failure a part raises
`Broken`; what it has found until then stays.
"""

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import memory, targets
from bench.machine import sync_us
from bench.measure import Pace, Series, rounds
from bench.targets import Setup

STRICT, RELAXED, POSTGRESQL = "callgate strict", "callgate relaxed", "callgate on PostgreSQL"
_DURABILITY = "CALLGATE_DURABILITY"
# the hourly look at the upstream's list is no part of a call, and would fall into one round or another
_CALM = {"CALLGATE_REFRESH_SECONDS": "3600", "PYTHONHASHSEED": "0"}


@dataclass
class Results:
    """What a run has found: tables of series by title, facts by name, notes to print, parts that broke."""

    tables: dict[str, list[Series]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Where a run works, how long it takes, and where it puts what it finds."""

    where: Path
    pace: Pace
    results: Results

    def keep(self, title: str, series: list[Series]) -> dict[str, Series]:
        """Put series into a table; by target."""
        self.results.tables.setdefault(title, []).extend(series)
        return {one.target: one for one in series}

    def fact(self, name: str, value: float) -> None:
        self.results.facts[name] = value


def modern(bench: Bench) -> None:
    """A modern client and a modern upstream, at 1, 16 and 64 connections; what a call adds beyond its two syncs."""
    syncs: list[float] = []
    found = _side_by_side(bench, "modern", lambda: syncs.append(sync_us(bench.where)))
    sync = statistics.median(syncs)
    alone, sixteen, many = found
    direct = alone["upstream, direct"].runs
    own = alone[STRICT].runs
    added = statistics.median(mine.p50_us - theirs.p50_us for mine, theirs in zip(own, direct, strict=True))
    bench.fact("sync.us", sync)
    bench.fact("added.us", added)
    bench.fact("added.beyond_syncs_us", added - 2 * sync)
    bench.fact("cpu.strict", sixteen[STRICT].ratio(sixteen["nginx"], "cpu_us"))
    bench.fact("rate.strict", many[STRICT].ratio(many["nginx"], "per_second"))
    bench.fact("rate.relaxed", many[RELAXED].ratio(many["nginx"], "per_second"))


def legacy(bench: Bench) -> None:
    """The same with a client and an upstream of the handshake era."""
    _, sixteen, many = _side_by_side(bench, "legacy", None)
    bench.fact("legacy.cpu.strict", sixteen[STRICT].ratio(sixteen["nginx"], "cpu_us"))
    bench.fact("legacy.rate.strict", many[STRICT].ratio(many["nginx"], "per_second"))


def _side_by_side(bench: Bench, era: str, before_alone: Callable[[], None] | None) -> list[dict[str, Series]]:
    title = f"{era.capitalize()} client and upstream, 100 rules"
    found = []
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(bench.where, era))
        all_of_them = [direct, stack.enter_context(targets.nginx(bench.where, direct))]
        for name, kind in ((STRICT, "strict"), (RELAXED, "relaxed")):
            setup = Setup(name, settings={_DURABILITY: kind})
            all_of_them.append(stack.enter_context(targets.gateway(bench.where, direct, setup)))
        for connections in (1, 16, 64):
            before = before_alone if connections == 1 else None
            series = rounds(bench.where, all_of_them, connections, bench.pace, before=before)
            found.append(bench.keep(title, series))
    return found


def postgresql(bench: Bench) -> None:
    """Callgate on a PostgreSQL server of its own; the server's CPU is counted apart."""
    title = "Callgate on PostgreSQL, modern, 100 rules"
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(bench.where, "modern"))
        proxied = stack.enter_context(targets.nginx(bench.where, direct))
        own = stack.enter_context(targets.on_postgresql(bench.where, direct, Setup(POSTGRESQL)))
        for connections in (16, 64):
            series = bench.keep(title, rounds(bench.where, [proxied, own], connections, bench.pace))
            if connections == 16:
                bench.fact("cpu.postgresql", series[POSTGRESQL].ratio(series["nginx"], "cpu_us"))
                bench.fact("cpu.postgresql_server_us", series[POSTGRESQL].median("beside_us"))
            else:
                bench.fact("rate.postgresql", series[POSTGRESQL].ratio(series["nginx"], "per_second"))


def peers(bench: Bench) -> None:
    """Other gateways at 16 connections, each in the era that it is fastest in."""
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(bench.where, "modern"))
        handshake = stack.enter_context(targets.upstream(bench.where, "legacy"))
        all_of_them = [
            stack.enter_context(targets.nginx(bench.where, direct)),
            stack.enter_context(targets.gateway(bench.where, direct, Setup(STRICT))),
            stack.enter_context(targets.npm_proxy(bench.where)),
            stack.enter_context(targets.fastmcp_proxy(bench.where, handshake)),
        ]
        series = bench.keep("Other gateways", rounds(bench.where, all_of_them, 16, bench.pace))
    bench.fact("peers.npm", series[STRICT].ratio(series["npm mcp-proxy"], "per_second"))
    bench.fact("peers.fastmcp", series[STRICT].ratio(series["fastmcp proxy"], "per_second"))


# -- growth -----------------------------------------------------------------------------------------------------------

# fact → (its target, the smallest of the same kind)
GROWTH = {
    "growth.again": ("10 tools, 100 rules, again", "10 tools, 100 rules"),
    "growth.tools_1000": ("1,000 tools", "10 tools, 100 rules"),
    "growth.tools_10000": ("10,000 tools", "10 tools, 100 rules"),
    "growth.rules_100": ("10 tools, 100 rules", "1 rule"),
    "growth.rules_1000": ("1,000 rules", "1 rule"),
    "growth.people_100000": ("100,000 people", "10 people"),
}
_TOOLS = {"1,000 tools": 1000, "10,000 tools": 10_000}
_RULES = {"1 rule": 1, "1,000 rules": 1000}
_PEOPLE = {"10 people": 10, "100,000 people": 100_000}


def growth(bench: Bench) -> None:
    """CPU per call as tools, rules and people grow: all gateways are up together and take turns, round by round."""
    names = ["10 tools, 100 rules", "10 tools, 100 rules, again", *_TOOLS, *_RULES, *_PEOPLE]
    with contextlib.ExitStack() as stack:
        few = stack.enter_context(targets.upstream(bench.where, "modern"))
        all_of_them = []
        for name in names:
            behind = few
            if name in _TOOLS:
                behind = stack.enter_context(targets.upstream(bench.where, "modern", _TOOLS[name]))
            setup = Setup(name, rules=_RULES.get(name, 100), people=_PEOPLE.get(name, 0), settings=_CALM)
            all_of_them.append(stack.enter_context(targets.gateway(bench.where, behind, setup)))
        pace = Pace(bench.pace.seconds / 3, bench.pace.growth_rounds, 0, 0)
        series = bench.keep("Growth, 16 connections", rounds(bench.where, all_of_them, 16, pace))
    for fact, (name, base) in GROWTH.items():
        bench.fact(fact, (series[name].ratio(series[base], "cpu_us") - 1) * 100)


def held(bench: Bench) -> None:
    """Memory of one worker, of idle sessions and of a large result."""
    for name, value in memory.figures(bench.where, bench.pace).items():
        bench.fact(name, value)


PARTS: dict[str, Callable[[Bench], None]] = {
    "modern": modern,
    "legacy": legacy,
    "postgresql": postgresql,
    "peers": peers,
    "growth": growth,
    "memory": held,
}
