"""Connecting in the middle of a call: the client shows the page, the person connects, the call goes on."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.peers.raw_client import RawClient
from tests.support.openid import Guarded, Provider, open_guarded, open_provider
from tests.support.robot import Robot
from tests.support.running import Running, running
from tests.support.signing_in import account

URL: dict[str, Any] = {"elicitation": {"url": {}}}
TOOL = "shop__list_orders"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with open_provider({"vendor-ana": {}, "vendor-ben": {}}) as found:
        yield found


@pytest.fixture(scope="module")
def shop(provider: Provider) -> Iterator[Guarded]:
    with open_guarded(provider) as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, shop: Guarded, provider: Provider) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("mid-call"), hold_seconds=4.0) as found:
        found.add_upstream("shop", shop.url, auth={"mode": "on_behalf_of"})
        connect(account(found, "first@acme.test"), provider)
        found.operator.post("/upstreams/shop/refresh")
        for tool in found.operator.get("/tools")["items"]:
            found.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found


def connect(robot: Robot, provider: Provider) -> None:
    page = provider.sign_in(robot, robot.submit(robot.get("/connections/shop")), "vendor-ana")
    assert "is connected" in page.words


def somebody(run: Running, name: str) -> tuple[Robot, str]:
    robot = account(run, f"{name}@acme.test")
    token: str = run.operator.post("/tokens", {"person": f"{name}@acme.test"})["token"]
    return robot, token


def outcome(run: Running, code: str) -> bool:
    return any(one.get("code") == code for one in run.operator.get("/audit/events", limit=50)["items"])


def params(**more: Any) -> dict[str, Any]:
    return {"name": TOOL, "arguments": {}, **more}


def test_a_modern_client_shows_the_page_and_the_call_goes_on(run: Running, provider: Provider, shop: Guarded) -> None:
    robot, token = somebody(run, "modern")
    before = shop.calls
    with RawClient(f"{run.url}/mcp", token, capabilities=URL) as client:
        asked = client.ask("tools/call", params())
        assert asked["resultType"] == "input_required"
        ((key, question),) = asked["inputRequests"].items()
        assert question["method"] == "elicitation/create"
        assert question["params"]["mode"] == "url"
        assert question["params"]["url"] == f"{run.url}/connections/shop"
        assert shop.calls == before
        threading.Timer(1.0, connect, (robot, provider)).start()
        answer = {key: {"action": "accept"}}
        done = client.ask("tools/call", params(requestState=asked["requestState"], inputResponses=answer))
    assert done["content"][0]["text"] == "for vendor-ana"
    assert shop.calls == before + 1


def test_a_modern_client_that_waits_for_long_is_sent_another_round(run: Running, provider: Provider) -> None:
    robot, token = somebody(run, "slow")
    with RawClient(f"{run.url}/mcp", token, capabilities=URL) as client:
        asked = client.ask("tools/call", params())
        answer = {next(iter(asked["inputRequests"])): {"action": "accept"}}
        again = client.ask("tools/call", params(requestState=asked["requestState"], inputResponses=answer))
        assert again["resultType"] == "input_required"
        assert "inputRequests" not in again
        connect(robot, provider)
        done = client.ask("tools/call", params(requestState=again["requestState"]))
    assert done["content"][0]["text"] == "for vendor-ana"


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_who_does_not_go_there_gets_the_link_as_words(run: Running, action: str) -> None:
    _, token = somebody(run, f"no-{action}")
    with RawClient(f"{run.url}/mcp", token, capabilities=URL) as client:
        asked = client.ask("tools/call", params())
        answer = {next(iter(asked["inputRequests"])): {"action": action}}
        done = client.ask("tools/call", params(requestState=asked["requestState"], inputResponses=answer))
    assert done["isError"] is True
    assert f"{run.url}/connections/shop" in done["content"][0]["text"]


def test_a_client_without_pages_gets_the_link_as_words(run: Running) -> None:
    _, token = somebody(run, "plain")
    for version in ("2026-07-28", "2025-11-25"):
        with RawClient(f"{run.url}/mcp", token, version=version, capabilities={"elicitation": {"form": {}}}) as client:
            done = client.call(TOOL)
        assert done["isError"] is True
        assert f"{run.url}/connections/shop" in done["content"][0]["text"]
    assert outcome(run, "connection_required")


def test_a_handshake_client_is_asked_while_the_call_is_open(run: Running, provider: Provider) -> None:
    robot, token = somebody(run, "legacy")
    with RawClient(f"{run.url}/mcp", token, version="2025-11-25", capabilities=URL) as client:
        headers = dict(client.headers)
        parts = urlsplit(run.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params()}
        connection.request("POST", "/mcp", json.dumps(body), headers)
        stream = connection.getresponse()
        messages = (json.loads(line[5:]) for line in stream if line.startswith(b"data:"))
        question = next(messages)
        assert question["method"] == "elicitation/create"
        assert question["params"]["url"] == f"{run.url}/connections/shop"
        client.reply(question["id"], {"action": "accept"}).read()
        connect(robot, provider)
        done = next(message for message in messages if message.get("id") == 7)
        connection.close()
    assert done["result"]["content"][0]["text"] == "for vendor-ana"
