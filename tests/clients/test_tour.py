"""What the first start prints, pasted as it is: a real client calls a tool of the demo server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.runner import texts
from tests.peers.environments import ROOT
from tests.peers.gateway import Gateway

pytestmark = pytest.mark.clients


def test_the_printed_snippet_connects_claude_code(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    try:
        gateway.up("--demo")
        snippet = gateway.process.wait_line(lambda line: line.strip().startswith("claude mcp add ")).strip()
        gateway.cli("tools", "approve", "--all", "--yes")
        driver = [sys.executable, "-m", "tests.clients.drivers.claude_code", "pasted"]
        asked = ["callgate", "demo__read_order", json.dumps({"order_id": "A-1001"})]
        done = subprocess.run([*driver, snippet, *asked], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert "mcp__callgate__demo__read_order" in report["tools"]
        assert "A-1001" in texts(report["result"])
    finally:
        gateway.stop()
