"""The rule tables: every example is found by its rule, no counter-example is, and the tables say what they need to."""

import json

import pytest

from callgate.model.finding import SEVERITIES
from callgate.scanner.engine import rules_version, scan
from callgate.scanner.tables import Rule, tables

RULES = {rule.id: rule for rule in tables().rules}
EXAMPLES = [(rule, text) for rule in tables().rules for text in rule.examples]
COUNTER_EXAMPLES = [(rule, text) for rule in tables().rules for text in rule.counter_examples]


def found(rule: Rule, text: str) -> dict[str, str]:
    """Rule → severity of what the scanner sees in this text, where the rule looks for it."""
    role = "description" if not rule.roles or "description" in rule.roles else rule.roles[0]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tool: dict[str, object] = {"name": "tool", "inputSchema": schema}
    if role == "description":
        tool["description"] = text
    elif role == "param_name":
        schema["properties"] = {text.replace(" ", "_"): {"type": "string"}}
    else:
        schema["properties"] = {"a": {"type": "string", "description": text}}
    return {finding.rule: finding.severity for finding in scan("tool", json.dumps(tool).encode())}


@pytest.mark.parametrize(
    ("rule", "text"), EXAMPLES, ids=[f"{rule.id}-{number}" for number, (rule, _) in enumerate(EXAMPLES)]
)
def test_an_example_is_found(rule: Rule, text: str) -> None:
    seen = found(rule, text)
    # a stronger rule of the same class may speak for the same words
    classes = {RULES[name].cls for name in seen if name in RULES}
    assert rule.id in seen or rule.cls in classes


@pytest.mark.parametrize(
    ("rule", "text"), COUNTER_EXAMPLES, ids=[f"{rule.id}-{number}" for number, (rule, _) in enumerate(COUNTER_EXAMPLES)]
)
def test_a_counter_example_is_not(rule: Rule, text: str) -> None:
    assert found(rule, text).get(rule.id, "low") in ("low", "info")


def test_every_rule_says_what_it_is_and_has_both_kinds_of_examples() -> None:
    assert len(RULES) == len(tables().rules)
    for rule in tables().rules:
        assert rule.severity in SEVERITIES
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")
        assert rule.examples
        assert rule.counter_examples
        assert rule.patterns or rule.near
        for part in rule.near:
            for name in part.split("|"):
                assert any(name in words.words for words in tables().words), f"{rule.id}: no signal {name}"


def test_the_version_is_of_the_tables_and_stays_while_they_do() -> None:
    assert rules_version() == tables().version
