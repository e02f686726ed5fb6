"""No payload is kept: canaries go through every door, then every byte that the gateway wrote is searched for them."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.peers.gateway import Gateway, http_upstream
from tests.peers.raw_client import RawClient, RpcError
from tests.support.shop import Shop, open_shop

MARK = "CANARY7f3a"


def parrot(plain: Callable[[bytes], tuple[int, bytes]], body: bytes) -> tuple[int, bytes]:
    """A shop's answers with canaries in results, errors and error pages."""
    message = json.loads(body)
    if message.get("method") != "tools/call":
        return plain(body)
    arguments = message["params"].get("arguments", {})
    if arguments.get("fail"):
        error = {"code": -32000, "message": f"{MARK}-error-message", "data": {"x": f"{MARK}-error-data"}}
        return 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
    if arguments.get("break"):
        return 500, f"{MARK}-error-page".encode()
    result = {
        "content": [{"type": "text", "text": f"{MARK}-result"}],
        "structuredContent": {"secret": f"{MARK}-structured"},
        "isError": bool(arguments.get("bad")),
        "_meta": {f"{MARK}-meta": 1},
        "resultType": "complete",
    }
    return 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with open_shop() as found:
        plain = found.answer
        monkeypatch.setattr(found, "answer", lambda body: parrot(plain, body))
        yield found


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    found = Gateway(tmp_path, settings={"CALLGATE_LOG_LEVEL": "debug"})
    found.up()
    yield found
    found.stop()


def speak(client: RawClient, number: int) -> None:
    """One of many calls, each with a canary somewhere else."""
    name, arguments = "shop__list_orders", {"text": f"{MARK}-argument", "token": f"{MARK}-secret"}
    asked: list[tuple[str, dict[str, object]]] = [
        ("tools/call", {"name": name, "arguments": arguments}),
        ("tools/call", {"name": name, "arguments": {**arguments, "fail": True}}),
        ("tools/call", {"name": name, "arguments": {**arguments, "break": True}}),
        ("tools/call", {"name": name, "arguments": {**arguments, "bad": True}}),
        ("tools/call", {"name": f"{MARK}-unknown-tool", "arguments": arguments}),
        ("tools/call", {"name": name, "arguments": arguments, "_meta": {"progressToken": f"{MARK}-progress"}}),
        ("prompts/get", {"name": f"{MARK}-prompt", "arguments": arguments}),
        ("resources/read", {"uri": f"file:///{MARK}-uri"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": f"{MARK}-ref"}, "argument": arguments}),
        (f"{MARK}/method", {"name": f"{MARK}"}),
        ("tools/list", {"cursor": f"{MARK}-cursor"}),
    ]
    method, params = asked[number]
    try:
        client.send(method, params, id_=f"{MARK}-id-{number}").read()
    except RpcError:
        return


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_nothing_that_was_said_is_found_in_what_was_written(gateway: Gateway, shop: Shop, version: str) -> None:
    gateway.govern([http_upstream("shop", shop.url)])
    token = gateway.token()
    for number in range(11):
        with closing(RawClient(f"{gateway.url}/mcp", token, version=version, capabilities={"roots": {}})) as client:
            client.headers |= {"X-Canary": f"{MARK}-header", "Cookie": f"{MARK}-cookie", "Mcp-Param-X": f"{MARK}-param"}
            client.open()
            speak(client, number)
    with closing(RawClient(f"{gateway.url}/mcp", f"cgt_{MARK}{'x' * 33}", version=version)) as stranger:
        assert stranger.send("tools/list", {}).status == 401
    recorded = gateway.cli("audit", "export", "--format", "csv")
    assert recorded.count("tools/call") >= 5
    said = gateway.process.text()
    gateway.stop()

    assert MARK not in recorded
    assert MARK not in said
    written = [path for path in gateway.data_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in written)
    marked = [path.name for path in written if MARK.encode() in path.read_bytes()]
    assert marked == []
    held = [path.name for path in written if token.encode() in path.read_bytes()]
    assert held == []
    assert all(header is None for header in shop.seen_authorization)
