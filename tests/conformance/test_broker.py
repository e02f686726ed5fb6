"""The official suite's client scenarios of authorization, with the gateway as the client: all that are scored, and
client credentials and enterprise-managed authorization. Each runs by itself, as its time-outs expect."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import Coverage

from tests.conformance.suite import CURRENT, PACKAGE
from tests.peers.environments import ROOT, node, program

SCORED = (
    "metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd",
    "scope-from-www-authenticate", "scope-from-scopes-supported", "scope-omitted-when-undefined", "scope-step-up",
    "scope-retry-limit", "token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none",
    "pre-registration", "resource-mismatch", "offline-access-scope", "offline-access-not-supported",
    "authorization-server-migration", "iss-supported", "iss-not-advertised", "iss-supported-missing",
    "iss-wrong-issuer", "iss-unexpected", "iss-normalized", "metadata-issuer-mismatch",
)  # fmt: skip
EXTENSIONS = ("client-credentials-jwt", "client-credentials-basic", "enterprise-managed-authorization")


def test_every_scored_scenario_is_here() -> None:
    listed = _suite("list", "--requirements", "2026-07-28").stdout
    scored = listed.split("extension")[0]
    assert sorted(f"auth/{name}" for name in SCORED) == sorted(
        line.strip().removeprefix("- ") for line in scored.splitlines() if line.strip().startswith("- auth/")
    )


@pytest.mark.parametrize("name", [*SCORED, *EXTENSIONS])
def test_a_scenario(name: str, tmp_path: Path) -> None:
    measured = "-m coverage run " if Coverage.current() is not None else ""
    command = f"{sys.executable} {measured}-m tests.conformance.broker_client"
    done = _suite(
        "client", "--command", command, "--scenario", f"auth/{name}", "--timeout", "90000", "-o", str(tmp_path),
        *(() if name in EXTENSIONS else ("--spec-version", "2026-07-28")),
    )  # fmt: skip
    checks = [one for file in tmp_path.rglob("checks.json") for one in json.loads(file.read_text())]
    failed = [one for one in checks if one["status"] not in ("SUCCESS", "INFO", "SKIPPED")]
    assert not failed, json.dumps(failed, indent=1) + done.stdout[-3000:]
    assert any(one["status"] == "SUCCESS" for one in checks), done.stdout + done.stderr


def _suite(*arguments: str) -> "subprocess.CompletedProcess[str]":
    suite = program(PACKAGE, version=CURRENT)
    return subprocess.run(
        [str(node()), str(suite), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150,
        check=False, cwd=ROOT,
    )  # fmt: skip
