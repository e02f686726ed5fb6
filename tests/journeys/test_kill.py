"""A kill switch over three gateways: what is under way ends, nothing more gets through, and it can be undone."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peers.gateway import PERSON, Gateway, http_upstream, replicas
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient, RpcError
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.postgres
WHAT: list[tuple[str, ...]] = [("--upstream", "old"), ("--person", PERSON), ("--agent", "bot"), ("--all",)]


@dataclass
class Lab:
    gateways: list[Gateway]
    token: str
    upstream: HostileUpstream

    def call(self, gateway: Gateway, tool: str) -> str:
        """`done`, the code of a refusal, or `cancelled`."""
        try:
            with RawClient(f"{gateway.url}/mcp/u/old", self.token, version="2025-11-25") as client:
                result = client.call(tool)
        except RpcError as error:
            return str(error.error["data"]["code"])
        code: str = result.get("_meta", {}).get("callgate/decision", {}).get("code", "done")
        return code


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE journey_kill OWNER {OWNER}")
    with ExitStack() as stack:
        upstream = stack.enter_context(HostileUpstream("legacy"))
        place = tmp_path_factory.mktemp("kill")
        gateways = replicas(stack, place, pg_cluster.url("journey_kill"), 3)
        gateways[0].govern([http_upstream("old", upstream.url)])
        path = place / "agents.yaml"
        path.write_text(json.dumps({"agents": [{"name": "bot"}]}))
        gateways[0].cli("apply", "-f", str(path))
        token = gateways[0].cli("tokens", "issue", "--person", PERSON, "--agent", "bot").strip()
        yield Lab(gateways, token, upstream)


@pytest.mark.parametrize("what", WHAT, ids=lambda what: what[0])
def test_what_is_switched_off_stops_everywhere(lab: Lab, what: tuple[str, ...]) -> None:
    waiting_before = len([line for line in lab.upstream.calls() if line.get("name") == "wait"])
    with ThreadPoolExecutor(3) as pool:
        under_way = [pool.submit(lab.call, gateway, "wait") for gateway in lab.gateways]
        lab.upstream.wait_log(lambda lines: sum(line.get("name") == "wait" for line in lines) >= waiting_before + 3)
        thrown = json.loads(lab.gateways[0].cli("kill", *what, "--reason", "it went wild.", "--json"))
        assert [one.result(30) for one in under_way] == ["cancelled"] * 3
    for gateway in lab.gateways:
        assert lab.call(gateway, "dup") == "denied_by_rule"
    assert thrown["id"] in lab.gateways[1].cli("kills")
    lab.gateways[2].cli("unkill", thrown["id"])
    end = time.monotonic() + 20
    while any(lab.call(gateway, "dup") != "done" for gateway in lab.gateways):
        assert time.monotonic() < end


def test_a_switch_is_thrown_past_stored_tests(lab: Lab, tmp_path: Any) -> None:
    path = tmp_path / "tests.yaml"
    path.write_text(json.dumps({"tests": [{"id": "t", "tool": "old__dup", "expect": "allow"}]}))
    lab.gateways[0].cli("apply", "-f", str(path))
    thrown = json.loads(lab.gateways[0].cli("kill", "--upstream", "old", "--reason", "now.", "--json"))
    lab.gateways[0].cli("unkill", thrown["id"])


@pytest.mark.parametrize("what", [(), ("--upstream", "nobody"), ("--all", "--upstream", "old")])
def test_a_switch_that_would_do_something_else_is_refused(lab: Lab, what: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match=r"no upstream|Name an upstream"):
        lab.gateways[0].cli("kill", *what, "--reason", "oops")


@pytest.mark.parametrize("how", ["leaves", "token"])
def test_calls_of_somebody_who_is_ended_end_with_them(lab: Lab, how: str) -> None:
    first = lab.gateways[0]
    email = f"{how}@acme.test"
    first.cli("people", "add", email)
    issued = json.loads(first.cli("tokens", "issue", "--person", email, "--json"))
    own = Lab(lab.gateways, issued["token"], lab.upstream)
    before = len([line for line in lab.upstream.calls() if line.get("name") == "wait"])
    with ThreadPoolExecutor(4) as pool:
        theirs = [pool.submit(own.call, gateway, "wait") for gateway in lab.gateways]
        other = pool.submit(lab.call, lab.gateways[1], "wait")
        lab.upstream.wait_log(lambda lines: sum(line.get("name") == "wait" for line in lines) >= before + 4)
        if how == "leaves":
            first.cli("people", "deactivate", email)
        else:
            first.cli("tokens", "revoke", issued["id"])
        assert [one.result(30) for one in theirs] == ["cancelled"] * 3
        assert not other.done(), "somebody else was cut off"
        thrown = json.loads(first.cli("kill", "--all", "--reason", "over.", "--json"))
        assert other.result(30) == "cancelled"
    first.cli("unkill", thrown["id"])
