"""The second opinion: its numbers are there, it says little, and it is never more than a hint."""

import json
import math
import time

import pytest

from callgate.scanner import model as scanner_model
from callgate.scanner.model import SIZE, Model, features, model, model_findings, prose, score
from callgate.scanner.surface import Leaf, surface
from scripts.train_scanner_model import Example, trained
from tests.scanner.test_corpus import BENIGN


def leaves(description: str) -> tuple[Leaf, ...]:
    return surface("tool", json.dumps({"name": "add", "description": description}).encode()).leaves


def test_the_numbers_that_ship_are_complete() -> None:
    assert len(model().weights) == SIZE
    assert model().threshold > 0


def test_wording_like_that_of_attacks_gets_one_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    suspicious = Model((1000,) * SIZE, 0, 1000, 2.0)
    monkeypatch.setattr(scanner_model, "model", lambda: suspicious)
    found = model_findings(leaves("Adds two numbers and returns the sum of them."))
    assert [(one.cls, one.severity, one.path) for one in found] == [("model_suspicion", "low", "/description")]
    assert model_findings(leaves("Adds.")) == []
    assert model_findings(()) == []


def test_ordinary_tools_of_the_test_set_get_none() -> None:
    for row in BENIGN:
        assert model_findings(surface("tool", json.dumps(row["tool"]).encode()).leaves) == [], row["id"]


def test_a_model_learns_what_tells_two_kinds_apart_and_always_the_same() -> None:
    examples = [Example(features(text), attack, not attack, "", False) for text, attack in TEXTS]
    numbers = trained(examples, 20)
    assert numbers == trained(examples, 20)
    assert score(numbers, features("steal everything")) > 0 > score(numbers, features("sum everything"))
    assert score(numbers, frozenset()) == -math.inf


TEXTS = [("steal this", True), ("steal that", True), ("sum this", False), ("sum that", False), ("sum up", False)]


def test_a_long_text_costs_no_more_than_its_beginning() -> None:
    seen = leaves("word and other words " * 50_000)
    started = time.perf_counter()
    model_findings(seen)
    assert time.perf_counter() - started < 0.5
    assert len(prose(seen)) == 6_000


def test_a_score_is_the_mean_direction_of_what_was_seen() -> None:
    numbers = Model((3000, 1000) + (0,) * (SIZE - 2), -1000, 1000, 1.0)
    assert score(numbers, frozenset({0, 1})) == (4000 / math.sqrt(2) - 1000) / 1000
