"""What a run has found, as text for a terminal, as Markdown for docs/performance.md, and as JSON with every round."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.measure import Series
from bench.parts import Results
from bench.verdict import NOTES, judge, limit_of, said

BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of results -->"
_COLUMNS = (
    "target",
    "connections",
    "calls/s",
    "p50 µs",
    "p99 µs",
    "CPU µs/call",
    "MB",
    "rate of nginx",
    "CPU of nginx",
)
_VERDICT = ("goal", "measured", "first landing", "", "aim", "")


def table(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """One row a series: medians, and ratios to nginx at the same concurrency."""
    base = {one.connections: one for one in series if one.target == "nginx"}
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for one in series:
        other = base.get(one.connections)
        ratios = ("", "")
        if other is not None:
            ratios = (_ratio(one.ratio(other, "per_second")), _ratio(one.ratio(other, "cpu_us")))
        rows.append(
            (
                one.target, str(one.connections), f"{one.median('per_second'):,.0f}", f"{one.median('p50_us'):,.0f}",
                f"{one.median('p99_us'):,.0f}", f"{one.median('cpu_us'):,.1f}", f"{one.rss_mb:.0f}", *ratios,
            )
        )  # fmt: skip
    return rows


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def verdict(facts: Mapping[str, float]) -> list[tuple[str, ...]]:
    """One row a goal."""
    rows: list[tuple[str, ...]] = [_VERDICT]
    for one in judge(facts):
        goal = one.goal
        first, aim = limit_of(goal, goal.first), limit_of(goal, goal.aim)
        rows.append((goal.title, one.measured, first, one.word(goal.first), aim, one.word(goal.aim)))
    return rows


def notes(facts: Mapping[str, float]) -> list[tuple[str, ...]]:
    """One row for each figure that explains others."""
    found = [(title, said(facts[name], unit)) for name, (title, unit) in NOTES.items() if name in facts]
    return [("also measured", ""), *found] if found else []


def plain(rows: Sequence[tuple[str, ...]], left: int = 1) -> str:
    """Columns under each other; the first `left` to the left."""
    if not rows:
        return ""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown(about: Mapping[str, str], results: Results) -> str:
    """The whole result, for the document."""
    parts = ["; ".join(f"{name}: {value}" for name, value in about.items()) + "."]
    parts.append(_marked(verdict(results.facts)))
    parts.append(_marked(notes(results.facts)))
    for title, series in results.tables.items():
        parts.append(f"### {title}\n\n{_marked(table(series))}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _marked(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    rule = ("---", *("---:" for _ in rows[0][1:]))
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))


def write_markdown(path: Path, text: str) -> None:
    """Put the result between the marks of a document. Raises `ValueError` when it has none."""
    document = path.read_text("utf-8")
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r} to write between")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")


def write_json(path: Path, about: Mapping[str, str], results: Results) -> None:
    """Every figure of every round."""
    value = {
        "about": dict(about),
        "facts": results.facts,
        "broken": results.broken,
        "tables": {title: [asdict(one) for one in series] for title, series in results.tables.items()},
        "verdict": verdict(results.facts),
    }
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
