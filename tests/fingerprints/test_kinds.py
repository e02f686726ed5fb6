"""Every kind of change is in the documentation with its severity, and none is there that does not exist."""

import re
from pathlib import Path

from callgate.fingerprints.kinds import KINDS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "drift.md"


def test_the_document_lists_each_kind_with_its_severity() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition("## Kinds")[2]
    listed = dict(re.findall(r"(?m)^\| `([a-z_]+)` \| (info|low|medium|high|critical) \|", table))
    assert listed == {name: kind.severity for name, kind in KINDS.items()}
