"""Bad input at the endpoint: each has its own error, nothing reaches an upstream, and the next request works."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.mcp.lab import Lab, Upstream
from tests.mcp.wire_client import META, MODERN, Answer
from tests.upstreams.scripted import Answering, Asked

pytestmark = pytest.mark.usefixtures("clients")
ENVELOPE = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


async def answered(asked: Asked, answering: Answering) -> None:
    await answering.result(asked, {"content": []})


@pytest.fixture
async def shop(lab: Lab) -> AsyncIterator[Upstream]:
    async with lab.upstream(answered) as upstream:
        yield upstream
        result = await (await lab.client().modern("tools/call", {"name": upstream.tool})).last()
        assert "result" in result  # whatever came before


async def error(answer: Answer) -> tuple[int, int, str]:
    """HTTP status, JSON-RPC code and our own code."""
    message = json.loads(await answer.body())
    return answer.status, message["error"]["code"], message["error"]["data"]["code"]


def message(**fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", **fields}).encode()


def deep(levels: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, -32700, "parse_error")),
        (b"{", (400, -32700, "parse_error")),
        (b"\xff\xfe", (400, -32700, "parse_error")),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff"}}', (400, -32700, "parse_error")),
        (b"[" + json.dumps(PING).encode() + b"]", (400, -32600, "invalid_request")),
        (b"7", (400, -32600, "invalid_request")),
        (b'{"id":1,"method":"ping"}', (400, -32600, "invalid_request")),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', (400, -32600, "invalid_request")),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', (400, -32600, "invalid_request")),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', (200, -32602, "invalid_params")),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":7}}', (200, -32602, "invalid_params")),
        (deep(200), (400, -32600, "body_too_deep")),
        (b"[" * 100_000, (400, -32600, "body_too_deep")),
        (b" " * (4 * 1024 * 1024 + 1), (413, -32600, "body_too_large")),
        (message(method="no/such"), (200, -32601, "method_not_found")),
        (message(method="server/discover"), (200, -32601, "method_not_found")),
        (message(params={"cursor": 7}), (200, -32602, "invalid_params")),
        (message(params={"cursor": "forged"}), (200, -32602, "invalid_params")),
        (message(method="tools/call", params={"name": 7}), (200, -32602, "invalid_params")),
        (message(method="tools/call", params={"name": "no__such"}), (200, -32602, "unknown_tool")),
        (message(method="prompts/get", params={"name": "no__such"}), (200, -32602, "unknown_prompt")),
        (message(method="resources/read", params={"uri": "no://such"}), (200, -32002, "unknown_resource")),
        (message(method="resources/subscribe", params={}), (200, -32602, "invalid_params")),
        (message(method="completion/complete", params={}), (200, -32602, "invalid_params")),
        (message(method="initialize", params={}), (200, -32602, "invalid_params")),
        (message(method="initialize", params={"protocolVersion": "2025-11-25", "capabilities": []}),
         (200, -32602, "invalid_params")),
        (message(method="initialize", params={"protocolVersion": "2025-11-25",
                 "capabilities": {"experimental": {"x": "y" * 9000}}}), (200, -32602, "invalid_params")),
        (b'{"jsonrpc":"2.0","id":"x","result":{}}', (400, -32602, "invalid_params")),
    ],
)  # fmt: skip
async def test_a_bad_body_of_a_handshake_client_has_its_own_error(
    lab: Lab, shop: Upstream, body: bytes, expected: tuple[int, int, str]
) -> None:
    assert await error(await lab.client().send(body)) == expected


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("initialize", {}, (404, -32601, "method_not_found")),
        ("ping", {}, (404, -32601, "method_not_found")),
        ("logging/setLevel", {"level": "info"}, (404, -32601, "method_not_found")),
        ("resources/subscribe", {"uri": "x"}, (404, -32601, "method_not_found")),
        ("no/such", {}, (404, -32601, "method_not_found")),
        ("tools/call", {"name": "no__such"}, (400, -32602, "unknown_tool")),
        ("resources/read", {"uri": "no://such"}, (400, -32602, "unknown_resource")),
        ("tools/list", {"cursor": "forged"}, (400, -32602, "invalid_params")),
        ("tools/call", {"name": "no__such", "requestState": "forged"}, (400, -32602, "invalid_params")),
    ],
)
async def test_a_bad_request_of_a_modern_client_has_the_status_of_its_era(
    lab: Lab, shop: Upstream, method: str, params: Any, expected: tuple[int, int, str]
) -> None:
    assert await error(await lab.client().modern(method, params)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Mcp_Method": "tools/list"}, (400, -32020, "header_mismatch")),
        ({"Mcp_Method": None}, (400, -32020, "header_mismatch")),
        ({"Mcp_Name": "other"}, (400, -32020, "header_mismatch")),
        ({"Mcp_Name": None}, (400, -32020, "header_mismatch")),
        ({"Mcp_Name": "=?base64?!!?="}, (400, -32020, "header_mismatch")),
        ({"MCP_Protocol_Version": None}, (400, -32020, "header_mismatch")),
        ({"MCP_Protocol_Version": "2099-01-01"}, (400, -32020, "header_mismatch")),
        ({"Content_Type": "text/plain"}, (415, -32600, "unsupported_media_type")),
        ({"Content_Type": None}, (415, -32600, "unsupported_media_type")),
        ({"Accept": "text/html"}, (406, -32600, "not_acceptable")),
        ({"Authorization": None}, (401, -31001, "auth_required")),
        ({"Authorization": "Basic eDp5"}, (401, -31001, "auth_required")),
        ({"Authorization": "Bearer cgt_" + "x" * 43}, (401, -31001, "invalid_token")),
        ({"Authorization": "Bearer é"}, (401, -31001, "invalid_token")),
        ({"Host": "evil.test"}, (421, -32600, "bad_host")),
        ({"Host": "localhost:1\" x"}, (421, -32600, "bad_host")),
        ({"Origin": "https://evil.test"}, (403, -32600, "bad_origin")),
        ({"Origin": "null"}, (403, -32600, "bad_origin")),
    ],
)  # fmt: skip
async def test_a_bad_header_has_its_own_error(
    lab: Lab, shop: Upstream, headers: dict[str, str | None], expected: tuple[int, int, str]
) -> None:
    for connection in ("keep-alive", "keep-alive, x-ordinary"):
        answer = await lab.client().modern("tools/call", {"name": shop.tool}, **{"Connection": connection, **headers})
        assert await error(answer) == expected
    assert shop.server.seen("tools/call") == []


async def test_every_refusal_names_the_request_it_answers_as_far_as_it_was_read(lab: Lab, shop: Upstream) -> None:
    answer = await lab.client().modern("tools/call", {"name": shop.tool}, id_="mine", Mcp_Name="other")
    assert (await answer.last())["id"] == "mine"
    assert "id" not in await (await lab.client().send(b"{")).last()


async def test_a_401_says_where_the_metadata_is_and_the_metadata_says_whose_it_is(lab: Lab, shop: Upstream) -> None:
    client = lab.client(shop)
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS"):
        answer = await client.send(b"", method, Authorization=None)
        assert answer.status == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge == (
            f'Bearer resource_metadata="{lab.run.url}/.well-known/oauth-protected-resource{client.path}", '
            'scope="mcp:read mcp:write"'
        )
    about = lab.client()
    about.path = f"/.well-known/oauth-protected-resource{client.path}"
    metadata = await (await about.send(b"", "GET", Authorization=None)).last()
    assert metadata["resource"] == lab.run.url + client.path


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {"MCP_Protocol_Version": MODERN}, 405),
        ("DELETE", {"MCP_Protocol_Version": MODERN}, 405),
        ("PUT", {}, 405),
        ("OPTIONS", {}, 405),
        ("GET", {"MCP_Protocol_Version": "2099-01-01"}, 400),
        ("GET", {"Accept": "application/json"}, 406),
        ("GET", {"Mcp_Session_Id": "forged"}, 404),
        ("DELETE", {}, 400),
        ("DELETE", {"Mcp_Session_Id": "forged"}, 404),
    ],
)
async def test_other_methods_have_the_status_of_their_era(
    lab: Lab, method: str, headers: dict[str, str | None], expected: int
) -> None:
    answer = await lab.client().send(b"", method, **headers)
    assert answer.status == expected
    if expected == 405:
        assert answer.headers["allow"] == "POST"


async def test_a_session_ends_with_delete_and_is_nobody_elses(lab: Lab, shop: Upstream) -> None:
    client = lab.client()
    await client.initialize()
    assert (await client.ask("tools/list")).status == 200
    stranger = lab.client(session=client.session)
    _, stranger.token = lab.run.person("bob@acme.test", "member")
    assert (await stranger.ask("tools/list")).status == 404
    assert (await client.send(b"", "DELETE", Mcp_Session_Id=client.session)).status == 200
    assert await error(await client.ask("tools/list")) == (404, -32001, "session_not_found")
    assert (await client.listen()).status == 404


async def test_a_version_that_nobody_speaks_names_those_we_do(lab: Lab) -> None:
    params = {"_meta": {**ENVELOPE, f"{META}protocolVersion": "2099-01-01"}}
    answer = await lab.client().send(message(params=params), MCP_Protocol_Version="2099-01-01", Mcp_Method="tools/list")
    found = await answer.last()
    assert (answer.status, found["error"]["code"]) == (400, -32022)
    assert found["error"]["data"]["supported"][0] == MODERN
    assert found["error"]["data"]["requested"] == "2099-01-01"


@pytest.mark.parametrize("missing", ["protocolVersion", "clientCapabilities"])
async def test_a_modern_request_without_its_envelope_is_refused(lab: Lab, missing: str) -> None:
    meta = {key: value for key, value in ENVELOPE.items() if not key.endswith(missing)}
    headers = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "tools/list"}
    answer = await lab.client().send(message(params={"_meta": meta}), **headers)
    assert await error(answer) == (400, -32602, "invalid_params")


@pytest.mark.parametrize("path", ["/mcp/u/nowhere", "/t/other/mcp"])
async def test_a_path_that_names_nothing_of_the_callers_is_not_served(lab: Lab, path: str) -> None:
    client = lab.client()
    client.path = path
    answer = await client.modern("tools/list")
    assert answer.status in (401, 404)


async def test_halves_of_characters_in_mirrored_arguments_are_refused(lab: Lab) -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    tool = {"name": "tool", "inputSchema": schema}
    async with lab.upstream(answered, modern=True, lists={"tools": [tool]}) as upstream:
        client = lab.client()
        for region, header, status in (("eu", "eu", 200), ("eu", "us", 400), ("eu", None, 400), ("\ud800", "x", 400)):
            params = {"name": upstream.tool, "arguments": {"region": region}}
            answer = await client.modern("tools/call", params, Mcp_Param_Region=header)
            assert answer.status == status
            await answer.last()
        (seen,) = upstream.server.seen("tools/call")
        assert seen.headers["mcp-param-region"] == "eu"
        assert seen.headers["mcp-name"] == "tool"
