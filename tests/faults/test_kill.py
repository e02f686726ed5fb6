"""Kill -9 under load: every call that the upstream received is in the audit, and no result came without its record."""

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gateway import Gateway, http_upstream
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient, RpcError

WORKERS = 8
VERSIONS = ("2025-11-25", "2026-07-28")
SEED = 20261123


@dataclass
class Load:
    """Calls a tool of its own each time, so that names tell the calls apart. `delivered` is what clients have got."""

    gateway: Gateway
    token: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    delivered: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self, worker: int) -> None:
        """Until the gateway goes away."""
        url = f"{self.gateway.url}/mcp/u/many"
        try:
            with RawClient(url, self.token, version=VERSIONS[worker % 2], seconds=20) as client:
                while not self.stop.is_set():
                    name = f"many_{next(self.numbers):05d}"
                    if not client.call(name).get("isError"):
                        self.delivered.add(name)
        except (OSError, HTTPException, RpcError, ValueError):
            return


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    upstream: HostileUpstream
    log: Path

    def received(self) -> list[str]:
        """Names of the numbered tools that the upstream was asked for, from its own record."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return [line["name"] for line in lines if line.get("rpc") == "tools/call"]

    def audited(self) -> list[dict[str, Any]]:
        lines = self.gateway.cli("audit", "export", "--json").splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if event.get("type") == "call" and "many_" in str(event.get("tool"))]


def run_rounds(lab: Lab, token: str, rounds: int) -> set[str]:
    """Load, kill at a moment that the seed decides, start again; the names whose results were delivered."""
    chance = random.Random(SEED)
    load = Load(lab.gateway, token)
    for _ in range(rounds):
        before = len(lab.received())
        with ThreadPoolExecutor(WORKERS) as pool:
            workers = [pool.submit(load.work, number) for number in range(WORKERS)]
            end = time.monotonic() + 30
            target = before + chance.randrange(5, 60)
            while len(lab.received()) < target and time.monotonic() < end:
                time.sleep(chance.random() / 100)
            lab.gateway.process.popen.kill()
            lab.gateway.process.popen.wait(10)
            for worker in workers:
                worker.result(60)
        assert len(lab.received()) > before, "no load reached the upstream"
        lab.gateway.stop()
        lab.gateway.up()
    return load.delivered


def check(lab: Lab, delivered: set[str]) -> None:
    events = lab.audited()
    recorded = {str(event["tool"]).rpartition("__")[2]: event for event in events}
    missing = set(lab.received()) - set(recorded)
    assert not missing, f"{len(missing)} calls reached the upstream and are not in the audit"
    unrecorded = {name for name in delivered if recorded.get(name, {}).get("outcome") != "result"}
    assert not unrecorded, f"{len(unrecorded)} results were delivered without their record"
    assert all(event.get("outcome") for event in events), "an intent was left open"
    assert delivered


@pytest.mark.parametrize(("rounds", "tools"), [(3, 1500), pytest.param(20, 8000, marks=pytest.mark.soak)])
def test_kill_dash_nine_loses_no_record(tmp_path: Path, rounds: int, tools: int) -> None:
    log = tmp_path / "upstream.jsonl"
    with HostileUpstream(log=log, options=["--many", str(tools), "--page", "1000"]) as upstream:
        gateway = Gateway(tmp_path)
        try:
            gateway.up()
            gateway.govern([http_upstream("many", upstream.url)])
            lab = Lab(gateway, upstream, log)
            check(lab, run_rounds(lab, gateway.token(), rounds))
        finally:
            gateway.stop()
