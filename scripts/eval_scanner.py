"""The command behind `make eval-scanner`: how well and how fast the scanner does, on labelled tool definitions.

Sets: the development corpus ($CALLGATE_CORPUS or ../shared/corpus) where it is there, and the one in the repository.
Exit codes: 0; 1 with --check when the repository's set is below `tests/scanner/corpus/floors.toml`; 2 for a bad option.
"""

import argparse
import gzip
import json
import os
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callgate.model.finding import rank, worst
from callgate.scanner.engine import rules_version, scan

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "tests" / "scanner" / "corpus"
LEAST = "medium"


@dataclass
class Result:
    """What a set showed. Counters by class (malicious) or label (the others)."""

    seen: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    critical: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    def rate(self, *names: str) -> float:
        """Found of seen, over these."""
        return sum(self.found[name] for name in names) / max(1, sum(self.seen[name] for name in names))

    @property
    def classes(self) -> list[str]:
        return sorted(name for name in self.seen if name not in ("benign", "hard_benign"))

    def summary(self) -> dict[str, Any]:
        """Every figure, for people and for --json."""
        attacks = self.classes
        recall = self.rate(*attacks)
        hits = sum(self.found[name] for name in attacks)
        alarms = self.found["benign"] + self.found["hard_benign"]
        precision = hits / max(1, hits + alarms)
        times = sorted(self.milliseconds)
        return {
            "malicious": sum(self.seen[name] for name in attacks),
            "recall": round(recall, 4),
            "f1": round(2 * precision * recall / max(1e-9, precision + recall), 4),
            "false_positives": {name: round(self.rate(name), 4) for name in ("benign", "hard_benign")},
            "critical": {name: self.critical[name] for name in ("benign", "hard_benign")},
            "classes": {name: [self.found[name], self.seen[name]] for name in attacks},
            "milliseconds": {
                "p50": round(times[len(times) // 2], 2),
                "p99": round(times[int(len(times) * 0.99)], 2),
                "max": round(times[-1], 1),
            },
        }


def evaluate(lines: Iterable[dict[str, Any]]) -> Result:
    """Scan every tool of a set."""
    result = Result()
    for line in lines:
        raw = json.dumps(line["tool"], ensure_ascii=False).encode("utf-8", "surrogatepass")
        began = time.perf_counter()
        severity = worst(scan("tool", raw))
        result.milliseconds.append((time.perf_counter() - began) * 1000)
        name = line["cls"] if line["label"] == "malicious" else line["label"]
        result.seen[name] += 1
        result.found[name] += rank(severity) >= rank(LEAST)
        result.critical[name] += severity == "critical"
    return result


def own() -> Iterator[dict[str, Any]]:
    """The repository's set."""
    for name in ("malicious", "hard_benign", "benign"):
        for line in (OWN / f"{name}.jsonl").read_text().splitlines():
            yield {**json.loads(line), "label": name}


def sets() -> Iterator[tuple[str, Iterable[dict[str, Any]]]]:
    """Every set that is there, by name."""
    corpus = Path(os.environ.get("CALLGATE_CORPUS", ROOT.parent / "shared" / "corpus")) / "tools.dev.jsonl.gz"
    if corpus.exists():
        with gzip.open(corpus, "rt") as lines:
            yield "development corpus", list(map(json.loads, lines))
    yield "repository", own()


def show(name: str, summary: dict[str, Any]) -> None:
    """A set's figures for a person."""
    alarms, times = summary["false_positives"], summary["milliseconds"]
    print(f"\n{name}: recall {summary['recall']:.3f} of {summary['malicious']}, F1 {summary['f1']:.3f}")
    print(f"false positives: benign {alarms['benign']:.4f}, hard_benign {alarms['hard_benign']:.4f}")
    print(f"milliseconds per tool: p50 {times['p50']}, p99 {times['p99']}, max {times['max']}")
    for cls, (found, seen) in summary["classes"].items():
        print(f"  {cls:28} {found}/{seen}")


def below(summary: dict[str, Any]) -> list[str]:
    """What is worse than the floors say."""
    floors = tomllib.loads((OWN / "floors.toml").read_text())
    reasons = [] if summary["recall"] >= floors["recall"] else [f"recall {summary['recall']} < {floors['recall']}"]
    for name, most in floors["false_positives"].items():
        if summary["false_positives"][name] > most:
            reasons.append(f"false positives of {name}: {summary['false_positives'][name]} > {most}")
    return reasons


def main() -> int:
    """Evaluate what is there."""
    parser = argparse.ArgumentParser(prog="make eval-scanner", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 below the floors of the repository's set")
    chosen = parser.parse_args()
    print(f"rules {rules_version()}, findings of severity {LEAST} or worse")
    summaries = {name: evaluate(lines).summary() for name, lines in sets()}
    for name, summary in summaries.items():
        show(name, summary)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(summaries, indent=1) + "\n")
    reasons = below(summaries["repository"]) if chosen.check else []
    for reason in reasons:
        print(f"below the floor: {reason}", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
