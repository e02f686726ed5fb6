"""Tasks of both eras over two replicas without affinity: every request of a task may land on either.

Modern: the official suite's task scenarios against a server of ours. Handshake era: the TypeScript reference server,
over HTTP (where it keeps a task in its process) and as a stdio program of one replica.
"""

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import CURRENT, PACKAGE
from tests.peers.environments import SERVERS, node, program, python
from tests.peers.gateway import Gateway, free_port, header_proxy, http_upstream, stdio_upstream
from tests.peers.processes import Process
from tests.peers.raw_client import META, RawClient, RpcError, events
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.peers
EVERYTHING = "@modelcontextprotocol/server-everything"
EXTENSION = META + "tasks"
SCENARIOS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
CORE: dict[str, Any] = {"elicitation": {"form": {}}, "tasks": {}}
MODERN: dict[str, Any] = {"elicitation": {}, "extensions": {EXTENSION: {}}}
TOOL = "simulate-research-query"


@dataclass(frozen=True)
class Lab:
    """`base` gives each request to the next replica; `direct` is the URL of each; `tokens` of two people."""

    base: str
    direct: tuple[str, ...]
    tokens: tuple[str, str]
    seen: str

    def client(self, path: str = "/mcp", *, person: int = 0, version: str = "2025-11-25", **more: Any) -> RawClient:
        capabilities = CORE if version == "2025-11-25" else MODERN
        more = {"capabilities": capabilities, **more}
        return RawClient(self.base + path, self.tokens[person], version=version, **more)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE tasks OWNER {OWNER}")
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("tasks")
        jobs = stack.enter_context(Process([python("py-mcp2"), SERVERS / "tasks_modern.py"])).wait_ready()
        port = free_port()
        command: list[str | Path] = [node(), program(EVERYTHING), "streamableHttp"]
        server = stack.enter_context(Process(command, env={**os.environ, "PORT": str(port)}))
        server.wait_line(lambda line: "listening" in line.lower())
        replicas = [replica(stack, place / str(number), pg_cluster, place / "key") for number in range(2)]
        path = replicas[0].place / "governance.yaml"
        people = [{"email": f"{name}@acme.test", "roles": ["admin"]} for name in ("ana", "bob")]
        upstreams = [
            http_upstream("jobs", jobs),
            http_upstream("research", f"http://127.0.0.1:{port}/mcp"),
            stdio_upstream("local", [node(), program(EVERYTHING), "stdio"]),
        ]
        path.write_text(json.dumps({"people": people, "upstreams": upstreams}))
        replicas[0].cli("apply", "-f", str(path))
        replicas[0].cli("tools", "approve", "--all", "--yes")
        tokens = (replicas[0].token("ana@acme.test"), replicas[0].token("bob@acme.test"))
        base = header_proxy(stack, [one.port for one in replicas])
        settle([one.url for one in replicas], tokens[0])
        yield Lab(base, tuple(one.url for one in replicas), tokens, jobs.removesuffix("/mcp") + "/seen")


def replica(stack: ExitStack, place: Path, cluster: Cluster, key: Path) -> Gateway:
    place.mkdir()
    gateway = Gateway(place, database_url=cluster.url("tasks"), settings={"CALLGATE_KEY_FILE": str(key)})
    stack.callback(gateway.stop)
    gateway.up()
    return gateway


def settle(urls: list[str], token: str) -> None:
    """Wait until every replica knows all tools."""
    end = time.monotonic() + 60
    for url in urls:
        while len(tools(url, token)) < 25 and time.monotonic() < end:
            time.sleep(0.2)


def tools(url: str, token: str) -> list[Any]:
    with RawClient(url + "/mcp", token, capabilities=MODERN) as client:
        return client.tools()


