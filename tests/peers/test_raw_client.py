"""The raw client gets the same results as an SDK's, in either era."""

from collections.abc import Iterator

import pytest

from tests.peers.processes import fixture_server
from tests.peers.raw_client import RawClient, RpcError

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with fixture_server() as server:
        yield server.wait_ready()


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", "2026-07-28"])
def test_it_lists_and_calls(url: str, version: str) -> None:
    with RawClient(url, version=version) as client:
        assert "echo" in [tool["name"] for tool in client.tools()]
        assert client.call("echo", text="hi")["structuredContent"] == {"text": "hi", "length": 2}
        with pytest.raises(RpcError) as raised:
            client.call("no-such-tool")
    assert raised.value.error["code"] == -32602


def test_notices_of_a_call_are_kept(url: str) -> None:
    with RawClient(url) as client:
        params = {"name": "test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": "p"}}
        client.ask("tools/call", params)
        assert [notice["params"]["progress"] for notice in client.notices] == [0, 50, 100]
