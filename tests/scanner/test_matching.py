"""Places of signals in characters, whatever the script, and bounds."""

from callgate.scanner.matching import MOST, matcher


def test_places_are_characters() -> None:
    text = "日本 é ~/.ssh/id_rsa"
    hit = matcher().hits(text).by_name["secret_file"][0]
    assert text[hit.start : hit.end].startswith("~/.ssh")


def test_nothing() -> None:
    assert matcher().hits("").by_name == {}


def test_cut() -> None:
    assert matcher().hits("you " * (MOST + 1)).cut
    assert not matcher().hits("you " * 10).cut


def test_half_characters() -> None:
    assert "model" in matcher().hits("you \ud800 must").by_name
