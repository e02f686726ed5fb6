"""How long a changed tool stays callable: `python -m scripts.measure_detection [--rounds N]`. Takes some minutes.

Two gateways on one PostgreSQL, a real stdio server whose tool changes, and a caller at each gateway that calls without
a pause. A round begins when the server offers another description and ends when both callers are refused. The gap is
what replicas differ by: from the first refusal at either to the first at the other.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from scripts.postgres import DURABLE, OWNER, Cluster
from tests.peers.gateway import Gateway, replicas, stdio_upstream
from tests.peers.raw_client import RawClient

REFRESH_SECONDS = 5
PATIENCE_SECONDS = 60
PROGRAM = """import json, os, sys, threading, time
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def watch():
    seen = os.stat(sys.argv[1]).st_mtime_ns
    while True:
        time.sleep(0.002)
        now = os.stat(sys.argv[1]).st_mtime_ns
        if now != seen and "loud" in open(sys.argv[1]).read():
            say(method="notifications/tools/list_changed")
        seen = now
threading.Thread(target=watch, daemon=True).start()
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method = message["method"]
    if method == "initialize":
        about = {"name": "moody", "version": "1"}
        offers = {"tools": {"listChanged": True}}
        say(id=message["id"], result={"protocolVersion": "2025-06-18", "capabilities": offers, "serverInfo": about})
    elif method == "tools/list":
        text = open(sys.argv[1]).read().replace("loud", "").strip()
        tool = {"name": "mood", "description": text, "inputSchema": {"type": "object"}}
        say(id=message["id"], result={"tools": [tool]})
    elif method == "tools/call":
        say(id=message["id"], result={"content": [{"type": "text", "text": "good"}]})
    else:
        say(id=message["id"], error={"code": -32601, "message": "no such method"})
"""


class Caller(threading.Thread):
    """Calls one gateway without a pause. `callable` is what the last answer said, `changed_at` since when."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        super().__init__(daemon=True)
        self._client = RawClient(f"{gateway.url}/mcp", token)
        self.callable = True
        self.changed_at = 0.0
        self.turned = threading.Condition()
        self.over = False

    def run(self) -> None:
        with self._client as client:
            while not self.over:
                now = "callgate/decision" not in client.call("moody__mood").get("_meta", {})
                with self.turned:
                    if now != self.callable:
                        self.callable, self.changed_at = now, time.monotonic()
                        self.turned.notify_all()
                time.sleep(0.001)

    def until(self, wanted: bool) -> float:
        """When calls began to end so."""
        with self.turned:
            if not self.turned.wait_for(lambda: self.callable == wanted, PATIENCE_SECONDS):
                raise SystemExit(f"A call is {'refused' if wanted else 'served'} after {PATIENCE_SECONDS} s.")
            return self.changed_at


def measured(path: Path, callers: Sequence[Caller], rounds: int, *, loud: bool) -> tuple[list[float], list[float]]:
    """Seconds from the change to the last refusal, and from the first refusal to the last, of each round."""
    windows, gaps = [], []
    for number in range(rounds):
        time.sleep((number % 10) * REFRESH_SECONDS / 10 if not loud else 0.05)
        began = time.monotonic()
        path.write_text(f"Says how it feels, differently. {'loud' if loud else ''}")
        refused = [caller.until(False) for caller in callers]
        windows.append(max(refused) - began)
        gaps.append(max(refused) - min(refused))
        path.write_text("Says how it feels. loud")
        for caller in callers:
            caller.until(True)
    return windows, gaps


def line(name: str, seconds: Sequence[float]) -> str:
    """A row of the table."""
    found = sorted(seconds)
    at = [found[min(len(found) - 1, int(len(found) * share))] for share in (0.5, 0.99)]
    return f"| {name} | {len(found)} | {at[0]:.3f} | {at[1]:.3f} | {found[-1]:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="changes that the server announces (default 100)")
    parser.add_argument("--silent", type=int, default=20, help="changes that it keeps to itself (default 20)")
    asked = parser.parse_args()
    with ExitStack() as stack:
        cluster = Cluster.start(DURABLE)
        stack.callback(cluster.destroy)
        cluster.sql(f"CREATE DATABASE detection OWNER {OWNER}")
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callgate-detection-")))
        public = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callgate-moody-")))
        public.chmod(0o755)  # the server runs as somebody else
        program, text = public / "server.py", public / "mood"
        program.write_text(PROGRAM)
        text.write_text("Says how it feels.")
        gateways = replicas(
            stack, place, cluster.url("detection"), 2, {"CALLGATE_REFRESH_SECONDS": str(REFRESH_SECONDS)}
        )
        gateways[0].govern([stdio_upstream("moody", [sys.executable, program, text])])
        token = gateways[0].token()
        callers = [Caller(gateway, token) for gateway in gateways]
        for caller in callers:
            caller.start()
            caller.until(True)
        announced, gaps = measured(text, callers, asked.rounds, loud=True)
        silent, more = measured(text, callers, asked.silent, loud=False)
        for caller in callers:
            caller.over = True
            caller.join()
    print("| seconds | rounds | p50 | p99 | most |\n| --- | --- | --- | --- | --- |")
    print(line("an announced change, until it is refused everywhere", announced))
    print(line(f"a silent one, with a look every {REFRESH_SECONDS} s", silent))
    print(line("between the first replica that refuses and the last", [*gaps, *more]))
    print(json.dumps({"announced": announced, "silent": silent, "gaps": [*gaps, *more]}), file=sys.stderr)


if __name__ == "__main__":
    main()
