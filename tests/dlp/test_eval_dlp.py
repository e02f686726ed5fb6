"""The evaluation of the detectors: quality does not fall below what docs/dlp.md says."""

from scripts.eval_dlp import corpus, evaluated


def test_the_examples_are_found_in_all_surroundings() -> None:
    result = evaluated(None)
    assert result["recall"] >= 0.97, {kind: count for kind, count in result["types"].items() if count[0] != count[1]}
    assert result["look_alikes_flagged"][0] == 0


def test_the_labelled_snippets_are_found_where_there_are_some() -> None:
    path = corpus()
    result = evaluated(path)
    flagged, of = result["look_alikes_flagged"]
    assert result["recall"] >= (0.97 if path is None else 0.99)
    assert flagged <= of / 100
