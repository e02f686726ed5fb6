"""The hostile HTTP upstream is as hostile as it says, checked byte by byte and without a gateway."""

import gzip
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.peers.hostile import HostileUpstream

MODERN = {"MCP-Protocol-Version": "2026-07-28", "Content-Type": "application/json"}


class Direct:
    """A client of one connection that decodes nothing."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.path = urlsplit(url).path
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        self.headers = headers

    def ask(self, method: str, params: Any = None, id_: Any = 7) -> http.client.HTTPResponse:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if id_ is not None:
            message["id"] = id_
        self.connection.request("POST", self.path, json.dumps(message), self.headers)
        return self.connection.getresponse()

    def call(self, name: str, **arguments: Any) -> bytes:
        return self.ask("tools/call", {"name": name, "arguments": arguments}).read()


@pytest.fixture
def upstream() -> Iterator[HostileUpstream]:
    with HostileUpstream() as server:
        yield server


@pytest.fixture
def modern(upstream: HostileUpstream) -> Iterator[Direct]:
    client = Direct(upstream.url, MODERN)
    yield client
    client.connection.close()


def legacy(url: str) -> Direct:
    client = Direct(url, {"Content-Type": "application/json"})
    answer = client.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
    client.headers["Mcp-Session-Id"] = answer.headers["Mcp-Session-Id"]
    assert json.loads(answer.read())["result"]["protocolVersion"] == "2025-06-18"
    assert client.ask("notifications/initialized", id_=None).read() == b""
    return client


def events(raw: bytes) -> list[bytes]:
    blocks = raw.replace(b"\r\n", b"\n").removeprefix(b"\xef\xbb\xbf").split(b"\n\n")
    lines = [[line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")] for block in blocks]
    return [b"\n".join(found) for found in lines if found]


def test_the_definitions_keep_number_lexemes_unknown_members_and_nulls(modern: Direct) -> None:
    raw = modern.ask("tools/list").read()
    for piece in (
        b'"beyond_double":9007199254740993',
        b'"overflow":1e400',
        b'"float_one":1.0',
        b'"x-last"',
        b'"$defs"',
        b'"x.test/null":null',
    ):
        assert piece in raw
    names = [tool["name"] for tool in json.loads(raw)["result"]["tools"]]
    assert "n" * 128 in names
    assert {"dup", "DUP", "repo/create", "repo:create", "a__b"} <= set(names)


def test_two_thousand_tools_come_in_pages() -> None:
    with HostileUpstream(options=["--many", "2000", "--page", "300"]) as upstream:
        client = Direct(upstream.url, MODERN)
        names: list[str] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            result = json.loads(client.ask("tools/list", {"cursor": cursor} if cursor else {}).read())["result"]
            names += [tool["name"] for tool in result["tools"]]
            cursor, pages = result.get("nextCursor"), pages + 1
        client.connection.close()
    assert pages > 6
    assert len(names) == len(set(names))
    assert sum(name.startswith("many_") for name in names) == 2000


def test_big_results_come_in_every_shape(modern: Direct) -> None:
    first, last, pretty = (modern.call(f"big_{shape}") for shape in ("id_first", "result_first", "pretty"))
    assert min(len(first), len(last), len(pretty)) > 5_000_000
    assert first.startswith(b'{"jsonrpc":"2.0","id":7,"result"')
    assert last.startswith(b'{"result":{')
    assert last.endswith(b'"id":7}')
    assert pretty.startswith(b'{\n  "jsonrpc"')
    values = [json.loads(raw)["result"]["structuredContent"] for raw in (first, last)]
    values += [json.loads(events(modern.call(f"big_{shape}"))[0])["result"] for shape in ("sse", "sse_lines")]
    assert values[0] == values[1] == values[2]["structuredContent"]


def test_a_stream_with_a_byte_order_mark_comments_and_cr_lf_holds_the_result(modern: Direct) -> None:
    found = events(modern.call("sse_crlf"))
    assert found[1] == b"not json"
    assert json.loads(found[2])["result"]["structuredContent"]["plain"] == 1


def test_odd_chunks_hold_the_result(modern: Direct) -> None:
    assert json.loads(modern.call("chunked_odd"))["id"] == 7


def test_bytes_that_are_not_json_are_sent_as_they_are(modern: Direct) -> None:
    assert b"caf\xe9" in modern.call("invalid_utf8")
    assert b"a\x00b" in modern.call("nul_bytes")
    assert b"\\ud83e" in modern.call("lone_surrogate")
    assert modern.call("duplicate_keys").count(b'"content"') == 2
    assert modern.call("deep").count(b"[") > 100_000
    assert len(gzip.decompress(modern.call("gzip_bomb"))) > 50_000_000


def test_an_answer_can_be_meant_for_another_id(modern: Direct) -> None:
    assert json.loads(modern.call("wrong_id"))["id"] == "not-yours"
    assert [json.loads(raw)["id"] for raw in events(modern.call("foreign_first"))] == [424242, 7]


def test_a_connection_can_be_reset_in_the_middle(modern: Direct) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        modern.call("die_in_result")


def test_the_log_tells_of_headers_bodies_and_hang_ups(
    upstream: HostileUpstream, modern: Direct, tmp_path: Path
) -> None:
    modern.headers["X-Seen"] = "yes"
    modern.connection.timeout = 0.5
    with pytest.raises(TimeoutError):
        modern.call("wait", a=1)
    modern.connection.close()
    upstream.wait_log(lambda lines: any(line.get("event") == "gone" for line in lines))
    entry = upstream.calls()[0]
    assert entry["name"] == "wait"
    assert ["x-seen", "yes"] in entry["headers"]
    assert json.loads(entry["body"])["params"]["arguments"] == {"a": 1}
    assert any(line.get("event") == "gone" and line["request"] == entry["number"] for line in upstream.log())


def test_a_log_file_has_the_request_before_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with HostileUpstream("legacy", log=path) as upstream:
        client = legacy(upstream.url)
        client.call("odd")
        client.connection.close()
        assert [json.loads(line)["rpc"] for line in path.read_text().splitlines()] == [
            "initialize",
            "notifications/initialized",
            "tools/call",
        ]


@pytest.mark.parametrize("status", [404, 400])
def test_sessions_can_be_lost(upstream: HostileUpstream, status: int) -> None:
    client = legacy(upstream.url)
    assert json.loads(client.call("odd"))["id"] == 7
    upstream.control(lost=status)
    answer = client.ask("tools/list")
    answer.read()
    assert answer.status == status
    client.connection.close()


def test_a_handshake_era_server_refuses_the_modern_era_and_the_other_way_round() -> None:
    with HostileUpstream("legacy") as upstream:
        client = Direct(upstream.url, MODERN)
        answer = client.ask("server/discover")
        assert (answer.status, answer.read()) == (400, b"Bad Request: no valid session")
        client.connection.close()
    with HostileUpstream("modern") as upstream:
        client = Direct(upstream.url, {"Content-Type": "application/json"})
        answer = client.ask("initialize", {"protocolVersion": "2025-11-25"})
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (400, -32022)
        client.connection.close()


def test_a_question_in_a_call_gets_its_answer_in_both_eras(upstream: HostileUpstream, modern: Direct) -> None:
    first = json.loads(modern.call("asks"))["result"]
    assert first["resultType"] == "input_required"
    params = {"name": "asks", "inputResponses": {"k": {"action": "accept"}}, "requestState": first["requestState"]}
    assert "accept" in json.dumps(json.loads(modern.ask("tools/call", params).read()))
    asking, answering = legacy(upstream.url), legacy(upstream.url)
    stream = asking.ask("tools/call", {"name": "asks", "arguments": {"kind": "roots/list"}})
    question = b""
    while not question.endswith(b"\n\n"):
        question += stream.readline()
    key = json.loads(events(question)[0])["id"]
    reply = json.dumps({"jsonrpc": "2.0", "id": key, "result": {"roots": []}})
    answering.connection.request("POST", answering.path, reply, answering.headers)
    assert answering.connection.getresponse().status == 202
    assert "roots" in events(stream.read())[0].decode()
    asking.connection.close()
    answering.connection.close()


def test_a_change_of_the_list_is_announced_on_open_streams(upstream: HostileUpstream, modern: Direct) -> None:
    stream = modern.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert b"acknowledged" in stream.readline()
    upstream.control(describe={"dup": "something else"}, announce="tools")
    assert stream.readline() == b"\n"
    assert b"notifications/tools/list_changed" in stream.readline()
    modern.connection.close()


def test_waiting_calls_are_let_go_through_the_control_door(upstream: HostileUpstream, modern: Direct) -> None:
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "wait"}})
    modern.connection.request("POST", modern.path, message, MODERN)
    upstream.wait_log(lambda lines: any(line.get("name") == "wait" for line in lines))
    upstream.control(release=True)
    assert b"released" in modern.connection.getresponse().read()
