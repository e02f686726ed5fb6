"""The parts of a run. Each starts its targets, loads them, and puts tables and facts into the results.

A fact is one figure with a name; the verdict (verdict.py) reads facts and nothing else. On failure a part raises
`Broken`; what it has found until then stays.
"""

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import memory, rules, targets
from bench.machine import sync_us
from bench.measure import Pace, Series, rounds
from bench.targets import Setup

STRICT, RELAXED, POSTGRESQL = "callgate strict", "callgate relaxed", "callgate on PostgreSQL"
ACCOUNTS = "callgate, own accounts"
_ON_RAM = "callgate strict on a RAM disk"
_RAM = Path("/dev/shm")
_DURABILITY = "CALLGATE_DURABILITY"
# the look at the upstream's list is no part of a call, and would fall into one round or another
_CALM = {"CALLGATE_REFRESH_SECONDS": "3600", "CALLGATE_POLL_SECONDS": "5", "PYTHONHASHSEED": "0"}


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
    """A modern client and a modern upstream, at 1, 16 and 64 connections."""
    _, sixteen, many = _side_by_side(bench, "modern")
    bench.fact("cpu.strict", sixteen[STRICT].ratio(sixteen["nginx"], "cpu_us"))
    bench.fact("rate.strict", many[STRICT].ratio(many["nginx"], "per_second"))
    bench.fact("rate.relaxed", many[RELAXED].ratio(many["nginx"], "per_second"))


def legacy(bench: Bench) -> None:
    """The same with a client and an upstream of the handshake era."""
    _, sixteen, many = _side_by_side(bench, "legacy")
    bench.fact("legacy.cpu.strict", sixteen[STRICT].ratio(sixteen["nginx"], "cpu_us"))
    bench.fact("legacy.rate.strict", many[STRICT].ratio(many["nginx"], "per_second"))


def _side_by_side(bench: Bench, era: str) -> list[dict[str, Series]]:
    title = f"{era.capitalize()} client and upstream, 100 rules"
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(bench.where, era))
        all_of_them = [direct, stack.enter_context(targets.nginx(bench.where, direct))]
        for name, kind in ((STRICT, "strict"), (RELAXED, "relaxed")):
            setup = Setup(name, settings={_DURABILITY: kind})
            all_of_them.append(stack.enter_context(targets.gateway(bench.where, direct, setup)))
        return [
            bench.keep(title, rounds(bench.where, all_of_them, connections, bench.pace)) for connections in (1, 16, 64)
        ]


def delay(bench: Bench) -> None:
    """What Callgate adds to a call at 1 connection beyond its two syncs: on this disk, and where syncs cost nothing."""
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(bench.where, "modern"))
        all_of_them = [
            direct,
            stack.enter_context(targets.nginx(bench.where, direct)),
            stack.enter_context(targets.gateway(bench.where, direct, Setup(STRICT))),
        ]
        if _RAM.is_dir():
            ram = stack.enter_context(_on_ram(bench.where))
            all_of_them.append(stack.enter_context(targets.gateway(ram, direct, Setup(_ON_RAM))))
        pace = replace(bench.pace, rounds=bench.pace.rounds + 2)
        found = rounds(bench.where, all_of_them, 1, pace, probe=lambda: sync_us(bench.where))
        series = bench.keep("Delay at 1 connection", found)

    def added(name: str, syncs: int) -> float:
        """The median over the rounds of the delay that a target adds, without so many syncs of the same round."""
        pairs = zip(series[name].runs, series["upstream, direct"].runs, strict=True)
        return statistics.median(own.p50_us - other.p50_us - syncs * own.probe_us for own, other in pairs)

    bench.fact("sync.us", series[STRICT].median("probe_us"))
    bench.fact("added.us", added(STRICT, 0))
    bench.fact("added.beyond_syncs_us", added(STRICT, 2))
    bench.fact("added.nginx_us", added("nginx", 0))
    if _ON_RAM in series:
        bench.fact("added.ram_us", added(_ON_RAM, 0))


@contextlib.contextmanager
def _on_ram(where: Path) -> Iterator[Path]:
    """A folder on a RAM disk, where syncs neither cost nor vary; the given one where there is none."""
    if not _RAM.is_dir():
        yield where
        return
    with tempfile.TemporaryDirectory(dir=_RAM, prefix="callgate-bench-") as folder:
        yield Path(folder)


def accounts(bench: Bench) -> None:
    """Calls with an account of the caller's own, opened for each call, beside calls without any credential."""
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(bench.where, "modern"))
        own = Setup(ACCOUNTS, accounts=True, settings=_CALM)
        found = [
            stack.enter_context(targets.nginx(bench.where, direct)),
            stack.enter_context(targets.gateway(bench.where, direct, Setup(STRICT, settings=_CALM))),
            stack.enter_context(targets.gateway(bench.where, direct, own)),
        ]
        for connections in (16, 64):
            title = "Accounts of the caller's own, modern, 100 rules"
            series = bench.keep(title, rounds(bench.where, found, connections, bench.pace))
            bench.fact(f"accounts.cpu.{connections}", series[ACCOUNTS].ratio(series[STRICT], "cpu_us"))


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
    """CPU per call as tools, rules and people grow: all gateways are up together and take short turns."""
    names = ["10 tools, 100 rules", "10 tools, 100 rules, again", *_TOOLS, *_RULES, *_PEOPLE]
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_on_ram(bench.where))
        few = stack.enter_context(targets.upstream(bench.where, "modern"))
        all_of_them = []
        for name in names:
            behind = few
            if name in _TOOLS:
                behind = stack.enter_context(targets.upstream(bench.where, "modern", _TOOLS[name]))
            setup = Setup(name, rules=_RULES.get(name, 100), people=_PEOPLE.get(name, 0), settings=_CALM)
            all_of_them.append(stack.enter_context(targets.gateway(place, behind, setup)))
        pace = replace(bench.pace, seconds=bench.pace.seconds / 12, rounds=bench.pace.growth_rounds)
        series = bench.keep("Growth, 16 connections", rounds(bench.where, all_of_them, 16, pace))
    for fact, (name, base) in GROWTH.items():
        bench.fact(fact, (series[name].ratio(series[base], "cpu_us") - 1) * 100)
    doubts = [series[name].doubt(series[base], "cpu_us") for name, base in GROWTH.values()]
    bench.fact("growth.doubt", max(doubts) * 100)


def held(bench: Bench) -> None:
    """Memory of one worker, of idle sessions and of a large result."""
    for name, value in memory.figures(bench.where, bench.pace):
        bench.fact(name, value)


def decisions(bench: Bench) -> None:
    """What rules cost a call: the decision alone, in this process."""
    found = rules.measured()
    for name in ("hundred", "conditions", "others"):
        bench.fact(f"rules.{name}_us", found[name] - found["none"])
    bench.fact("rules.none_us", found["none"])
    still = rules.stands_still()
    bench.fact("rules.idle_ms", still["idle"])
    bench.fact("rules.judged_ms", still["judged"])


PARTS: dict[str, Callable[[Bench], None]] = {
    "modern": modern,
    "delay": delay,
    "legacy": legacy,
    "accounts": accounts,
    "postgresql": postgresql,
    "peers": peers,
    "growth": growth,
    "rules": decisions,
    "memory": held,
}
