"""Loading targets: rounds in which every target gets its turn, and the medians over the rounds.

On failure: `Broken` when a target gives one wrong answer, loses a connection, or stands still.
"""

import json
import math
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.machine import LOAD_CPU, Broken, cpu_seconds, family, resident

MARKER = "open items"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
_MOST = 200_000  # requests a run


@dataclass(frozen=True)
class Target:
    """Something that answers `tools/call`. `pids`: whose CPU and memory count, with their descendants.

    `tokens`: access tokens of one length that the requests carry in turn; `beside`: processes that work for it
    elsewhere, such as a database server, counted apart.
    """

    name: str
    port: int
    tool: str
    pids: tuple[int, ...]
    headers: dict[str, str] = field(default_factory=dict)
    era: str = "modern"
    tokens: tuple[str, ...] = ()
    beside: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run. Times in µs; `cpu_us` per call over the target's processes, `beside_us` over those beside it.

    `probe_us`: what a probe said just before and just after the run, the mean of both; 0 without one.
    """

    per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float
    beside_us: float
    probe_us: float = 0.0


@dataclass(frozen=True)
class Series:
    """The runs of one target at one concurrency, in the order of the rounds. `rss_mb` after the last."""

    target: str
    connections: int
    runs: tuple[Run, ...]
    rss_mb: float

    def median(self, figure: str) -> float:
        return float(statistics.median(getattr(run, figure) for run in self.runs))

    def ratio(self, base: "Series", figure: str) -> float:
        """The median over the rounds of this one's figure by the base's of the same round."""
        pairs = zip(self.runs, base.runs, strict=True)
        return float(statistics.median(getattr(own, figure) / getattr(other, figure) for own, other in pairs))

    def doubt(self, base: "Series", figure: str) -> float:
        """How far off that ratio's median may be: half its 95 % interval, from the quartiles of the rounds."""
        pairs = zip(self.runs, base.runs, strict=True)
        low, _, high = statistics.quantiles(getattr(own, figure) / getattr(other, figure) for own, other in pairs)
        return float(1.57 * (high - low) / math.sqrt(len(self.runs)))


@dataclass(frozen=True)
class Pace:
    """How long a run takes (where a few calls do not take longer), how many rounds and sessions there are."""

    seconds: float
    rounds: int
    growth_rounds: int
    sessions: int


FULL = Pace(seconds=3.0, rounds=3, growth_rounds=60, sessions=2000)
QUICK = Pace(seconds=0.7, rounds=3, growth_rounds=25, sessions=500)


def head_of(target: Target) -> str:
    """The request line and headers, without the length."""
    headers = {
        "Host": f"127.0.0.1:{target.port}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28" if target.era == "modern" else "2025-11-25",
        **target.headers,
    }
    if target.era == "modern":
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": target.tool}
    if target.tokens:
        headers["Authorization"] = "Bearer @TOKEN@"
    lines = ["POST /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines) + "\r\n"


def body_of(target: Target) -> str:
    """The message, with @ID@ for its id."""
    params: dict[str, object] = {"name": target.tool, "arguments": {"account": "A-17", "limit": 25}}
    if target.era == "modern":
        params["_meta"] = META
    message = {"jsonrpc": "2.0", "id": "@ID@", "method": "tools/call", "params": params}
    return json.dumps(message, separators=(",", ":")).replace('"@ID@"', "@ID@")


def once(where: Path, target: Target, connections: int, requests: int) -> Run:
    """One run of so many requests. Raises `Broken`."""
    head, body, tokens = where / "head", where / "body", where / "tokens"
    head.write_text(head_of(target))
    body.write_text(body_of(target))
    tokens.write_text("".join(f"{token}\n" for token in target.tokens))
    command = ["taskset", "-c", str(LOAD_CPU), str(where / "load"), str(target.port), str(connections)]
    command += [str(requests), str(head), str(body), MARKER, *([str(tokens)] if target.tokens else [])]
    own, beside = family(target.pids), family(target.beside)
    before = cpu_seconds(own), cpu_seconds(beside)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = cpu_seconds(own), cpu_seconds(beside)
    if done.returncode:
        raise Broken(f"{target.name} at {connections} connections: {done.stderr or done.stdout}")
    result = json.loads(done.stdout)
    spent = [
        sum(late[pid] - early[pid] for pid in late.keys() & early.keys()) / requests * 1e6
        for early, late in zip(before, after, strict=True)
    ]
    return Run(requests / result["seconds"], result["p50_us"], result["p99_us"], *spent)


def warm(where: Path, target: Target, connections: int, seconds: float) -> int:
    """Load until the target is warm; how many requests then fill so many seconds."""
    least = max(20, 2 * connections, len(target.tokens))
    rate = once(where, target, connections, least).per_second
    more = min(_MOST, max(least, math.ceil(rate * seconds / 2)))
    rate = once(where, target, connections, more).per_second
    return min(_MOST, max(least, math.ceil(rate * seconds)))


def rounds(
    where: Path,
    targets: Sequence[Target],
    connections: int,
    pace: Pace,
    *,
    probe: Callable[[], float] | None = None,
) -> list[Series]:
    """Every target warmed up, then in each round one run of each, between two looks of the probe."""
    requests = {target.name: warm(where, target, connections, pace.seconds) for target in targets}
    runs: dict[str, list[Run]] = {target.name: [] for target in targets}
    for number in range(pace.rounds):
        # forth and back, so that what drifts within a round hits nobody more than the others
        for target in targets if number % 2 == 0 else list(reversed(targets)):
            before = probe() if probe else 0.0
            run = once(where, target, connections, requests[target.name])
            after = probe() if probe else 0.0
            runs[target.name].append(replace(run, probe_us=(before + after) / 2))
    return [Series(one.name, connections, tuple(runs[one.name]), resident(one.pids) / 1e6) for one in targets]
