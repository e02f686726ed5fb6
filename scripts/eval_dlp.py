"""How good the detectors are: recall by type, look-alikes flagged, and speed. `python -m scripts.eval_dlp [--json]`.

Reads the labelled snippets of $CALLGATE_CORPUS or ../shared/corpus where there are some, else the examples of the
tables in several surroundings. Speed is that of the examples among plain text; it is reported and never judged.
"""

import argparse
import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callgate.dlp.engine import matches
from callgate.dlp.tables import tables

AROUND = (
    ("", ""), ("key=", "&x=1"), ('{"args":{"note":"', '"}}'), ("export X=", ""), ("<p>", "</p>"), ("see ", " for more"),
    ("\u00e9\U0001f600 ", "\n"),
)  # fmt: skip
PLAIN = "A row of plain text with an id 4821, a date 2026-11-23 and a path /srv/data/file-17.json. " * 46


def corpus() -> Path | None:
    """The labelled snippets, where there are some."""
    folder = os.environ.get("CALLGATE_CORPUS") or str(Path(__file__).resolve().parents[2] / "shared" / "corpus")
    path = Path(folder) / "snippets.dev.jsonl.gz"
    return path if path.exists() else None


def rows(path: Path | None) -> Iterator[dict[str, Any]]:
    """Snippets: `type`, `text`, and where the value stands; those of types `neg_…` hold none."""
    if path is not None:
        with gzip.open(path, "rt") as file:
            yield from map(json.loads, file)
        return
    for one in tables().detectors:
        for before, after in AROUND:
            for text in one.examples:
                end = len(before) + len(text)
                yield {"type": one.id, "text": before + text + after, "start": len(before), "end": end}
            for text in one.counter_examples:
                yield {"type": f"neg_{one.id}", "text": before + text + after, "detector": one.id}


def found(row: dict[str, Any]) -> bool:
    """Whether something is found where the value is, or anything at all in a look-alike."""
    places = [one for one in matches(row["text"]) if row.get("detector") in (None, one.detector)]
    if row["type"].startswith("neg_"):
        return bool(places)
    return any(one.start < row["end"] and one.end > row["start"] for one in places)


def evaluated(path: Path | None) -> dict[str, Any]:
    """Counts by type, [found, of], and microseconds for a KB of plain text."""
    counts: dict[str, list[int]] = {}
    for row in rows(path):
        count = counts.setdefault(row["type"], [0, 0])
        count[0] += found(row)
        count[1] += 1
    right = {kind: count for kind, count in counts.items() if not kind.startswith("neg_")}
    wrong = {kind: count for kind, count in counts.items() if kind.startswith("neg_")}
    return {
        "source": str(path or "examples of the tables"),
        "recall": sum(hit for hit, _ in right.values()) / sum(of for _, of in right.values()),
        "look_alikes_flagged": [sum(hit for hit, _ in wrong.values()), sum(of for _, of in wrong.values())],
        "us_per_kb": round(speed(), 1),
        "types": counts,
        "detectors": dict(Counter(one.kind for one in {one.id: one for one in tables().detectors}.values())),
    }


def speed() -> float:
    """The best of several runs over pieces of 4 KB."""
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        matches(PLAIN)
        best = min(best, time.perf_counter() - began)
    return best * 1e6 / (len(PLAIN) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make eval-dlp", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON value")
    asked = parser.parse_args()
    result = evaluated(corpus())
    if asked.json:
        print(json.dumps(result))
        return
    flagged, of = result["look_alikes_flagged"]
    print(f"source               {result['source']}")
    print(f"detectors            {result['detectors']}")
    print(f"recall               {result['recall']:.3f}")
    print(f"look-alikes flagged  {flagged} of {of}")
    print(f"plain text           {result['us_per_kb']} us/KB")
    for kind, (hit, total) in sorted(result["types"].items()):
        print(f"  {kind:24} {hit}/{total}")


if __name__ == "__main__":
    main()
