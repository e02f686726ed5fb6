"""Every detector finds its examples whole and leaves its counter-examples alone."""

import re

import pytest
import re2

from callgate.dlp.checks import CHECKS
from callgate.dlp.engine import matches
from callgate.dlp.tables import Detector, tables

DETECTORS = tables().detectors


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.id)
def test_examples(detector: Detector) -> None:
    assert detector.examples
    for text in detector.examples:
        assert detector.id in {one.detector for one in matches(text)}, text
        assert detector.id in {one.detector for one in matches(f"é “{text}” ü")}, text
    for text in detector.counter_examples:
        assert detector.id not in {one.detector for one in matches(text)}, text


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.id)
def test_a_hint_is_in_whatever_the_pattern_matches(detector: Detector) -> None:
    hint = re2.compile(detector.hint)
    for text in detector.examples:
        found = re2.search(detector.pattern, text)
        assert found is not None
        assert hint.search(found.group(0)) is not None


def test_there_are_many_and_each_check_is_used() -> None:
    assert len({one.id for one in DETECTORS if one.kind == "secret"}) >= 50
    assert len({one.id for one in DETECTORS if one.kind == "personal"}) >= 15
    assert {one.check for one in DETECTORS} == set(CHECKS)
    assert all(re.fullmatch(r"[a-z0-9_]+", one.id) for one in DETECTORS)
