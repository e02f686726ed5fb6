#!/usr/bin/env python3
"""How good the scanner is: recall by class, false positives, speed, and what twelve disguises change.

    python -m scripts.eval_scanner [--json FILE] [--markdown docs/scanner.md] [--check]

Reads the labelled set of tests/scanner/corpus, and tools.dev.jsonl.gz of $CALLGATE_CORPUS or ../shared/corpus where
there is one. With --check only the first, and exit code 1 where it falls below tests/scanner/corpus/floors.toml.
"""

import argparse
import gzip
import json
import os
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from callgate.model.finding import Finding, rank, worst
from callgate.scanner.catalogue import catalogue_findings, listed
from callgate.scanner.engine import rules_version, scan
from tests.scanner.obfuscate import OBFUSCATIONS, SPOKEN, apply

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "tests" / "scanner" / "corpus"
FLOORS = OWN / "floors.toml"
BEGIN = "<!-- results: written by make eval-scanner -->"
END = "<!-- end of results -->"
MEDIUM, CRITICAL = rank("medium"), rank("critical")
DISGUISED = SPOKEN | {"multilingual"}
Row = dict[str, Any]
Result = dict[str, Any]


def own_rows() -> list[Row]:
    """The set of this repository; a row's label is that of its file."""
    return [
        {**json.loads(line), "label": name, "provenance": "authored"}
        for name in ("malicious", "hard_benign", "benign")
        for line in (OWN / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]


def shared_rows() -> list[Row]:
    """The development split, none where it is not on this machine."""
    path = Path(os.environ.get("CALLGATE_CORPUS") or ROOT.parent / "shared" / "corpus") / "tools.dev.jsonl.gz"
    if not path.is_file():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def raw(tool: Row) -> bytes:
    return json.dumps(tool).encode()


def grouped(rows: Sequence[Row]) -> set[str]:
    """The ids of tools that only a look at their whole upstream finds."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "group" in row:
            groups[row["group"]].append(row)
    found: set[str] = set()
    for name, members in groups.items():
        tools = [listed(name, row["tool"]["name"], row["tool"]["name"], raw(row["tool"])) for row in members]
        findings = [one for each in catalogue_findings(tools, [], _scan_text).values() for one in each]
        if rank(worst(findings)) >= MEDIUM:
            found.update(row["id"] for row in members)
    return found


def _scan_text(text: str) -> Sequence[Finding]:
    return scan("instructions", json.dumps(text).encode())


def measured(rows: Sequence[Row], every: int = 1) -> Result:
    """All figures of a set; disguises are tried on each `every`th attack."""
    scan("tool", b"{}")  # loads the tables
    times, ranks = [], {}
    together = grouped(rows)
    for row in rows:
        definition = raw(row["tool"])
        started = time.perf_counter()
        ranks[row["id"]] = rank(worst(scan("tool", definition)))
        times.append((time.perf_counter() - started) * 1000)
        if row["id"] in together:
            ranks[row["id"]] = max(ranks[row["id"]], MEDIUM)
    hit = {name for name, found in ranks.items() if found >= MEDIUM}
    attacks = [row for row in rows if row["label"] == "malicious"]
    honest = [row for row in rows if row["label"] != "malicious"]
    right, wrong = sum(row["id"] in hit for row in attacks), sum(row["id"] in hit for row in honest)
    times.sort()
    return {
        "counts": dict(Counter(row["label"] for row in rows)),
        "recall": right / len(attacks),
        "f1": 2 * right / (right + wrong + len(attacks)),
        "classes": _share(attacks, "cls", hit),
        "provenance": _share(attacks, "provenance", hit),
        "false_positives": _share(honest, "label", hit),
        "false_positives_critical": _share(honest, "label", {name for name in ranks if ranks[name] >= CRITICAL}),
        "disguises": disguised(
            [row for row in attacks if row["cls"] in DISGUISED and row["id"] in hit - together][::every]
        ),
        "ms": {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "max": times[-1]},
    }


def _share(rows: Sequence[Row], member: str, hit: set[str]) -> dict[str, list[int]]:
    """By the value of a member: how many were hit, of how many."""
    found: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: str(row[member])):
        pair = found.setdefault(row[member], [0, 0])
        pair[0] += row["id"] in hit
        pair[1] += 1
    return found


def disguised(rows: Sequence[Row]) -> dict[str, list[int]]:
    """By disguise: of the attacks that are found in the open, how many are found still."""
    found = {name: [0, 0] for name in OBFUSCATIONS}
    for row in rows:
        for name, obfuscation in OBFUSCATIONS.items():
            tool = apply(row["tool"], obfuscation)
            if tool != row["tool"]:
                found[name][0] += rank(worst(scan("tool", raw(tool)))) >= MEDIUM
                found[name][1] += 1
    return found


def ratio(pairs: dict[str, list[int]]) -> float:
    """All of them together."""
    return sum(hit for hit, _ in pairs.values()) / max(1, sum(count for _, count in pairs.values()))


def below(result: Result, floors: dict[str, float]) -> Iterator[str]:
    """What is worse than it may be, in a sentence each."""
    wrong = result["false_positives"]
    least = {"recall": result["recall"], "f1": result["f1"], "disguises": ratio(result["disguises"])}
    most = {name: ratio({"": wrong[name]}) for name in ("benign", "hard_benign")}
    most["critical"] = ratio(result["false_positives_critical"])
    for name, figure in least.items():
        if figure < floors[name]:
            yield f"{name} is {figure:.4f}, at least {floors[name]:.4f} is wanted"
    for name, figure in most.items():
        if figure > floors[name]:
            yield f"false positives, {name}: {figure:.4f}, at most {floors[name]:.4f} are allowed"


def markdown(results: dict[str, Result]) -> str:
    """The tables for docs/scanner.md."""
    lines = [f"Rules {rules_version()[:12]}. Severity `medium` or worse counts as found.", ""]
    for title, result in results.items():
        lines += [f"### {title}", "", "| measure | result |", "| --- | --- |"]
        lines += [f"| {name} | {value} |" for name, value in _summary(result)]
        lines += ["", "| class | found |", "| --- | --- |"]
        lines += [f"| {name} | {_of(pair)} |" for name, pair in result["classes"].items()]
        lines += ["", "| disguise | still found |", "| --- | --- |"]
        lines += [f"| {name} | {_of(pair)} |" for name, pair in result["disguises"].items()]
        lines.append("")
    return "\n".join(lines)


def _summary(result: Result) -> Iterator[tuple[str, str]]:
    yield "recall", f"{result['recall']:.3f}"
    for name, pair in result["provenance"].items():
        yield f"recall, {name}", _of(pair)
    yield "F1", f"{result['f1']:.3f}"
    for name, pair in result["false_positives"].items():
        yield f"false positives, {name}", _of(pair)
        yield f"false positives, {name}, critical", _of(result["false_positives_critical"][name])
    yield "still found in disguise", f"{ratio(result['disguises']):.3f}"
    ms = result["ms"]
    yield "ms for a definition, p50 / p99 / max", f"{ms['p50']:.1f} / {ms['p99']:.1f} / {ms['max']:.1f}"


def _of(pair: Sequence[int]) -> str:
    return f"{pair[0]} of {pair[1]} ({pair[0] / max(1, pair[1]):.1%})"


def write_markdown(path: Path, text: str) -> None:
    """Put the tables between the marks. Raises `ValueError` where there are none."""
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    results = {"The set of this repository": measured(own_rows(), every=4 if options.check else 1)}
    if not options.check and (shared := shared_rows()):
        results["Real tools and public attacks, development split"] = measured(shared)
    text = markdown(results)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if options.markdown:
        write_markdown(options.markdown, text)
    worse = list(below(results["The set of this repository"], tomllib.loads(FLOORS.read_text("utf-8"))))
    for sentence in worse:
        print(f"below the floor: {sentence}", file=sys.stderr)
    return 1 if options.check and worse else 0


if __name__ == "__main__":
    sys.exit(main())
