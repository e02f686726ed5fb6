"""Runs the official conformance suite against a URL and counts what is scored. No expected-failures file exists."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.peers.environments import node, program

PACKAGE = "@modelcontextprotocol/conformance"
CURRENT = "0.2.0-alpha.12"
FIRST = "0.1.16"
# set → (package version, arguments, scored scenarios). The number is written down so that a run that stops half
# way, or a suite that forgets scenarios, can never look like a full score.
SETS = {
    "2025-11-25": (CURRENT, ("--requirements", "2025-11-25"), 30),
    "2026-07-28": (CURRENT, ("--requirements", "2026-07-28"), 37),
    "0.1.16": (FIRST, ("--suite", "all"), 32),
}
_LINE = re.compile(r"^([✓✗]) ([\w-]+): (\d+) passed, (\d+) failed")
_UNSCORED = re.compile(r"^\s+[✓✗] ([\w-]+) \(")


@dataclass(frozen=True)
class Score:
    """What one run of one set came to. `failed` names the scored scenarios that did not pass."""

    set: str
    passed: int
    scored: int
    failed: tuple[str, ...]
    output: str

    def line(self, label: str = "") -> str:
        return f"{label or self.set}: {self.passed}/{self.scored}"


def parse(name: str, output: str, scored: int) -> Score:
    """Read the suite's summary. A scored scenario that is not in it counts as failed."""
    lines = output.splitlines()
    unscored = {match[1] for line in lines if (match := _UNSCORED.match(line))}
    results = {match[2]: match[1] == "✓" for line in lines if (match := _LINE.match(line))}
    counted = {scenario: passed for scenario, passed in results.items() if scenario not in unscored}
    failed = tuple(scenario for scenario, passed in counted.items() if not passed)
    missing = (f"({scored - len(counted)} scenarios without a result)",) if len(counted) < scored else ()
    return Score(name, len(counted) - len(failed), scored, failed + missing, output)


def run(url: str, name: str, results: Path, *, seconds: float = 300) -> Score:
    """Run one set against an MCP endpoint; `results` is where the suite writes its checks, one folder a scenario.

    Raises environments.Missing where the suite is not installed, subprocess.TimeoutExpired after `seconds`.
    """
    version, arguments, scored = SETS[name]
    suite = program(PACKAGE, version=version)
    done = subprocess.run(
        [str(node()), str(suite), "server", "--url", url, *arguments, "-o", str(results)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return parse(name, done.stdout + done.stderr, scored)
