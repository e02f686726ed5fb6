"""The demo server speaks both eras, as a process and message by message."""

import json
import subprocess
import sys
from typing import Any

import pytest

from callgate.cli import demo_server

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def ask(method: str, params: dict[str, Any] | None = None, modern: bool = False) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    given = dict(params or {})
    if modern:
        given["_meta"] = {**ENVELOPE, **given.get("_meta", {})}
    line = json.dumps({"jsonrpc": "2.0", "id": "one", "method": method, "params": given})
    demo_server.answer(line, sent.append)
    return sent


@pytest.mark.parametrize("version", demo_server.LEGACY)
def test_every_handshake_revision_is_negotiated(version: str) -> None:
    [answer] = ask("initialize", {"protocolVersion": version})
    assert answer["result"]["protocolVersion"] == version
    assert ask("initialize", {"protocolVersion": "1999-01-01"})[0]["result"]["protocolVersion"] == "2025-11-25"
    assert ask("ping")[0]["result"] == {}


def test_the_modern_era_has_its_members() -> None:
    [found] = ask("server/discover", modern=True)
    assert found["result"]["resultType"] == "complete"
    assert found["result"]["supportedVersions"] == ["2026-07-28"]
    [listed] = ask("tools/list", modern=True)
    assert listed["result"]["cacheScope"] == "public"
    assert [tool["name"] for tool in listed["result"]["tools"]] == list(demo_server.HANDLERS)


def test_a_modern_request_without_its_envelope_is_refused() -> None:
    assert ask("server/discover")[0]["error"]["code"] == -32022
    only_version = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    assert ask("tools/list", only_version)[0]["error"]["code"] == -32602
    assert ask("ping", modern=True)[0]["error"]["code"] == -32601


def test_progress_is_reported_to_who_asked_for_it() -> None:
    params = {"name": "count_stock", "arguments": {"shelves": 2}}
    assert len(ask("tools/call", params)) == 1
    first, second, answer = ask("tools/call", {**params, "_meta": {"progressToken": 7}})
    assert [one["params"]["progress"] for one in (first, second)] == [1, 2]
    assert {one["params"]["progressToken"] for one in (first, second)} == {7}
    assert "14 things" in answer["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("name", "arguments", "saying"),
    [
        ("read_order", {}, "missing"),
        ("read_order", {"order_id": "A-0000"}, "list_orders"),
        ("count_stock", {"shelves": True}, "whole number"),
        ("search_handbook", {"query": ""}, "missing"),
    ],
)
def test_what_a_tool_can_not_do_is_a_result_with_an_error(name: str, arguments: dict[str, Any], saying: str) -> None:
    [answer] = ask("tools/call", {"name": name, "arguments": arguments})
    assert answer["result"]["isError"] is True
    assert saying in answer["result"]["content"][0]["text"]


def test_the_results_fit_the_schemas() -> None:
    [orders] = ask("tools/call", {"name": "list_orders", "arguments": {}})
    for order in orders["result"]["structuredContent"]["orders"]:
        assert set(order) == {"id", "customer", "item", "cents", "status"}
    [found] = ask("tools/call", {"name": "search_handbook", "arguments": {"query": "refund"}})
    assert "refunds:" in found["result"]["content"][0]["text"]


def test_a_refund_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_server, "ORDERS", {"A-1001": {"id": "A-1001", "status": "returned"}})
    call = {"name": "refund_order", "arguments": {"order_id": "A-1001"}}
    assert "isError" not in ask("tools/call", call)[0]["result"]
    assert ask("tools/call", call)[0]["result"]["isError"] is True


@pytest.mark.parametrize(
    ("line", "code"),
    [("{", -32700), ("[]", -32600), ('{"id": 1}', -32600), ('{"id": 1, "method": "x", "params": []}', -32602),
     ('{"id": 1, "method": "tools/call", "params": {"name": "nothing"}}', -32602),
     ('{"id": 1, "method": "resources/list"}', -32601)],
)  # fmt: skip
def test_odd_lines_are_answered_with_an_error(line: str, code: int) -> None:
    sent: list[dict[str, Any]] = []
    demo_server.answer(line, sent.append)
    assert sent[0]["error"]["code"] == code


def test_as_a_process_it_answers_lines_and_ends_with_its_input() -> None:
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    done = subprocess.run(
        [sys.executable, "-I", str(demo_server.__file__)],
        input="\n\n".join(json.dumps(line) for line in lines) + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 2]
