"""The official suite against our authorization server: every check of both scenarios. Where it asks a person to open
an address, a browser of somebody who is signed in does, and allows what it shows."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.suite import CURRENT, PACKAGE
from tests.peers.environments import node, program
from tests.peers.processes import Process
from tests.support.openid import free_port
from tests.support.running import Running, running
from tests.support.signing_in import account


def listens(port: int, seconds: float = 30) -> None:
    """Wait until somebody takes connections there: the suite shows the address before it does."""
    end = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, f"nobody listens on {port}"
        time.sleep(0.05)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "data", client_documents="on") as found:
        yield found


def test_the_official_suite_finds_nothing_wrong(run: Running, tmp_path: Path) -> None:
    port = free_port()
    redirect = f"http://127.0.0.1:{port}/callback"
    client = run.operator.post("/clients", {"name": "suite", "redirect_uris": [redirect]})
    person = account(run, "ana@acme.test")
    command = [
        node(), program(PACKAGE, version=CURRENT), "authorization", "--url", run.url, "--client-id",
        client["client_id"], "--resource", f"{run.url}/mcp", "-p", str(port), "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    with Process(command) as suite:
        address = suite.wait_line(lambda line: line.startswith(f"{run.url}/oauth/authorize?"))
        listens(port)
        person.submit(person.get(address), answer="allow")
        assert suite.popen.wait(60) == 0, suite.text()
    checks = [one for file in (tmp_path / "out").rglob("checks.json") for one in json.loads(file.read_text())]
    failed = [one for one in checks if one["status"] not in ("SUCCESS", "INFO")]
    assert not failed, json.dumps(failed, indent=1)
    assert sum(one["status"] == "SUCCESS" for one in checks) >= 3
