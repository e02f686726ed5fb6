"""The command behind `make bench`: runs the parts that are asked for, prints as it goes, ends with the verdict.

Exit codes: 0, also when goals are not met; 1 when a part broke; 2 for a bad option or a missing tool.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import report
from bench.machine import Broken, about, build
from bench.measure import FULL, QUICK
from bench.parts import PARTS, Bench, Results

_BUSY = 0.7  # load average


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="make bench", description="Speed, side by side with nginx and others; docs/performance.md explains it."
    )
    parser.add_argument("--quick", action="store_true", help="short runs: for a look, not for a quote")
    parser.add_argument("--only", metavar="PART,…", help=f"only these parts: {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round to this file")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="put the tables between the marks of this document"
    )
    chosen = parser.parse_args()
    wanted = chosen.only.split(",") if chosen.only else list(PARTS)
    if unknown := sorted(set(wanted) - PARTS.keys()):
        parser.error(f"there is no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    if missing := [tool for tool in ("gcc", "nginx", "taskset") if shutil.which(tool) is None]:
        parser.error(f"missing: {', '.join(missing)}; `make bench` installs them")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed, one for the target and one for the load")
    chosen.parts = [name for name in PARTS if name in wanted]
    return chosen


def run(chosen: argparse.Namespace, results: Results) -> None:
    """The parts, one after the other; one that breaks is noted and the next one begins."""
    with tempfile.TemporaryDirectory(prefix="callgate-bench-") as folder:
        where = Path(folder)
        build(where)
        bench = Bench(where, QUICK if chosen.quick else FULL, results)
        for name in chosen.parts:
            before = set(results.tables)
            began = time.monotonic()
            say(f"== {name}: {(PARTS[name].__doc__ or '').splitlines()[0]}")
            try:
                PARTS[name](bench)
            except Broken as broken:
                results.broken[name] = str(broken)
                say(f"   broke: {broken}")
            for title, series in results.tables.items():
                if title not in before:
                    say(f"\n{title}\n{report.plain(report.table(series))}\n")
            say(f"   took {time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    chosen = options()
    machine = about()
    results = Results()
    say("; ".join(f"{name}: {value}" for name, value in machine.items()))
    if float(machine["load average before"]) > _BUSY:
        say("This machine is busy with something else: do not quote these figures.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        run(chosen, results)
    except KeyboardInterrupt:
        results.broken["run"] = "interrupted"
    say(f"\n{report.plain(report.notes(results.facts))}\n")
    say(report.plain(report.verdict(results.facts), left=1))
    if chosen.json:
        report.write_json(chosen.json, machine, results)
    if chosen.markdown:
        report.write_markdown(chosen.markdown, report.markdown(machine, results))
    for name, sentence in results.broken.items():
        say(f"broke: {name}: {sentence.splitlines()[0][:200]}")
    return 1 if results.broken else 0


if __name__ == "__main__":
    sys.exit(main())
