"""The yardstick itself: the fixtures score in full directly and through the header proxy, and counting is strict."""

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conformance.suite import SETS, parse, run
from tests.peers.gateway import header_proxy
from tests.peers.processes import fixture_server

SUMMARY = """
✓ ping: 2 passed, 0 failed
✗ tools-list: 1 passed, 1 failed
✗ tasks-lifecycle: 1 passed, 8 failed

Total: 4 passed, 9 failed

Not scored for 2025-11-25: 1 scenario(s) run, 1 failing. These do not affect conformance.
  ✗ tasks-lifecycle (extension)
"""


def test_only_scored_scenarios_count() -> None:
    score = parse("2025-11-25", SUMMARY, scored=2)
    assert (score.passed, score.scored, score.failed) == (1, 2, ("tools-list",))
    assert score.line() == "2025-11-25: 1/2"


def test_a_run_that_stopped_half_way_is_never_a_full_score() -> None:
    score = parse("2025-11-25", SUMMARY.replace("✗ tools-list: 1 passed, 1 failed\n", ""), scored=2)
    assert score.passed == 1
    assert score.failed == ("(1 scenarios without a result)",)


def test_silence_is_a_score_of_nothing() -> None:
    assert parse("0.1.16", "", scored=32).passed == 0


@pytest.mark.peers
@pytest.mark.parametrize(
    ("variant", "name", "passed"),
    [
        ("both", "2025-11-25", 30),
        ("both", "2026-07-28", 37),
        ("both", "0.1.16", 32),
        ("legacy", "2025-11-25", 30),
        ("modern", "2026-07-28", 37),
        ("modern", "2025-11-25", 0),
    ],
)
def test_a_fixture_scores_directly(variant: str, name: str, passed: int, tmp_path: Path) -> None:
    with fixture_server(variant) as server:
        score = run(server.wait_ready().replace("127.0.0.1", "localhost"), name, tmp_path)
    assert (score.passed, score.scored) == (passed, SETS[name][2]), score.failed


@pytest.mark.peers
@pytest.mark.parametrize("name", ["2025-11-25", "2026-07-28"])
def test_the_header_proxy_is_transparent(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = urlsplit(stack.enter_context(fixture_server()).wait_ready())
        assert url.port is not None
        base = header_proxy(stack, [url.port], ["Authorization: Bearer not-looked-at"])
        score = run(base + url.path, name, tmp_path)
    assert score.passed == score.scored, score.failed
