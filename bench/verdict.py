"""The goals, and whether the facts of a run meet them. Pure; a goal without its fact is "not measured"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """One figure and its two limits. `unit` is how it is printed; None for a fact that nothing measures yet."""

    title: str
    fact: str | None
    wanted: Literal["at most", "at least"]
    first: float
    aim: float
    unit: str

    def met(self, value: float, limit: float) -> bool:
        return value <= limit if self.wanted == "at most" else value >= limit


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured; None when it was not."""

    goal: Goal
    value: float | None

    @property
    def measured(self) -> str:
        return "not measured" if self.value is None else said(self.value, self.goal.unit)

    def word(self, limit: float) -> str:
        if self.value is None:
            return "–"
        return "met" if self.goal.met(self.value, limit) else "not met"


_OF_NGINX, _MORE = "× nginx", "×"
GOALS = (
    Goal("CPU per governed call, embedded store, 16 connections", "cpu.strict", "at most", 4, 2.5, _OF_NGINX),
    Goal("calls per second, strict, 64 connections", "rate.strict", "at least", 0.25, 0.4, _OF_NGINX),
    Goal("calls per second, relaxed, 64 connections", "rate.relaxed", "at least", 0.4, 0.65, _OF_NGINX),
    Goal("CPU per governed call, PostgreSQL, 16 connections", "cpu.postgresql", "at most", 6, 4, _OF_NGINX),
    Goal("median delay added beyond the two syncs, 1 connection", "added.beyond_syncs_us", "at most", 300, 130, "µs"),
    Goal("calls per second against npm mcp-proxy", "peers.npm", "at least", 15, 30, _MORE),
    Goal("calls per second against fastmcp's proxy", "peers.fastmcp", "at least", 200, 500, _MORE),
    Goal("CPU per call, 10 to 10,000 tools", "growth.tools_10000", "at most", 10, 3, "%"),
    Goal("CPU per call, 1 to 1,000 rules on other tools", "growth.rules_1000", "at most", 10, 3, "%"),
    Goal("CPU per call, 10 to 100,000 people", "growth.people_100000", "at most", 10, 3, "%"),
    Goal("a decision, 100 rules on the tool, beyond none", "rules.hundred_us", "at most", 5, 1, "µs each"),
    Goal("a decision, 5 conditions on the tool, beyond none", "rules.conditions_us", "at most", 30, 15, "µs each"),
    Goal("a decision, 1,000 rules on other tools, beyond none", "rules.others_us", "at most", 1, 0.2, "µs each"),
    Goal("event loop stands still, a condition over 200 KB", "rules.judged_ms", "at most", 20, 5, "ms"),
    Goal("memory of one worker after load", "memory.worker_mb", "at most", 100, 50, "MB"),
    Goal("memory of an idle session", "memory.session_kb", "at most", 10, 2, "KB"),
    Goal("memory of 1,000 parked calls", None, "at most", 100, 30, "MB"),
    Goal("memory of a 5 MB result that no rule reads", "memory.big_result_mb", "at most", 2, 0.5, "MB"),
)

# what is printed beside the verdict: it explains a figure, and no goal hangs on it
NOTES = {
    "sync.us": ("one write and fdatasync on this disk", "µs"),
    "added.us": ("median delay added at 1 connection, both syncs included", "µs"),
    "added.ram_us": ("the same with the data on a RAM disk, where a sync costs next to nothing", "µs"),
    "added.nginx_us": ("median delay that nginx adds at 1 connection", "µs"),
    "legacy.cpu.strict": ("CPU per governed call in the handshake era, 16 connections", _OF_NGINX),
    "legacy.rate.strict": ("calls per second in the handshake era, strict, 64 connections", _OF_NGINX),
    "accounts.cpu.16": ("CPU per call with an account of the caller's own, 16 connections", "× one without"),
    "accounts.cpu.64": ("CPU per call with an account of the caller's own, 64 connections", "× one without"),
    "rate.postgresql": ("calls per second on PostgreSQL, 64 connections", _OF_NGINX),
    "cpu.postgresql_server_us": ("CPU of the PostgreSQL server per call, 16 connections", "µs"),
    "growth.again": ("CPU per call, the smallest gateway against another just like it: the noise", "%"),
    "growth.doubt": ("how far off the growth figures may be, in either direction (95 %)", "± %"),
    "growth.tools_1000": ("CPU per call, 10 to 1,000 tools", "%"),
    "growth.rules_100": ("CPU per call, 1 to 100 rules on other tools", "%"),
    "rules.none_us": ("a decision without rules", "µs each"),
    "rules.idle_ms": ("the same with nothing to judge: what a thread costs", "ms"),
    "memory.worker_started_mb": ("memory of one worker after the start", "MB"),
    "memory.session_stream_kb": ("memory that an open event stream adds to a session", "KB"),
}


def judge(facts: Mapping[str, float]) -> list[Verdict]:
    """Every goal, in order."""
    return [Verdict(goal, facts.get(goal.fact) if goal.fact else None) for goal in GOALS]


def said(value: float, unit: str) -> str:
    """A figure as people read it."""
    if unit == "%":
        return f"{value:+.1f} %"
    if unit == "± %":
        return f"± {value:.1f} %"
    if unit == "µs" or abs(value) >= 100:
        return f"{value:,.0f} {unit}"
    return f"{value:.2f} {unit}" if abs(value) < 10 else f"{value:.1f} {unit}"


def limit_of(goal: Goal, limit: float) -> str:
    """A limit as people read it: `≤ 4 × nginx`."""
    return f"{'≤' if goal.wanted == 'at most' else '≥'} {limit:g} {goal.unit}"
