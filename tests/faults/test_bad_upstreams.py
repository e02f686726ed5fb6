"""Upstreams that behave badly over HTTP: each call ends in an error that says so, and nobody else is hurt."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import IncompleteRead
from typing import Any

import pytest

from tests.peers.gateway import Gateway, http_upstream
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient, RpcError

VERSIONS = ("2025-11-25", "2026-07-28")
PATIENCE = 5.0  # seconds without a sign of life, as the governance file sets them
FAILING = {
    "never": "upstream_timeout",
    "hang_in_result": "upstream_timeout",
    "die_in_result": "upstream_broke_off",
    "die_before_result": "upstream_broke_off",
    "wrong_id": "upstream_invalid",
    "foreign_first": "upstream_invalid",
    "not_json": "upstream_invalid",
    "status_500": "upstream_",
    "status_401": "upstream_",
    "redirect": "upstream_",
    "gzip_bomb": "upstream_",
}
ODD = ("duplicate_keys", "lone_surrogate", "invalid_utf8", "nul_bytes", "deep")


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    token: str
    upstreams: dict[str, HostileUpstream]

    def client(self, upstream: str, version: str, seconds: float = 60) -> RawClient:
        url = f"{self.gateway.url}/mcp/u/{upstream}"
        return RawClient(url, self.token, version=version, seconds=seconds)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with HostileUpstream("legacy") as old, HostileUpstream("modern") as new, HostileUpstream() as good:
        upstreams = {"old": old, "new": new, "good": good}
        gateway = Gateway(tmp_path_factory.mktemp("bad-upstreams"))
        try:
            gateway.up()
            gateway.govern(
                [{**http_upstream(name, server.url), "timeout_s": PATIENCE} for name, server in upstreams.items()]
            )
            yield Lab(gateway, gateway.token(), upstreams)
        finally:
            gateway.stop()


def outcome(client: RawClient, tool: str) -> tuple[bool, str]:
    """Whether it was an error, and the whole answer as text."""
    try:
        answer: Any = client.call(tool)
    except RpcError as error:
        return True, json.dumps(error.error)
    return bool(answer.get("isError")), json.dumps(answer)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("upstream", ["old", "new"])
@pytest.mark.parametrize("tool", FAILING)
def test_a_bad_answer_is_an_error_of_its_own_and_leaves_the_upstream_usable(
    lab: Lab, tool: str, upstream: str, version: str
) -> None:
    with lab.client(upstream, version) as client:
        failed, text = outcome(client, tool)
        assert failed, text[:500]
        assert FAILING[tool] in text
        assert "secret-in-error-page" not in text
        assert "meant for somebody else" not in text
        assert "169.254" not in text
    with lab.client(upstream, version) as client:
        assert client.call("dup")["content"][0]["text"] == "called dup"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("upstream", ["old", "new"])
def test_an_answer_that_grows_too_large_while_it_streams_is_broken_off(lab: Lab, upstream: str, version: str) -> None:
    """Nobody knows its length beforehand, and what is out cannot be taken back: it is cut and never looks whole."""
    with lab.client(upstream, version) as client, pytest.raises(IncompleteRead):
        client.call("oversized")
    with lab.client(upstream, version) as client:
        assert client.call("dup")["content"][0]["text"] == "called dup"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tool", ODD)
def test_odd_bytes_pass_unchanged_or_are_refused_and_break_nothing(lab: Lab, tool: str, version: str) -> None:
    with lab.client("new", version) as client:
        raw = client.raw("tools/call", {"name": tool, "arguments": {}})
        assert raw
    with lab.client("new", version) as client:
        assert client.call("dup")["content"][0]["text"] == "called dup"


def test_hanging_calls_do_not_slow_down_the_neighbours(lab: Lab) -> None:
    def hang(_: int) -> bool:
        with lab.client("new", "2026-07-28") as client:
            return outcome(client, "never")[0]

    with ThreadPoolExecutor(12) as pool:
        hanging = [pool.submit(hang, number) for number in range(8)]
        for version in VERSIONS * 3:
            with lab.client("good", version) as client:
                assert client.call("dup")["content"][0]["text"] == "called dup"
        assert not any(one.done() for one in hanging)
        assert all(one.result() for one in hanging)


@pytest.mark.parametrize("status", [404, 400])
def test_a_session_that_the_upstream_forgot_is_opened_again(lab: Lab, status: int) -> None:
    upstream = lab.upstreams["old"]
    with lab.client("old", "2025-11-25") as client:
        client.call("dup")
        before = len(upstream.calls())
        upstream.control(lost=status)
        assert client.call("dup")["content"][0]["text"] == "called dup"
        upstream.control(lost=0)
        assert len(upstream.calls()) <= before + 2


def test_the_gateway_hangs_up_on_a_modern_upstream_when_its_modern_client_does(lab: Lab) -> None:
    upstream = lab.upstreams["new"]
    client = lab.client("new", "2026-07-28", seconds=1).open()
    with pytest.raises(TimeoutError):
        client.call("wait")
    client.close()
    upstream.wait_log(lambda lines: any(line.get("event") == "gone" and line["rpc"] == "tools/call" for line in lines))
