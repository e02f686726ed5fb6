"""Every class that a finding can have is in docs/scanner.md, and no other."""

import re
from pathlib import Path

from callgate.scanner import catalogue, drift, model, structure, structure_params, structure_values
from callgate.scanner.judge import CLASSES, SUSPICION
from callgate.scanner.purpose import Fault
from callgate.scanner.raw import RULES
from callgate.scanner.tables import tables

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "scanner.md"
MODULES = (catalogue, drift, model, structure, structure_params, structure_values)


def test_every_class_is_documented() -> None:
    faults = {one.cls for module in MODULES for one in vars(module).values() if isinstance(one, Fault)}
    known = (
        faults
        | {rule.cls for rule in RULES.values()}
        | {rule.cls for rule in tables().rules}
        | {"too_large"}
        | {SUSPICION, *CLASSES}
    )
    text = DOCUMENT.read_text("utf-8").partition("## Classes")[2].partition("## Severities")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", text)) == known
