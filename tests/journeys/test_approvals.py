"""Parked calls from outside: two gateways on one PostgreSQL, an upstream that counts, reviewers at the command line.

Whatever happens to a parked call, the upstream sees it exactly once or not at all, as it should.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peers.gateway import PERSON, Gateway, http_upstream, replicas
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient, RpcError
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.postgres
LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = pytest.mark.parametrize("version", [LEGACY, MODERN])


def rule(tool: str, **approval: Any) -> dict[str, Any]:
    return {
        "id": tool.replace("_", "-"), "title": f"Somebody looks at {tool}", "effect": "require_approval",
        "match": {"tool": [tool]}, "approval": {"expires_s": 60, **approval},
    }  # fmt: skip


@dataclass
class Lab:
    stack: ExitStack
    gateways: list[Gateway]
    tokens: dict[str, str]
    upstream: HostileUpstream
    number: int = 0

    def fresh(self) -> dict[str, Any]:
        """Arguments that no other call has."""
        self.number += 1
        return {"n": self.number}

    def client(self, replica: int, version: str = LEGACY, person: str = PERSON) -> RawClient:
        return RawClient(f"{self.gateways[replica].url}/mcp/u/old", self.tokens[person], version=version)

    def call(self, replica: int, arguments: dict[str, Any], version: str = LEGACY, tool: str = "dup") -> Any:
        """One call as a client makes it: a modern one goes on in legs by itself."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments, "_meta": {"progressToken": 7}}
        with self.client(replica, version) as client:
            result = client.ask("tools/call", params)
            for _ in range(9):
                if result.get("resultType") != "input_required":
                    break
                result = client.ask("tools/call", {**params, "requestState": result["requestState"]})
            return {**result, "notices": client.notices}

    def cli(self, *arguments: str, replica: int = 1) -> Any:
        return json.loads(self.gateways[replica].cli(*arguments, "--json"))

    def pending(self) -> list[dict[str, Any]]:
        return list(self.cli("approvals", "list"))

    def parked(self) -> str:
        """The id of the one call that waits; waits for it."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = self.pending()
            if found:
                assert len(found) == 1
                return str(found[0]["id"])
        raise TimeoutError("nothing was parked")

    def reached(self, arguments: dict[str, Any]) -> int:
        """How often the upstream saw the call with these arguments."""
        lines = [line for line in self.upstream.calls() if line.get("rpc") == "tools/call"]
        return sum(json.loads(line["body"])["params"].get("arguments") == arguments for line in lines)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE journey_approvals OWNER {OWNER}")
    with ExitStack() as stack:
        upstream = stack.enter_context(HostileUpstream("legacy"))
        place = tmp_path_factory.mktemp("approvals")
        gateways = replicas(
            stack, place, pg_cluster.url("journey_approvals"), 2,
            {"CALLGATE_HOLD_SECONDS": "4", "CALLGATE_HOLD_CLIENTS": "raw-client=15"},
        )  # fmt: skip
        gateways[0].govern([http_upstream("old", upstream.url)])
        rules = [rule("dup"), rule("odd_numbers", quorum=2, reviewers=["sre"])]
        people: list[dict[str, Any]] = [
            {"email": "rev@acme.test", "roles": ["reviewer"], "teams": ["sre"]},
            {"email": "bo@acme.test", "roles": ["member"], "teams": ["sre"]},
            {"email": "eve@acme.test", "roles": ["reviewer"]},
        ]
        path = place / "rules.yaml"
        path.write_text(json.dumps({"rules": rules, "people": people}))
        gateways[0].cli("apply", "-f", str(path))
        tokens = {email: gateways[0].token(email) for email in (PERSON, *(one["email"] for one in people))}
        yield Lab(stack, gateways, tokens, upstream)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def refusal(result: Any) -> str:
    """The code of a refusal."""
    assert result["isError"]
    assert "structuredContent" not in result
    code: str = result["_meta"]["callgate/decision"]["code"]
    return code


@ERAS
def test_approved_on_one_replica_while_parked_on_another(lab: Lab, pool: ThreadPoolExecutor, version: str) -> None:
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments, version)
    parked = lab.parked()
    shown = lab.cli("approvals", "show", parked)
    assert json.loads(shown["arguments"]) == arguments
    assert (shown["person"], shown["tool"]) == (PERSON, "old__dup")
    assert lab.reached(arguments) == 0
    lab.cli("approvals", "approve", parked, "--reason", "seen it")
    result = waiting.result(30)
    assert not result.get("isError")
    assert any(notice["method"] == "notifications/progress" for notice in result["notices"])
    assert lab.reached(arguments) == 1
    after = lab.cli("approvals", "show", parked)
    assert (after["state"], after["uses"], after["arguments"]) == ("used", 1, None)


def test_a_modern_client_waits_longer_than_it_is_held(lab: Lab, pool: ThreadPoolExecutor) -> None:
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments, MODERN)
    parked = lab.parked()
    time.sleep(9)  # two legs
    assert not waiting.done()
    lab.cli("approvals", "approve", parked, "--reason", "seen it")
    assert not waiting.result(30).get("isError")
    assert lab.reached(arguments) == 1


def test_a_client_of_the_handshake_era_is_told_to_call_again_and_its_repeat_goes_through_once(lab: Lab) -> None:
    arguments = lab.fresh()
    told = lab.call(0, arguments)
    assert refusal(told) == "approval_pending"
    parked = told["_meta"]["callgate/decision"]["approval"]
    assert parked == lab.parked()
    again = lab.call(1, {"n": arguments["n"]})
    assert again["_meta"]["callgate/decision"]["approval"] == parked
    lab.cli("approvals", "approve", parked, "--reason", "seen it")
    assert not lab.call(1, arguments).get("isError")
    assert lab.reached(arguments) == 1
    assert refusal(lab.call(0, arguments)) == "approval_pending"  # used once: this is another call
    lab.cli("approvals", "deny", lab.parked(), "--reason", "enough")
    assert lab.reached(arguments) == 1


@ERAS
def test_denied_with_the_reason(lab: Lab, pool: ThreadPoolExecutor, version: str) -> None:
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments, version)
    lab.cli("approvals", "deny", lab.parked(), "--reason", "not on a Friday")
    result = waiting.result(30)
    assert refusal(result) == "approval_denied"
    assert "not on a Friday" in result["content"][0]["text"]
    assert refusal(lab.call(1, arguments, version)) == "approval_denied"
    assert lab.reached(arguments) == 0


def test_expired(lab: Lab, pool: ThreadPoolExecutor) -> None:
    short = rule("dup", expires_s=2)
    lab.gateways[0].cli("rules", "remove", "dup")
    path = lab.gateways[0].place / "short.yaml"
    path.write_text(json.dumps({"rules": [short]}))
    lab.gateways[0].cli("apply", "-f", str(path))
    try:
        arguments = lab.fresh()
        assert refusal(lab.call(0, arguments)) == "approval_expired"
        assert lab.reached(arguments) == 0
    finally:
        path.write_text(json.dumps({"rules": [rule("dup")]}))
        lab.gateways[0].cli("apply", "-f", str(path))


@ERAS
def test_cancelled_by_its_caller(lab: Lab, pool: ThreadPoolExecutor, version: str) -> None:
    arguments = lab.fresh()
    with lab.client(0, version) as client:
        sent = client.send("tools/call", {"name": "dup", "arguments": arguments})
        parked = lab.parked()
        if version == LEGACY:
            with lab.client(1) as other:
                other.headers = dict(client.headers)
                other.send("notifications/cancelled", {"requestId": client.last_id}, id_=None).read()
                sent.read()
    wait_for(lambda: lab.cli("approvals", "show", parked)["state"] == "cancelled")
    assert lab.reached(arguments) == 0


def wait_for(holds: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.1)


def test_two_reviewers_at_once_are_one_decision_and_one_call(lab: Lab, pool: ThreadPoolExecutor) -> None:
    arguments = lab.fresh()
    waiting = [pool.submit(lab.call, replica, arguments) for replica in (0, 1)]
    parked = lab.parked()

    def approve(replica: int) -> bool:
        url, token = lab.gateways[replica].url, lab.tokens["rev@acme.test" if replica else "eve@acme.test"]
        try:
            lab.cli("approvals", "approve", parked, "--reason", "ok", "--url", url, "--token", token)
        except AssertionError:
            return False
        return True

    assert sorted(pool.map(approve, (0, 1))) == [False, True]
    results = [one.result(40) for one in waiting]
    assert sorted(bool(one.get("isError")) for one in results) == [False, True]
    assert lab.reached(arguments) == 1
    lab.cli("approvals", "deny", lab.parked(), "--reason", "the second one")


def test_a_rule_that_is_removed_while_a_call_is_parked_lets_it_go(lab: Lab, pool: ThreadPoolExecutor) -> None:
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments)
    lab.parked()
    path = lab.gateways[0].place / "back.yaml"
    lab.gateways[1].cli("rules", "remove", "dup")
    try:
        assert not waiting.result(30).get("isError")
        assert lab.reached(arguments) == 1
        assert lab.pending() == []
    finally:
        path.write_text(json.dumps({"rules": [rule("dup")]}))
        lab.gateways[0].cli("apply", "-f", str(path))


def test_a_tool_that_is_blocked_while_its_call_is_parked_is_not_called(lab: Lab, pool: ThreadPoolExecutor) -> None:
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments)
    parked = lab.parked()
    lab.gateways[1].cli("tools", "block", "old__dup")
    try:
        assert refusal(waiting.result(30)) == "tool_not_trusted"
        assert lab.cli("approvals", "show", parked)["state"] == "void"
        assert lab.reached(arguments) == 0
    finally:
        full = lab.cli("tools", "show", "old__dup")["full"]
        lab.gateways[0].cli("tools", "approve", "old__dup", "--hash", full)


def test_nobody_answers_for_themselves_and_teams_are_asked(lab: Lab, pool: ThreadPoolExecutor) -> None:
    own = ["--url", lab.gateways[1].url, "--token", lab.tokens[PERSON]]
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments)
    parked = lab.parked()
    with pytest.raises(AssertionError, match="your own call"):
        lab.cli("approvals", "approve", parked, "--reason", "mine", *own)
    assert lab.cli("approvals", "show", parked, *own)["arguments"] is None
    bo = ["--url", lab.gateways[1].url, "--token", lab.tokens["bo@acme.test"]]
    with pytest.raises(AssertionError, match="no approval of this id"):
        lab.cli("approvals", "show", parked, *bo)
    lab.cli("approvals", "deny", parked, "--reason", "no")
    waiting.result(30)


def test_a_replica_that_is_killed_while_a_call_is_parked_loses_nothing(lab: Lab, pool: ThreadPoolExecutor) -> None:
    """Last: it leaves one replica behind."""
    arguments = lab.fresh()
    waiting: Future[Any] = pool.submit(lab.call, 0, arguments)
    parked = lab.parked()
    lab.gateways[0].process.popen.kill()
    with pytest.raises((OSError, ValueError, RpcError)):
        waiting.result(30)
    lab.cli("approvals", "approve", parked, "--reason", "seen it")
    assert lab.reached(arguments) == 0
    assert not lab.call(1, arguments).get("isError")
    assert lab.reached(arguments) == 1
    assert lab.pending() == []
