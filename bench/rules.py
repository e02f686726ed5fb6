"""What rules cost a call: the decision alone, in this process, all sets side by side in short turns of one run.

Figures are microseconds per decision beyond that of a set without rules. The last one is how long the event loop stands
still at most while a condition over large arguments is judged as a gateway judges it, off the loop.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Mapping

from callgate.model.caller import Caller
from callgate.model.definition import TRUSTED, Definition
from callgate.model.rule import Match, Rule
from callgate.model.upstream import Upstream
from callgate.policy.compile import CompiledRules, compile_rules
from callgate.policy.facts import Facts
from callgate.policy.trial import decided

TURNS, DECISIONS = 60, 400
LARGE = 200 * 1024  # bytes of the large arguments
_ANA = Caller("default", "per_1", "ana@acme.test", ("member",), ("sre",), None, None, "tok_1")
_UPSTREAM = Upstream("ups_1", "default", "files", "http")
_TOOL = Definition(
    id="def_1", tenant="default", upstream="ups_1", kind="tool", name="read", public_name="files__read",
    status=TRUSTED, raw=b'{"name":"read"}', core="c", full="f", approved_full="f",
)  # fmt: skip


def _rules(number: int, tool: str, when: str = "") -> list[Rule]:
    names = (f"r{at}" for at in range(number))
    return [Rule(name, "T", "allow", Match(tool=(tool,), unless=Match(team=("x",))), when=when) for name in names]


SETS: Mapping[str, list[Rule]] = {
    "none": [],
    "hundred": _rules(100, "read"),
    "conditions": _rules(5, "read", "has(args.path) && args.path.startsWith('/srv/')"),
    "others": _rules(1000, "write*"),
}


def measured(turns: int = TURNS) -> dict[str, float]:
    """Microseconds per decision: the median over the turns of each set."""
    sets = {name: compile_rules(rules, 1) for name, rules in SETS.items()}
    facts = Facts(_UPSTREAM, _TOOL, "tools/call", 1, b'{"path":"/srv/a","depth":3}')
    found: dict[str, list[float]] = {name: [] for name in sets}
    for turn in range(turns + 1):
        for name, rules in sets.items():
            cost = _turn(rules, facts)
            if turn:  # the first one fills the indexes
                found[name].append(cost)
    return {name: statistics.median(costs) for name, costs in found.items()}


def _turn(rules: CompiledRules, facts: Facts) -> float:
    began = time.perf_counter()
    for _ in range(DECISIONS):
        decided(rules, _ANA, facts)
    return (time.perf_counter() - began) / DECISIONS * 1e6


def stands_still() -> dict[str, float]:
    """Milliseconds that the loop stands still at most: with nothing to do, and while large arguments are judged."""
    arguments = json.dumps({"path": "/srv/a", "lines": ["x" * 80] * (LARGE // 84)}).encode()
    facts = Facts(_UPSTREAM, _TOOL, "tools/call", 1, arguments)
    rules = compile_rules(_rules(1, "read", "args.lines.all(line, line != 'y')"), 1)
    return {
        "idle": asyncio.run(_longest(lambda: None)),
        "judged": asyncio.run(_longest(lambda: decided(rules, _ANA, facts))),
    }


async def _longest(work: Callable[[], object]) -> float:
    """The longest gap between two iterations of the loop while work runs in a thread, the median of 20 times."""
    gaps = []
    for _ in range(20):
        longest, before = 0.0, time.perf_counter()
        doing = asyncio.ensure_future(asyncio.to_thread(work))
        while not doing.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
        gaps.append(longest * 1e3)
    return statistics.median(gaps)