@pytest.fixture(scope="module")
def with_token(lab: Lab) -> Iterator[str]:
    """A base URL that adds a token: the suite can send none."""
    with ExitStack() as stack:
        ports = [int(url.rpartition(":")[2]) for url in lab.direct]
        yield header_proxy(stack, ports, [f"Authorization: Bearer {lab.tokens[0]}"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_official_task_scenarios_pass_over_two_replicas(with_token: str, scenario: str, tmp_path: Path) -> None:
    command = [node(), program(PACKAGE, version=CURRENT), "server", "--url", f"{with_token}/mcp/u/jobs"]
    command += ["--scenario", scenario, "-o", str(tmp_path)]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


# -- the handshake era ---------------------------------------------------------------------------------------------


def started(client: RawClient, tool: str, **arguments: Any) -> dict[str, Any]:
    made = client.ask("tools/call", {"name": tool, "arguments": arguments, "task": {"ttl": 60_000}})
    task: dict[str, Any] = made["task"]
    assert task["status"] in ("working", "input_required")
    return task


def until(client: RawClient, task: str, *wanted: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while True:
        state: dict[str, Any] = client.ask("tasks/get", {"taskId": task})
        assert state["taskId"] == task
        if state["status"] in wanted or time.monotonic() > end:
            return state
        time.sleep(0.3)


@pytest.mark.parametrize("upstream", ["research", "local"])
def test_a_task_of_the_reference_server_is_found_from_either_replica(lab: Lab, upstream: str) -> None:
    with lab.client() as client:
        task = started(client, f"{upstream}__{TOOL}", topic="tides", ambiguous=False)
        ids = [one["taskId"] for one in client.ask("tasks/list")["tasks"]]
        assert task["taskId"] in ids
        for _ in range(4):
            assert client.ask("tasks/get", {"taskId": task["taskId"]})["taskId"] == task["taskId"]
        result = client.ask("tasks/result", {"taskId": task["taskId"]})
        assert "tides" in result["content"][0]["text"]
        assert result["_meta"][META + "related-task"] == {"taskId": task["taskId"]}
        assert until(client, task["taskId"], "completed")["status"] == "completed"


@pytest.mark.parametrize("upstream", ["research", "local"])
def test_a_question_in_a_task_reaches_the_client_with_its_own_id_of_the_task(lab: Lab, upstream: str) -> None:
    with lab.client() as client:
        task = started(client, f"{upstream}__{TOOL}", topic="python", ambiguous=True)["taskId"]
        assert until(client, task, "input_required")["status"] == "input_required"
        answer = client.send("tasks/result", {"taskId": task})
        for data in events(answer):
            message = json.loads(data)
            if message.get("method") == "elicitation/create":
                related = {META + "related-task": {"taskId": task}}
                assert message["params"]["_meta"] == related
                reply = {"action": "accept", "content": {"interpretation": "technical"}, "_meta": related}
                threading.Thread(target=respond, args=(lab, client, message["id"], reply)).start()
            elif "result" in message:
                assert "technical" in message["result"]["content"][0]["text"]
                break
        else:
            pytest.fail("there was no result")


def respond(lab: Lab, client: RawClient, id_: str, result: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()
    urllib.request.urlopen(urllib.request.Request(lab.base + "/mcp", body, client.headers), timeout=30).close()


def test_tasks_are_cancelled_listed_and_forgotten(lab: Lab) -> None:
    with lab.client() as client:
        task = started(client, f"research__{TOOL}", topic="x", ambiguous=False)["taskId"]
        assert client.ask("tasks/cancel", {"taskId": task})["status"] == "cancelled"
        assert client.ask("tasks/get", {"taskId": task})["status"] == "cancelled"
        with pytest.raises(RpcError) as caught:
            client.ask("tasks/cancel", {"taskId": task})
        assert caught.value.error["code"] == -32602
        listed = {one["taskId"]: one["status"] for one in client.ask("tasks/list")["tasks"]}
        assert listed[task] == "cancelled"


def test_a_task_is_its_persons_alone(lab: Lab) -> None:
    with lab.client() as ana, lab.client(person=1) as bob:
        task = started(ana, f"research__{TOOL}", topic="x", ambiguous=False)["taskId"]
        for method in ("tasks/get", "tasks/result", "tasks/cancel"):
            for id_ in (task, task[:-1] + ("A" if task[-1] != "A" else "B"), "made-up"):
                with pytest.raises(RpcError) as caught:
                    bob.ask(method, {"taskId": id_})
                assert caught.value.error["code"] == -32602
        assert bob.ask("tasks/list")["tasks"] == []
        assert ana.ask("tasks/get", {"taskId": task})["taskId"] == task
    with lab.client(version="2026-07-28") as modern:
        with pytest.raises(RpcError) as caught:
            modern.ask("tasks/get", {"taskId": task})
        assert caught.value.error["code"] == -32602


def test_an_upstreams_own_ids_stay_behind_and_open_nothing(lab: Lab) -> None:
    with lab.client("/mcp/u/jobs", version="2026-07-28") as client:
        made = client.call("slow_compute", seconds=60, label="own")
        with urllib.request.urlopen(lab.seen, timeout=30) as answer:
            own = json.loads(answer.read())
        assert own
        assert made["taskId"] not in own
        for id_ in own:
            with pytest.raises(RpcError) as caught:
                client.ask("tasks/get", {"taskId": id_})
            assert caught.value.error["code"] == -32602
        client.ask("tasks/cancel", {"taskId": made["taskId"]})


def test_a_large_result_of_a_task_arrives_whole(lab: Lab) -> None:
    with lab.client(version="2026-07-28") as client:
        made = client.call("jobs__slow_compute", seconds=0, size=1_000_000)
        state = until(client, made["taskId"], "completed")
        assert len(state["result"]["content"][0]["text"]) > 1_000_000


def test_news_of_a_task_come_on_the_stream_that_asked_for_them(lab: Lab) -> None:
    with lab.client(version="2026-07-28") as client, lab.client(version="2026-07-28") as listener:
        task = client.call("jobs__slow_compute", seconds=2, label="news")["taskId"]
        answer = listener.send("subscriptions/listen", {"notifications": {"taskIds": [task, "made-up"]}})
        stream = events(answer)
        acknowledged = json.loads(next(stream))
        assert acknowledged["params"]["notifications"] == {"taskIds": [task]}
        statuses = []
        for data in stream:
            params = json.loads(data)["params"]
            assert params["taskId"] == task
            assert META + "subscriptionId" in params["_meta"]
            statuses.append(params["status"])
            if params["status"] == "completed":
                assert params["result"]["content"][0]["text"] == "computed news"
                break
        assert statuses == ["working", "completed"]


def test_each_endpoint_declares_the_tasks_of_its_own_servers_and_era(lab: Lab) -> None:
    joined: dict[str, Any] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    for path, core in (("/mcp", joined), ("/mcp/u/research", joined), ("/mcp/u/jobs", None)):
        offered = capabilities(lab, path, "2025-11-25")
        assert offered.get("tasks") == core
        assert EXTENSION not in offered.get("extensions", {})
        assert "tasks" not in capabilities(lab, path, "2025-06-18")
    for path, offers in (("/mcp", True), ("/mcp/u/jobs", True), ("/mcp/u/research", False)):
        with lab.client(path, version="2026-07-28") as client:
            found = client.ask("server/discover")["capabilities"]
            assert (EXTENSION in found.get("extensions", {})) is offers
            assert "tasks" not in found
    with lab.client("/mcp/u/jobs") as client, pytest.raises(RpcError) as caught:
        client.ask("tasks/list")
    assert caught.value.error["code"] == -32601


def capabilities(lab: Lab, path: str, version: str) -> Any:
    with RawClient(lab.base + path, lab.tokens[0], version=version) as client:
        about = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        return client.ask("initialize", about)["capabilities"]


def test_a_client_that_declared_no_tasks_gets_none(lab: Lab) -> None:
    with lab.client(version="2026-07-28", capabilities={}) as client:
        assert client.call("jobs__slow_compute", seconds=0)["resultType"] == "complete"
        for method, params in (
            ("tasks/get", {"taskId": "x"}),
            ("subscriptions/listen", {"notifications": {"taskIds": ["x"]}}),
        ):
            with pytest.raises(RpcError) as caught:
                client.ask(method, params)
            assert caught.value.error["code"] == -32021
            assert caught.value.error["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}
