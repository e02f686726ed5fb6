"""Definitions that no honest server sends, from a real program: none of them breaks the gateway, its neighbours, or the
terminal of whoever looks at them, and nothing that they name is ever fetched."""

import json
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gateway import Gateway, http_upstream, stdio_upstream
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import RawClient

PROGRAM = """import json, sys
def answer(id_, result):
    sys.stdout.buffer.write(b'{"jsonrpc":"2.0","id":%d,"result":%b}\\n' % (id_, result))
    sys.stdout.buffer.flush()
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        about = {"name": "odd", "version": "1"}
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
        answer(message["id"], json.dumps(result).encode())
    elif method == "tools/list":
        answer(message["id"], b'{"tools":[' + open(sys.argv[1], "rb").read() + b']}')
    elif "id" in message:
        answer(message["id"], b'{"content":[]}')
"""
PLAIN = b'{"name":"plain","description":"A plain tool.","inputSchema":{"type":"object"}}'
ESCAPES = '{"name":"esc","description":"a\\u001b]8;;https://x.test\\u0007b\\u202ec\\u001b[2Jd","inputSchema":{}}'


@dataclass
class Listener:
    """Counts who connects."""

    socket: socket.socket
    met: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/schema.json"

    def run(self) -> None:
        while True:
            try:
                self.met.append(self.socket.accept())
            except OSError:
                return


@dataclass
class Lab:
    gateway: Gateway
    token: str
    tools: Path
    listener: Listener

    def offer(self, raw: bytes) -> dict[str, Any]:
        """Offer this, and look: the state of the upstream."""
        self.tools.write_bytes(raw)
        return dict(json.loads(self.gateway.cli("upstreams", "refresh", "odd", "--json")))

    def known(self) -> dict[str, dict[str, Any]]:
        tools = json.loads(self.gateway.cli("tools", "list", "--upstream", "odd", "--json"))
        return {tool["tool"]: tool for tool in tools}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        listener = Listener(stack.enter_context(socket.create_server(("127.0.0.1", 0))))
        threading.Thread(target=listener.run, daemon=True).start()
        upstream = stack.enter_context(HostileUpstream())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callgate-odd-")))
        place.chmod(0o755)  # the child runs as somebody else
        (place / "server.py").write_text(PROGRAM)
        (place / "tools.json").write_bytes(PLAIN)
        gateway = Gateway(tmp_path_factory.mktemp("odd"))
        stack.callback(gateway.stop)
        gateway.up()
        program = stdio_upstream("odd", [sys.executable, place / "server.py", place / "tools.json"])
        gateway.govern([http_upstream("fine", upstream.url), program])
        yield Lab(gateway, gateway.token(), place / "tools.json", listener)


DEEP = b'{"type":"object","properties":{"a":' * 10_000 + b'{"type":"string"}' + b"}}" * 10_000
QUARANTINED = {
    "a member twice": b'{"name":"odd","description":"one","description":"two","inputSchema":{"type":"object"}}',
    "half a surrogate pair": b'{"name":"odd","description":"\\ud800","inputSchema":{"type":"object"}}',
}
HARMLESS = {
    "a schema that refers to itself": b'{"name":"odd","inputSchema":{"$ref":"#","$defs":{"a":{"$ref":"#/$defs/a"}}}}',
    "five megabytes": b'{"name":"odd","description":"' + b"All is well. " * 400_000 + b'","inputSchema":{}}',
    "the same name twice": b'{"name":"odd","inputSchema":{}},{"name":"odd","description":"second","inputSchema":{}}',
    "escape sequences": ESCAPES.replace("esc", "odd").encode(),
}
REFUSED = {
    "ten thousand levels": b'{"name":"odd","inputSchema":' + DEEP + b"}",
    "bytes that are no UTF-8": b'{"name":"odd","description":"caf\xe9","inputSchema":{"type":"object"}}',
    "no name": b'{"description":"nobody"}',
    "no object": b"7",
}


@pytest.mark.parametrize("raw", QUARANTINED.values(), ids=QUARANTINED.keys())
def test_what_cannot_be_read_for_certain_is_quarantined_and_never_trusted(lab: Lab, raw: bytes) -> None:
    assert lab.offer(PLAIN + b"," + raw)["state"] == "ok"
    tool = lab.known()["odd"]
    assert tool["quarantined"]
    with pytest.raises(AssertionError, match="never be trusted"):
        lab.gateway.cli("tools", "approve", tool["name"], "--hash", tool["full"])
    assert_all_is_well(lab)


@pytest.mark.parametrize("raw", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_odd_is_kept_as_it_is_and_shown_harmless(lab: Lab, raw: bytes) -> None:
    assert lab.offer(PLAIN + b"," + raw)["state"] == "ok"
    assert lab.known()["odd"]["status"] in ("pending_review", "drift_detected")
    for command in (("tools", "show"), ("tools", "diff"), ("tools", "history")):
        assert not unprintable(lab.gateway.cli(*command, lab.known()["odd"]["name"]))
    assert not unprintable(lab.gateway.cli("risks", "list"))
    assert_all_is_well(lab)


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_a_list_that_is_not_valid_changes_nothing(lab: Lab, raw: bytes) -> None:
    lab.offer(PLAIN)
    before = lab.known()["plain"]
    state = lab.offer(PLAIN + b"," + raw)
    assert state["state"] == "broken" or lab.known()["odd"]["quarantined"]
    assert state["state"] == "ok" or state["reason"]
    assert lab.known()["plain"] == before
    assert_all_is_well(lab)


def test_nothing_that_a_schema_names_is_fetched(lab: Lab) -> None:
    url = lab.listener.url
    schema = {"$schema": url, "$ref": url, "properties": {"a": {"$ref": f"{url}#/a"}}}
    tool = {"name": "fetching", "description": url, "inputSchema": schema, "icons": [{"src": url}]}
    assert lab.offer(PLAIN + b"," + json.dumps(tool).encode())["state"] == "ok"
    known = lab.known()["fetching"]
    lab.gateway.cli("tools", "diff", known["name"])
    lab.gateway.cli("risks", "rescan")
    lab.gateway.cli("tools", "approve", known["name"], "--hash", known["full"])
    with RawClient(f"{lab.gateway.url}/mcp/u/odd", lab.token) as client:
        assert "fetching" in [one["name"] for one in client.tools()]
        client.call("fetching", a=1)
    assert lab.listener.met == []


def assert_all_is_well(lab: Lab) -> None:
    """The neighbour is served as ever."""
    with RawClient(f"{lab.gateway.url}/mcp/u/fine", lab.token) as client:
        assert client.call("odd")["content"]


def unprintable(text: str) -> list[str]:
    """Characters that a terminal would act on."""
    return [
        char for char in text if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\u2066")
    ]
