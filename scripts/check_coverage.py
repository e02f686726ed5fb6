#!/usr/bin/env python3
"""The coverage gate: at least 95 % of the core's branches and 85 % of all lines are covered.

Reads the data of the last test run. Prints the worst files of the core when it fails.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CORE_BRANCHES = 95.0
ALL_LINES = 85.0
# what a call's fate depends on
CORE = ("call", "fingerprints", "policy", "wire", "model", "audit", "identity", "credentials", "fleet")


def measured(root: Path) -> dict[str, Any]:
    """Coverage's JSON report as a dictionary. Raises CalledProcessError where no data was collected."""
    report = root / ".build" / "coverage.json"
    command = [sys.executable, "-m", "coverage"]
    if list(root.glob(".coverage.*")):
        subprocess.run([*command, "combine", "-q"], cwd=root, check=True)
    subprocess.run([*command, "json", "-q", "-o", str(report)], cwd=root, check=True)
    data: dict[str, Any] = json.loads(report.read_text())
    return data


def percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    data = measured(root)
    core = {
        name: entry["summary"]
        for name, entry in data["files"].items()
        if name.removeprefix("src/callgate/").split("/")[0] in CORE
    }
    covered = sum(each["covered_branches"] for each in core.values())
    branches = sum(each["num_branches"] for each in core.values())
    lines = percent(data["totals"]["covered_lines"], data["totals"]["num_statements"])
    core_branches = percent(covered, branches)
    print(f"coverage: core branches {core_branches:.1f} % (at least {CORE_BRANCHES:.0f}), "
          f"all lines {lines:.1f} % (at least {ALL_LINES:.0f})")  # fmt: skip
    if core_branches >= CORE_BRANCHES and lines >= ALL_LINES:
        return 0
    worst = sorted(core.items(), key=lambda item: item[1]["covered_branches"] - item[1]["num_branches"])
    for name, each in worst[:15]:
        print(f"  {name}: {each['num_branches'] - each['covered_branches']} of {each['num_branches']} branches missed")
    return 1


if __name__ == "__main__":
    sys.exit(main())
