"""The quality of the scanner on the repository's own set does not fall below what it was (speed is never asserted)."""

from scripts.eval_scanner import below, evaluate, own


def test_the_quality_is_not_below_the_floors() -> None:
    assert below(evaluate(own()).summary()) == []
