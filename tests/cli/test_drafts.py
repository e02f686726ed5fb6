"""`callgate policies` around drafts, as somebody types it."""

import json
from pathlib import Path

import pytest
import yaml

from tests.peers.gateway import CommandFailed, Gateway

FILE = """
rules:
  - {id: no-refunds, title: Refunds are made by people, match: {tool: ["refund_*"]}, effect: deny}
tests:
  - {id: members, tool: demo__refund_order, expect: deny, rule: no-refunds}
"""


def test_from_a_file_into_force_and_back(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    path = tmp_path / "rules.yaml"
    path.write_text(FILE)
    try:
        gateway.up("--demo")
        assert "Saved spring: 1 rules, 1 tests" in gateway.cli("policies", "draft", "spring", "-f", str(path))
        assert "add" in gateway.cli("policies", "diff", "spring")
        assert "1 tests pass" in gateway.cli("policies", "test", "spring")
        assert "calls" in gateway.cli("policies", "simulate", "spring", "--since", "1d")
        assert "is in force" in gateway.cli("policies", "publish", "spring", "--note", "as agreed")
        newest = json.loads(gateway.cli("policies", "versions", "--json"))[0]
        assert newest["note"] == "as agreed"
        shown = yaml.safe_load(gateway.cli("policies", "show", str(newest["version"])))
        assert shown["rules"][0]["id"] == "no-refunds"
        path.write_text(FILE.replace("refund_*", "other_*"))
        gateway.cli("policies", "draft", "worse", "-f", str(path))
        with pytest.raises(CommandFailed, match="members: expected deny, but it is allow by default"):
            gateway.cli("policies", "publish", "worse", "--note", "oops")
        with pytest.raises(CommandFailed, match="1 of 1 tests fail"):
            gateway.cli("policies", "test", "worse")
        assert "worse" in gateway.cli("policies", "drafts")
        gateway.cli("policies", "discard", "worse")
        assert "no-refunds" in gateway.cli("policies", "draft", "copy")
        path.write_text(FILE.replace("effect: deny", "efect: deny"))
        with pytest.raises(CommandFailed, match=r"rules\.yaml:3"):
            gateway.cli("policies", "draft", "typo", "-f", str(path))
    finally:
        gateway.stop()
