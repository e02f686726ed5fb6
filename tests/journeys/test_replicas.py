"""Two gateway processes on one PostgreSQL, seen from outside: what one of them holds is reached through the other.

No proxy and no affinity: each request names the replica that it goes to.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peers.gateway import Gateway, http_upstream, replicas
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient, RpcError, events
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.postgres
LEGACY, MODERN = "2025-11-25", "2026-07-28"
EDGES = {"fast": "keep-alive", "ordinary": "keep-alive, x-ordinary"}
ASKED: dict[str, Any] = {"elicitation": {"form": {}}}
ACCEPTED = {"action": "accept", "content": {"n": 9007199254740993}}


@dataclass(frozen=True)
class Lab:
    first: Gateway
    second: Gateway
    token: str
    upstream: HostileUpstream  # of the handshake era: it can be told of a cancel, and asks in the middle of a call

    def client(self, replica: Gateway, version: str = LEGACY, **more: Any) -> RawClient:
        return RawClient(f"{replica.url}/mcp/u/old", self.token, version=version, **more)

    @contextmanager
    def elsewhere(self, client: RawClient) -> Iterator[RawClient]:
        """The same client, with its session, at the other replica."""
        other = self.client(self.second, client.version, capabilities=client.capabilities)
        other.headers = dict(client.headers)
        try:
            yield other
        finally:
            other.close()

    def outcomes(self, tool: str) -> list[str]:
        lines = self.second.cli("audit", "export", "--json").splitlines()
        return [event["outcome"] for line in lines if (event := json.loads(line)).get("tool") == f"old__{tool}"]

    def asked(self, tool: str) -> list[dict[str, Any]]:
        return [line for line in self.upstream.calls() if line.get("name") == tool]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE journey_replicas OWNER {OWNER}")
    with ExitStack() as stack:
        upstream = stack.enter_context(HostileUpstream("legacy"))
        place = tmp_path_factory.mktemp("replicas")
        first, second = replicas(stack, place, pg_cluster.url("journey_replicas"), 2)
        first.govern([http_upstream("old", upstream.url)])
        yield Lab(first, second, first.token(), upstream)


def answer_of(client: RawClient, tool: str) -> Any:
    """The result, or the error's object."""
    try:
        return client.call(tool)
    except RpcError as error:
        return error.error


def notify_cancel(client: RawClient, id_: int) -> None:
    told = client.send("notifications/cancelled", {"requestId": id_, "reason": "enough"}, id_=None)
    assert (told.status, told.read()) == (202, b"")


def is_cancel(line: dict[str, Any], id_: Any) -> bool:
    """Whether the upstream was told that its request with this id is cancelled."""
    return line.get("rpc") == "notifications/cancelled" and json.loads(line["body"])["params"]["requestId"] == id_


@pytest.mark.parametrize("edge", EDGES)
def test_a_cancel_on_another_replica_reaches_the_upstream_and_the_record(lab: Lab, edge: str) -> None:
    asked, ended = len(lab.asked("wait")), len(lab.outcomes("wait"))
    with lab.client(lab.first) as client, lab.elsewhere(client) as other, ThreadPoolExecutor(1) as pool:
        client.call("dup")  # the conversation is open: from here on the fast path may take calls
        client.headers["Connection"] = EDGES[edge]
        waiting: Future[Any] = pool.submit(answer_of, client, "wait")
        lab.upstream.wait_log(lambda _: len(lab.asked("wait")) > asked)
        notify_cancel(other, client.last_id)
        call = lab.asked("wait")[-1]
        lab.upstream.wait_log(lambda lines: any(is_cancel(line, call["id"]) for line in lines))
        assert "cancelled" in json.dumps(waiting.result(60))
    assert lab.outcomes("wait")[ended:] == ["cancelled"]


def test_a_cancel_counts_for_its_own_session_alone(lab: Lab) -> None:
    """Two sessions of one person have a request of the same id; the cancel of one comes through the other replica."""
    asked = len(lab.asked("wait"))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        clients = [stack.enter_context(lab.client(lab.first)) for _ in range(2)]
        left, cancelled = (pool.submit(answer_of, client, "wait") for client in clients)
        lab.upstream.wait_log(lambda _: len(lab.asked("wait")) == asked + 2)
        assert clients[0].last_id == clients[1].last_id
        notify_cancel(stack.enter_context(lab.elsewhere(clients[1])), clients[1].last_id)
        assert "cancelled" in json.dumps(cancelled.result(60))
        assert not left.done()
        lab.upstream.control(release=True)
        assert left.result(60)["content"][0]["text"] == "released"


def test_an_answer_to_a_question_may_go_to_another_replica(lab: Lab) -> None:
    ended = len(lab.outcomes("asks"))
    with lab.client(lab.first, capabilities=ASKED) as client, lab.elsewhere(client) as other:
        call = client.send("tools/call", {"name": "asks", "arguments": {"kind": "elicitation/create"}})
        messages = events(call)
        question = json.loads(next(messages))
        assert question["method"] == "elicitation/create"
        told = other.reply(question["id"], ACCEPTED)
        assert (told.status, told.read()) == (202, b"")
        (last,) = [json.loads(message) for message in messages]
        heard = json.loads(last["result"]["content"][0]["text"])
        assert heard["result"] == ACCEPTED
    assert lab.outcomes("asks")[ended:] == ["result"]


def test_a_modern_client_answers_the_question_of_a_handshake_upstream_on_another_replica(lab: Lab) -> None:
    ended = len(lab.outcomes("asks"))
    params: dict[str, Any] = {"name": "asks", "arguments": {"kind": "elicitation/create"}}
    with lab.client(lab.first, MODERN, capabilities=ASKED) as client, lab.elsewhere(client) as other:
        wanted = client.ask("tools/call", params)
        assert wanted["resultType"] == "input_required"
        (key,) = wanted["inputRequests"]
        given = {"requestState": wanted["requestState"], "inputResponses": {key: ACCEPTED}}
        result = other.ask("tools/call", {**params, **given})
        assert json.loads(result["content"][0]["text"])["result"] == ACCEPTED
    assert lab.outcomes("asks")[ended:] == ["input_required", "result"]
