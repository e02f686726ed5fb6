"""Limits over three gateways on one PostgreSQL: exactly as many calls reach the upstream as the rule lets through."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peers.gateway import Gateway, http_upstream, replicas
from tests.peers.raw_client import RawClient
from tests.support.postgres import OWNER, Cluster
from tests.support.shop import Shop, open_shop

pytestmark = pytest.mark.postgres
CALLS, LIMIT, WORKERS = 1000, 100, 50


@dataclass
class Lab:
    gateways: list[Gateway]
    token: str
    shop: Shop

    def outcome(self, client: RawClient, tool: str) -> str:
        result = client.call(tool, order_id="A-1001")
        code: str = result.get("_meta", {}).get("callgate/decision", {}).get("code", "done")
        return code

    def many(self, tool: str, calls: int) -> Counter[str]:
        """So many calls at once, spread over the replicas, as many clients."""

        def work(number: int) -> list[str]:
            gateway = self.gateways[number % len(self.gateways)]
            with RawClient(f"{gateway.url}/mcp", self.token) as client:
                return [self.outcome(client, tool) for _ in range(calls // WORKERS)]

        with ThreadPoolExecutor(WORKERS) as pool:
            return Counter(code for codes in pool.map(work, range(WORKERS)) for code in codes)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE journey_limits OWNER {OWNER}")
    with ExitStack() as stack:
        shop = stack.enter_context(open_shop())
        place = tmp_path_factory.mktemp("limits")
        gateways = replicas(stack, place, pg_cluster.url("journey_limits"), 3)
        gateways[0].govern([http_upstream("shop", shop.url)])
        rules: list[dict[str, Any]] = [
            {"id": "reads", "title": "A hundred reads an hour", "effect": "deny", "match": {"tool": ["read_order"]},
             "limit": {"kind": "rate", "most": LIMIT, "window_s": 86400, "per": ["person"]}},
        ]  # fmt: skip
        path = place / "rules.yaml"
        path.write_text(json.dumps({"rules": rules}))
        gateways[0].cli("apply", "-f", str(path))
        yield Lab(gateways, gateways[0].token(), shop)


def test_a_thousand_calls_against_a_limit_of_a_hundred(lab: Lab) -> None:
    before = lab.shop.calls
    found = lab.many("shop__read_order", CALLS)
    assert found == {"done": LIMIT, "limit_reached": CALLS - LIMIT}
    assert lab.shop.calls == before + LIMIT


def test_the_refusal_says_when_to_come_back_and_is_on_record(lab: Lab) -> None:
    with RawClient(f"{lab.gateways[1].url}/mcp", lab.token) as client:
        result = client.call("shop__read_order", order_id="A-1001")
    assert result["isError"]
    assert result["_meta"]["callgate/decision"]["retry_after_s"] >= 1
    lines = [json.loads(line) for line in lab.gateways[0].cli("audit", "export", "--json").splitlines()]
    assert sum(line["code"] == "limit_reached" for line in lines) == CALLS - LIMIT + 1
    assert urllib.request.urlopen(f"{lab.gateways[2].url}/readyz", timeout=5).status == 200
