"""How long a published change takes to be enforced: `python -m scripts.measure_publish [--rounds N]`. Takes minutes.

Five gateways on one PostgreSQL, and a caller at each that calls without a pause. A round begins when a rule is
published or taken back at one of them and ends when the callers at all five see it. Half-way PostgreSQL is restarted,
with the server's connections cut.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from callgate.cli.client import Client
from callgate.errors import Refused
from scripts.measure_detection import line
from scripts.postgres import DURABLE, OWNER, Cluster
from tests.peers.gateway import Gateway, http_upstream, replicas
from tests.peers.raw_client import RawClient
from tests.support.shop import open_shop

REPLICAS = 5
PATIENCE_SECONDS = 30  # the bound that is never exceeded
RULE = {"id": "stop", "title": "Stop", "effect": "deny", "match": {"tool": ["read_order"]}}


class Caller(threading.Thread):
    """Calls one gateway without a pause; `denied` is what the last answer said."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        super().__init__(daemon=True)
        self._gateway, self._token = gateway, token
        self.denied: bool | None = None
        self.changed_at = 0.0
        self.turned = threading.Condition()
        self.over = False

    def run(self) -> None:
        while not self.over:
            try:
                with RawClient(f"{self._gateway.url}/mcp", self._token) as client:
                    while not self.over:
                        self._look(client)
                        time.sleep(0.01)
            except (OSError, ValueError, KeyError):
                time.sleep(0.05)  # PostgreSQL is restarting: calls are refused

    def _look(self, client: RawClient) -> None:
        said = client.call("shop__read_order", order_id="A-1001").get("_meta", {}).get("callgate/decision", {})
        code = said.get("code", "")
        if code not in ("", "denied_by_rule"):
            return  # refused for another reason, such as a store that is away
        with self.turned:
            if self.denied is not (code != ""):
                self.denied, self.changed_at = code != "", time.monotonic()
                self.turned.notify_all()

    def until(self, wanted: bool) -> float:
        """When answers began to be so."""
        with self.turned:
            if not self.turned.wait_for(lambda: self.denied is wanted, PATIENCE_SECONDS):
                raise SystemExit(f"A gateway has not followed within {PATIENCE_SECONDS} s.")
            return self.changed_at


class Admin:
    """Publishes rules over one gateway's API; tries again while the store is away."""

    def __init__(self, gateway: Gateway) -> None:
        self._socket = gateway.data_dir / "control.sock"

    def publish(self, denied: bool) -> float:
        """Publish, and when it was done."""
        while True:
            client = Client.at_socket(self._socket)
            try:
                client.put("/policies/drafts/round", {"rules": [RULE] if denied else [], "rebase": True})
                began = time.monotonic()
                client.post("/policies/drafts/round/publish", {"note": "round"})
                return began
            except Refused:
                time.sleep(0.2)
            finally:
                client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="changes that are published (default 100)")
    asked = parser.parse_args()
    with ExitStack() as stack:
        cluster = Cluster.start(DURABLE)
        stack.callback(cluster.destroy)
        cluster.sql(f"CREATE DATABASE publish OWNER {OWNER}")
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callgate-publish-")))
        shop = stack.enter_context(open_shop())
        gateways = replicas(stack, place, cluster.url("publish"), REPLICAS)
        gateways[0].govern([http_upstream("shop", shop.url)])
        token = gateways[0].token()
        callers = [Caller(gateway, token) for gateway in gateways]
        for caller in callers:
            caller.start()
            caller.until(False)
        admin = Admin(gateways[0])
        calm: list[float] = []
        restarted: list[float] = []
        for number in range(asked.rounds):
            restarting = number == asked.rounds // 2
            if restarting:
                cluster.restart("fast")
            began = admin.publish(denied=number % 2 == 0)
            seen = max(caller.until(number % 2 == 0) for caller in callers) - began
            (restarted if restarting or (restarted and len(restarted) < 5) else calm).append(seen)
        for caller in callers:
            caller.over = True
            caller.join()
    print("| seconds | rounds | p50 | p99 | most |\n| --- | --- | --- | --- | --- |")
    print(line(f"a published rule, until {REPLICAS} gateways enforce it", calm))
    print(line("the same right after PostgreSQL was restarted", restarted))
    print(json.dumps({"calm": calm, "restarted": restarted}), file=sys.stderr)


if __name__ == "__main__":
    main()
