"""Starting and steering the hostile HTTP upstream from a test."""

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.peers.environments import SERVERS
from tests.peers.processes import Process


class HostileUpstream(Process):
    """servers/hostile_http.py in a process of its own. It needs the standard library only, so any Python will do."""

    def __init__(self, era: str = "both", *, log: Path | None = None, options: Sequence[str] = ()) -> None:
        written = ["--log", str(log)] if log is not None else []
        super().__init__([sys.executable, SERVERS / "hostile_http.py", "--era", era, *written, *options])
        self.url = self.wait_ready()
        self._base = self.url.removesuffix("/mcp")

    def control(self, **change: Any) -> dict[str, Any]:
        """Change its manners (see hostile_http.Control) and get all of them back."""
        request = urllib.request.Request(f"{self._base}/__control", json.dumps(change).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def log(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self._base}/__log", timeout=10) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def calls(self) -> list[dict[str, Any]]:
        """The tools/call requests that have arrived, in order."""
        return [entry for entry in self.log() if entry.get("rpc") == "tools/call"]

    def wait_log(self, wanted: Callable[[list[dict[str, Any]]], bool], seconds: float = 20) -> list[dict[str, Any]]:
        """The log as soon as it is as wanted. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while not wanted(found := self.log()):
            if time.monotonic() > end:
                raise TimeoutError(f"the upstream has not seen what was waited for, only {len(found)} lines")
            time.sleep(0.02)
        return found
