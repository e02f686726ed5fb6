"""A hostile but valid upstream, direct against through the gateway, member by member.

Whatever differs must be in docs/fidelity.md; here that list is the code that takes the intended differences away
before the two sides are compared. Anything left over fails with its path.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.exact_json import Members, decode, differences
from tests.peers.gateway import Gateway, http_upstream
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient

ERAS = {"handshake": "2025-11-25", "modern": "2026-07-28"}
SIDES = [(client, upstream) for client in ERAS for upstream in ("legacy", "modern")]
ERA_MEMBERS = ("resultType", "ttlMs", "cacheScope")
SAME = (
    *("odd", "odd_result", "null_structured", "list_structured", "binary", "tool_error"),
    *("big_id_first", "big_result_first", "big_pretty", "big_sse", "big_sse_lines", "sse_crlf", "chunked_odd"),
    *("drip", "dup", "DUP", "repo/create", "repo:create", "repo_create", "a__b", "naïve", "n" * 128),
)


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    token: str
    upstreams: dict[str, HostileUpstream]

    def direct(self, upstream: str) -> RawClient:
        version = ERAS["handshake" if upstream == "legacy" else "modern"]
        return RawClient(self.upstreams[upstream].url, version=version)

    def through(self, client: str, upstream: str, **options: Any) -> RawClient:
        url = f"{self.gateway.url}/mcp/u/{upstream}"
        return RawClient(url, self.token, version=ERAS[client], **options)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with (
        HostileUpstream("legacy", options=["--many", "2000", "--page", "300"]) as legacy,
        HostileUpstream("modern", options=["--many", "2000", "--page", "300"]) as modern,
    ):
        gateway = Gateway(tmp_path_factory.mktemp("fidelity"))
        try:
            gateway.up()
            gateway.govern([http_upstream("legacy", legacy.url), http_upstream("modern", modern.url)])
            yield Lab(gateway, gateway.token(), {"legacy": legacy, "modern": modern})
        finally:
            gateway.stop()


def result(raw: bytes) -> Any:
    message = decode(raw)
    assert isinstance(message, Members)
    assert [name for name, _ in message if name in ("result", "error")] != [], raw[:300]
    found = message.get("result")
    return found.without(*ERA_MEMBERS) if isinstance(found, Members) else message.get("error")


def all_items(client: RawClient, method: str, member: str) -> list[Members]:
    items: list[Members] = []
    cursor = None
    while True:
        page = result(client.raw(method, {"cursor": cursor} if cursor else {}))
        items += page.get(member)
        cursor = page.get("nextCursor")
        if cursor is None:
            return items


def assert_same(direct: Any, through: Any) -> None:
    assert [f"{one.path}: {str(one.left)[:200]} → {str(one.right)[:200]}" for one in differences(direct, through)] == []


@pytest.mark.parametrize(("client", "upstream"), SIDES)
@pytest.mark.parametrize("tool", SAME)
def test_a_result_arrives_as_it_was_sent(lab: Lab, client: str, upstream: str, tool: str) -> None:
    params = {"name": tool, "arguments": {}}
    with lab.direct(upstream) as here, lab.through(client, upstream) as there:
        assert_same(result(here.raw("tools/call", params)), result(there.raw("tools/call", params)))


@pytest.mark.parametrize(("client", "upstream"), SIDES)
@pytest.mark.parametrize(
    ("method", "member", "key"),
    [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
    ],
)
def test_definitions_arrive_as_they_were_sent(
    lab: Lab, client: str, upstream: str, method: str, member: str, key: str
) -> None:
    with lab.direct(upstream) as here, lab.through(client, upstream) as there:
        direct = {item.get(key): item for item in all_items(here, method, member)}
        through = {item.get(key): item for item in all_items(there, method, member)}
    assert sorted(through) == sorted(direct)
    for name, item in direct.items():
        assert_same(item, through[name])


@pytest.mark.parametrize(("client", "upstream"), SIDES)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("prompts/get", {"name": "odd_prompt", "arguments": {"a": "b"}}),
        ("resources/read", {"uri": "ui://hostile/view"}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "odd_prompt"}, "argument": {"name": "a", "value": ""}},
        ),
        ("tools/call", {"name": "rpc_error", "arguments": {}}),
    ],
)
def test_other_answers_arrive_as_they_were_sent(lab: Lab, client: str, upstream: str, method: str, params: Any) -> None:
    with lab.direct(upstream) as here, lab.through(client, upstream) as there:
        assert_same(result(here.raw(method, params)), result(there.raw(method, params)))


@pytest.mark.parametrize(("client", "upstream"), SIDES)
def test_notices_of_a_call_arrive_in_order_with_the_clients_own_token(lab: Lab, client: str, upstream: str) -> None:
    meta = {"progressToken": "my-token", "io.modelcontextprotocol/logLevel": "debug"}
    params = {"name": "notify", "arguments": {}, "_meta": meta}
    with lab.through(client, upstream) as there:
        there.raw("tools/call", params)
        methods = [notice["method"] for notice in there.notices]
        tokens = {note["params"].get("progressToken") for note in there.notices if "progress" in note["method"]}
    assert methods[:3] == ["notifications/progress"] * 3
    assert tokens == {"my-token"}
    unknown = ["notifications/x-unknown"] if client == "handshake" else []
    assert methods[3:] == ["notifications/message", *unknown]


@pytest.mark.parametrize(("client", "upstream"), SIDES)
def test_what_belongs_to_the_clients_side_does_not_travel(lab: Lab, client: str, upstream: str) -> None:
    with lab.through(client, upstream) as there:
        there.headers |= {"Cookie": "session=canary-cookie", "X-Forwarded-For": "canary-x", "Mcp-Param-Odd": "canary-p"}
        meta = {"callId": "canary-call", "x.test/kept": None, "claudecode/toolUseId": "canary-use"}
        arguments = {"n": 9007199254740993, "nothing": None}
        seen = there.ask("tools/call", {"name": "echo_request", "arguments": arguments, "_meta": meta})
    structured = seen["structuredContent"]
    names = {name for name, _ in structured["headers"]}
    assert not names & {"authorization", "cookie", "x-forwarded-for", "mcp-param-odd"}
    text = json.dumps(structured)
    assert lab.token not in text
    assert "canary" not in text
    sent = json.loads(structured["body"])["params"]
    assert sent["arguments"] == arguments
    assert sent["_meta"]["x.test/kept"] is None
    assert "9007199254740993" in structured["body"]


@pytest.mark.parametrize(("client", "upstream"), SIDES)
@pytest.mark.parametrize("id_", [0, -7, 2**53 + 1, "", "7", "id é"])
def test_an_id_comes_back_in_its_own_type(lab: Lab, client: str, upstream: str, id_: Any) -> None:
    with lab.through(client, upstream) as there:
        answer = there.send("tools/call", {"name": "odd_result", "arguments": {}}, id_=id_)
        got = json.loads(there._message(answer))["id"]
    assert got == id_
    assert type(got) is type(id_)


def test_the_written_list_of_differences_exists() -> None:
    page = Path(__file__).parents[2] / "docs" / "fidelity.md"
    text = page.read_text()
    for word in ("resultType", "ttlMs", "cacheScope", "serverInfo", "progress tokens", "Authorization"):
        assert word in text
