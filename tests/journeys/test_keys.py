"""Three gateways whose keysets AWS KMS wraps (moto): rotated, wrapped by another key, away, disabled and destroyed,
while people call with secrets that only these keys open."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.peers.gateway import CommandFailed, Gateway, replicas
from tests.peers.raw_client import RawClient
from tests.support.aws import VARIABLES, Aws, aws
from tests.support.load import Load
from tests.support.postgres import OWNER, Cluster
from tests.support.shop import Shop, open_shop

pytestmark = pytest.mark.postgres
ANA, BEN = "ana@acme.test", "ben@acme.test"
BOUND = 2.0 + 1.0  # the fleet's poll and the look after it
DATABASE = "journey_keys"
TOOLS = ["shared__list_orders", "own__list_orders"]


class Lab:
    def __init__(self, gateways: list[Gateway], cloud: Aws, arns: list[str], shop: Shop, cluster: Cluster) -> None:
        self._cluster = cluster
        self.gateways = gateways
        self.cloud = cloud
        self.arns = arns
        self.shop = shop
        self.tokens = {email: gateways[0].token(email) for email in (ANA, BEN)}

    def age_keys(self) -> None:
        """As if they were made a day ago: keys of the last minute are not rotated."""
        self._cluster.sql("UPDATE keysets SET rotated = rotated - 86400", DATABASE)

    def codes(self) -> set[str]:
        """How a call to each upstream ends, on each gateway."""
        found = set()
        for gateway in self.gateways:
            with RawClient(f"{gateway.url}/mcp", self.tokens[ANA]) as client:
                for tool in TOOLS:
                    result = client.call(tool)
                    found.add(result.get("_meta", {}).get("callgate/decision", {}).get("code", "done"))
        return found

    def until(self, codes: set[str], seconds: float) -> set[str]:
        """Look until it is so, or for so long."""
        end = time.monotonic() + seconds
        while (found := self.codes()) != codes and time.monotonic() < end:
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    with ExitStack() as stack:
        cloud = stack.enter_context(aws())
        shop = stack.enter_context(open_shop())
        arns = [cloud.key(), cloud.key()]
        uris = ",".join(f"aws-kms://{arn}" for arn in arns)
        settings = {
            **VARIABLES, "AWS_ENDPOINT_URL_KMS": cloud.url, "CALLGATE_KMS": uris,
            "CALLGATE_KMS_CHECK_SECONDS": "1", "TOKEN": "shared-secret",
        }  # fmt: skip
        gateways = replicas(
            stack, tmp_path_factory.mktemp("keys"), pg_cluster.url(DATABASE), 3, settings
        )  # fmt: skip
        first = gateways[0]
        first.govern([], approve=False)
        first.cli("people", "add", BEN)
        first.cli("upstreams", "add", "shared", shop.url, "--auth-env", "TOKEN", "--allow-private")
        first.cli("upstreams", "add", "own", shop.url, "--auth", "own_token", "--allow-private")
        for email in (ANA, BEN):
            first.cli("connections", "connect", "own", "--person", email, "--token-env", "TOKEN")
        for name in ("shared", "own"):
            first.cli("upstreams", "refresh", name)
        first.cli("tools", "approve", "--all", "--yes")
        yield Lab(gateways, cloud, arns, shop, pg_cluster)


def test_a_rotation_and_another_wrapping_key_under_load(lab: Lab) -> None:
    first = lab.gateways[0]
    before = json.loads(first.cli("keys", "status", "--json"))
    assert before["wrapped_by"] == f"aws-kms://{lab.arns[0]}"
    loads = [Load(gateway, lab.tokens[ANA], TOOLS * 4) for gateway in lab.gateways]
    time.sleep(1.0)
    with pytest.raises(CommandFailed, match="wait 60 s"):
        first.cli("keys", "rotate")
    lab.age_keys()
    first.cli("keys", "rotate")
    assert "aws-kms" in lab.gateways[1].cli("keys", "rewrap")
    time.sleep(BOUND)
    outcomes = [code for load in loads for _, code in load.stop()]
    assert set(outcomes) == {"done"}
    assert len(outcomes) > 300
    after = json.loads(lab.gateways[2].cli("keys", "status", "--json"))
    assert after["seals"] != before["seals"]
    assert after["sealed"][after["seals"]] == sum(before["sealed"].values()) == 3
    assert after["stray"] == 0


def test_a_service_that_is_away_stops_nobody_and_no_off_boarding(lab: Lab) -> None:
    lab.cloud.away()
    try:
        time.sleep(2.5)
        assert lab.codes() == {"done"}
        left = json.loads(lab.gateways[1].cli("people", "deactivate", BEN, "--json"))
        assert left["summary"]["upstreams"] == ["own"]
    finally:
        lab.cloud.back()
    assert lab.until({"done"}, 10) == {"done"}


def test_a_disabled_key_stops_every_gateway(lab: Lab) -> None:
    for arn in lab.arns:
        lab.cloud.disable(arn)
    assert lab.until({"keys_refused"}, 10) == {"keys_refused"}
    before = lab.shop.calls
    assert lab.codes() == {"keys_refused"}
    assert lab.shop.calls == before
    with RawClient(f"{lab.gateways[0].url}/mcp", lab.tokens[ANA]) as client:
        said = client.call(TOOLS[0])["content"][0]["text"]
    assert "AWS KMS refused" in said
    lab.gateways[2].stop()
    with pytest.raises(TimeoutError, match="AWS KMS refused"):
        lab.gateways[2].up(seconds=30)
    for arn in lab.arns:
        lab.cloud.enable(arn)
    lab.gateways[2].up()
    assert lab.until({"done"}, 10) == {"done"}


def test_destroyed_is_destroyed_everywhere(lab: Lab) -> None:
    first = lab.gateways[0]
    with pytest.raises(CommandFailed, match="must be default"):
        first.cli("keys", "destroy", "acme")
    assert lab.codes() == {"done"}
    first.cli("keys", "destroy", "default")
    began = time.monotonic()
    assert lab.until({"keys_destroyed"}, 20) == {"keys_destroyed"}
    assert time.monotonic() - began < 20
    with pytest.raises(CommandFailed, match="destroyed"):
        first.cli("keys", "rotate")
    first.cli("upstreams", "add", "plain", lab.shop.url, "--allow-private")
    lab.gateways[1].stop()
    lab.gateways[1].up()
    assert lab.codes() == {"keys_destroyed"}, "nothing comes back with a restart"
    assert json.loads(first.cli("keys", "status", "--json"))["destroyed"]
