"""What `make bench` says of figures that are given: ratios, verdicts, and where they are written."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.measure import Run, Series, Target, body_of, head_of
from bench.parts import GROWTH, Results
from bench.verdict import GOALS, NOTES, Verdict, judge

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def _series(target: str, *figures: tuple[float, float]) -> Series:
    """A series whose rounds have these (calls per second, CPU)."""
    return Series(target, 16, tuple(Run(rate, 1.0, 2.0, cpu, 0.0) for rate, cpu in figures), 50.0)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    nginx = _series("nginx", (100, 10), (200, 10), (400, 10))
    ours = _series("ours", (50, 20), (100, 40), (40, 30))
    assert ours.ratio(nginx, "per_second") == pytest.approx(0.5)
    assert ours.ratio(nginx, "cpu_us") == pytest.approx(3.0)
    assert ours.median("per_second") == 50


@pytest.mark.parametrize(
    ("fact", "value", "first", "aim"),
    [
        ("cpu.strict", 2.5, "met", "met"),
        ("cpu.strict", 2.6, "met", "not met"),
        ("cpu.strict", 4.1, "not met", "not met"),
        ("rate.strict", 0.25, "met", "not met"),
        ("rate.strict", 0.24, "not met", "not met"),
        ("growth.tools_10000", -1.0, "met", "met"),
    ],
)
def test_a_goal_is_met_at_its_limit_and_on_its_better_side(fact: str, value: float, first: str, aim: str) -> None:
    [verdict] = [one for one in judge({fact: value}) if one.value is not None]
    assert verdict.goal.fact == fact
    assert (verdict.word(verdict.goal.first), verdict.word(verdict.goal.aim)) == (first, aim)


def test_a_goal_without_its_fact_is_said_to_be_not_measured() -> None:
    assert {one.measured for one in judge({})} == {"not measured"}
    assert Verdict(GOALS[0], None).word(4) == "–"


def test_every_aim_is_at_least_as_strict_as_its_first_landing() -> None:
    for goal in GOALS:
        assert goal.met(goal.aim, goal.first), goal.title


def test_growth_facts_are_all_judged_or_printed() -> None:
    assert GROWTH.keys() <= {goal.fact for goal in GOALS} | NOTES.keys()


def test_results_replace_what_stands_between_the_marks_and_nothing_else(tmp_path: Path) -> None:
    results = Results(tables={"A table": [_series("nginx", (100, 10))]}, facts={"cpu.strict": 3.0, "sync.us": 150.0})
    copy = tmp_path / "performance.md"
    copy.write_text(DOCUMENT.read_text("utf-8"), "utf-8")
    for _ in range(2):
        report.write_markdown(copy, report.markdown({"commit": "abc"}, results))
    before, _, rest = DOCUMENT.read_text("utf-8").partition(report.BEGIN)
    after = rest.partition(report.END)[2]
    text = copy.read_text("utf-8")
    assert text.startswith(before)
    assert text.endswith(report.END + after)
    written = text.removeprefix(before)
    assert written.count("| 3.00 × nginx | ≤ 4 × nginx | met | ≤ 2.5 × nginx | not met |") == 1
    assert "### A table" in written


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("nothing")
    with pytest.raises(ValueError, match="no lines"):
        report.write_markdown(other, "x")
    assert other.read_text() == "nothing"


def test_the_json_file_keeps_every_round(tmp_path: Path) -> None:
    results = Results(tables={"A table": [_series("nginx", (100, 10), (200, 12))]}, facts={"sync.us": 150.0})
    report.write_json(tmp_path / "out.json", {"commit": "abc"}, results)
    kept = json.loads((tmp_path / "out.json").read_text())
    assert [run["per_second"] for run in kept["tables"]["A table"][0]["runs"]] == [100, 200]
    assert kept["facts"] == {"sync.us": 150.0}


def test_a_modern_request_names_its_tool_in_header_and_body() -> None:
    target = Target("x", 1, "tool_3", (), {"Authorization": "Bearer t"})
    assert "Mcp-Name: tool_3\r\n" in head_of(target)
    body = json.loads(body_of(target).replace("@ID@", "7"))
    assert (body["id"], body["params"]["name"]) == (7, "tool_3")
    assert body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


def test_a_request_in_a_session_carries_no_envelope() -> None:
    target = Target("x", 1, "tool_3", (), {"Mcp-Session-Id": "s"}, era="legacy")
    assert "Mcp-Name" not in head_of(target)
    assert "_meta" not in body_of(target)
