"""A thousand calls with access tokens that live five seconds and refresh tokens that are good once, over three
replicas: no call fails, and the provider sees no refresh token twice."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.gateway import PERSON, Gateway, replicas
from tests.peers.raw_client import RawClient
from tests.support.openid import Guarded, Provider, open_guarded, open_provider
from tests.support.postgres import OWNER, Cluster
from tests.support.robot import Robot
from tests.support.signing_in import enrolled

pytestmark = pytest.mark.postgres
CALLS, WORKERS, SECONDS = 1000, 8, 16.0


def connected(gateway: Gateway, provider: Provider, login: str) -> Robot:
    """The admin connects their account at the shop."""
    robot = enrolled(gateway.url, json.loads(gateway.cli("people", "invite", PERSON, "--json"))["url"])
    page = provider.sign_in(robot, robot.submit(robot.get("/connections/shop")), login)
    assert "is connected" in page.words, page.words
    return robot


def many(gateways: list[Gateway], token: str) -> Counter[str]:
    """The calls, over all replicas, in about as many seconds as it takes for some tokens to be over."""

    def work(number: int) -> list[str]:
        texts = []
        with ExitStack() as stack:
            clients = [stack.enter_context(RawClient(f"{one.url}/mcp", token)) for one in gateways]
            for count in range(CALLS // WORKERS):
                result = clients[(number + count) % len(clients)].call("shop__list_orders")
                texts.append(result["content"][0]["text"])
                time.sleep(SECONDS * WORKERS / CALLS)
        return texts

    with ThreadPoolExecutor(WORKERS) as pool:
        return Counter(text for texts in pool.map(work, range(WORKERS)) for text in texts)


def test_a_thousand_calls_with_short_tokens(tmp_path: Path, pg_cluster: Cluster) -> None:
    pg_cluster.sql(f"CREATE DATABASE journey_renewal OWNER {OWNER}")
    with ExitStack() as stack:
        provider = stack.enter_context(open_provider({"vendor-ana": {}}, accessSeconds=5))
        shop: Guarded = stack.enter_context(open_guarded(provider))
        gateways = replicas(stack, tmp_path, pg_cluster.url("journey_renewal"), 3)
        gateways[0].govern([], approve=False)
        gateways[0].cli("upstreams", "add", "shop", shop.url, "--auth", "on_behalf_of", "--allow-private")
        connected(gateways[0], provider, "vendor-ana")
        gateways[0].cli("upstreams", "refresh", "shop")
        gateways[0].cli("tools", "approve", "--all", "--yes")
        found = many(gateways, gateways[0].token())
        assert found == {"for vendor-ana": CALLS}, found
        counts = provider.counts()
        assert counts["refreshes"] >= 3, "nothing had to be renewed: the test shows nothing"
        assert counts["reused"] == 0
        assert set(shop.subjects) == {"vendor-ana"}
