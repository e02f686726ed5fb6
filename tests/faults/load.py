"""Load on a gateway while something under it breaks, and the promise that is checked afterwards.

The upstream writes its own log of every call, before it answers. Calls have names of their own (numbered tools), so
that log, audit and what clients have got can be compared.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.peers.gateway import Gateway
from tests.peers.raw_client import RawClient, RpcError

WORKERS = 8
VERSIONS = ("2025-11-25", "2026-07-28")
GONE = (OSError, HTTPException, ValueError)  # no answer, or a part of one
PAUSE = 0.02  # seconds after a failure


@dataclass
class Load:
    """Clients that call one numbered tool after the other. `delivered`: whole results; `refused`: errors."""

    gateway: Gateway
    token: str
    tools: int
    numbers: Iterator[int] = field(default_factory=itertools.count)
    delivered: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clients work until the end of the block, across every failure."""
        self.stop.clear()
        with ThreadPoolExecutor(WORKERS) as pool:
            workers = [pool.submit(self._work, number) for number in range(WORKERS)]
            try:
                yield
            finally:
                self.stop.set()
                for worker in workers:
                    worker.result(90)

    def _work(self, worker: int) -> None:
        while not self.stop.is_set():
            try:
                with RawClient(f"{self.gateway.url}/mcp/u/many", self.token, version=VERSIONS[worker % 2]) as client:
                    self._call_on(client)
            except (*GONE, RpcError):  # also of the handshake
                self._count_refusal()

    def _call_on(self, client: RawClient) -> None:
        while not self.stop.is_set():
            name = f"many_{next(self.numbers) % self.tools:05d}"
            try:
                failed = client.call(name).get("isError")
            except RpcError:
                failed = True
            if failed:
                self._count_refusal()
            else:
                with self._lock:
                    self.delivered[name] += 1

    def _count_refusal(self) -> None:
        with self._lock:
            self.refused += 1
        self.stop.wait(PAUSE)

    def until(self, check: Callable[[], bool], seconds: float = 60) -> None:
        """Let the clients work until this is so. Raises `AssertionError` when it does not come to that."""
        end = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < end, f"delivered {self.delivered.total()}, refused {self.refused}, and no more"
            self.stop.wait(PAUSE / 4)


@dataclass(frozen=True)
class Records:
    """What the upstream has noted, and what the gateway has."""

    gateway: Gateway
    log: Path

    def received(self) -> Counter[str]:
        """The calls that reached the upstream, by name, from its own log."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return Counter(line["name"] for line in lines if line.get("rpc") == "tools/call" and "name" in line)

    def audited(self) -> list[dict[str, Any]]:
        lines = self.gateway.cli("audit", "export", "--json").splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if event.get("type") == "call" and "many_" in str(event.get("tool"))]

    def check(self, delivered: Counter[str]) -> None:
        """Every call that the upstream received is on record, every result delivered with its end, and none is open."""
        events = self.audited()
        missing = self.received() - Counter(_name(event) for event in events)
        assert not missing, f"{missing.total()} calls reached the upstream and are not in the audit"
        unrecorded = delivered - Counter(_name(event) for event in events if event.get("outcome") == "result")
        assert not unrecorded, f"{unrecorded.total()} results were delivered without their record"
        still_open = [event["id"] for event in events if not event.get("outcome")]
        assert not still_open, f"{len(still_open)} intents were left open"
        assert delivered


def _name(event: dict[str, Any]) -> str:
    return str(event["tool"]).rpartition("__")[2]
