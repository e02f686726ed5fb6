"""The labelled set is well-formed, varied and in many languages. What it says is data: see corpus/README.md."""

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from callgate.fingerprints.canonical import fingerprint

CORPUS = Path(__file__).parent / "corpus"
Row = dict[str, Any]


def load(name: str) -> list[Row]:
    return [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


MALICIOUS, HARD, BENIGN = (load(name) for name in ("malicious", "hard_benign", "benign"))
ALL = [*MALICIOUS, *HARD, *BENIGN]


def test_every_line_has_its_members_and_a_definition_that_can_be_read() -> None:
    for row in ALL:
        assert {"id", "label", "cls", "tool"} <= row.keys() <= {"id", "label", "cls", "tool", "lang", "group"}
        assert isinstance(row["tool"]["inputSchema"], dict)
        raw = json.dumps(row["tool"]).encode()
        assert fingerprint("tool", row["tool"]["name"], raw).quarantined == "", row["id"]


def test_labels_are_those_of_the_file_and_ids_are_unique() -> None:
    assert {row["label"] for row in MALICIOUS} == {"malicious"}
    assert {row["label"] for row in HARD + BENIGN} == {"benign"}
    assert len({row["id"] for row in ALL}) == len(ALL)
    assert len({json.dumps(row["tool"], sort_keys=True) for row in ALL}) == len(ALL)


def test_there_are_enough_of_each_kind() -> None:
    assert (len(MALICIOUS) >= 220, len(HARD) >= 120, len(BENIGN) >= 60) == (True, True, True)
    assert min(Counter(row["cls"] for row in MALICIOUS).values()) >= 6
    assert len(Counter(row["cls"] for row in MALICIOUS)) == 25
    languages = Counter(row["lang"] for row in MALICIOUS if "lang" in row)
    assert len(languages) >= 24
    assert languages.total() >= 60


def test_members_of_a_group_come_together() -> None:
    groups = Counter(row["group"] for row in ALL if "group" in row)
    assert groups
    assert set(groups.values()) == {2}


@pytest.mark.parametrize("name", ["malicious", "hard_benign", "benign"])
def test_nothing_in_the_files_hides(name: str) -> None:
    """A letter joined by U+200D is one to see; all else without a shape is an escape."""
    text = (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").replace("\n", "")
    assert [char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Co", "Zl", "Zp"}] == []
