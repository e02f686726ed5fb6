"""The table of real servers is true: each one starts as written, speaks the era that it says, and does its work."""

import json
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.peers.servers.real_servers import Server, prepare, table

pytestmark = pytest.mark.peers
VERSION, ABOUT, CAPABILITIES = (
    f"io.modelcontextprotocol/{name}" for name in ("protocolVersion", "clientInfo", "clientCapabilities")
)
MODERN = {"_meta": {VERSION: "2026-07-28", ABOUT: {"name": "t", "version": "1"}, CAPABILITIES: {}}}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


class Pipe:
    """One conversation over pipes."""

    def __init__(self, server: Server) -> None:
        self.process = subprocess.Popen(
            server.command,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", **server.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.modern = server.era == "modern"
        self._rest = b""
        self._id = 0

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        self.send({"id": self._id, "method": method, "params": {**params, **(MODERN if self.modern else {})}})
        while True:
            message = json.loads(self._line())
            if message.get("id") == self._id and "method" not in message:
                return dict(message)

    def _line(self, seconds: float = 30) -> bytes:
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            data = self.process.stdout.read1(65536) if ready else b""  # type: ignore[attr-defined]
            if not data:
                raise TimeoutError(f"the server said nothing more after {self._rest!r}")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


NAMES = [
    "everything",
    "files",
    "memory",
    "thinking",
    "time",
    "git",
    "fetch",
    "sqlite",
    "github",
    "slack",
    "postgres",
    "notion",
    "context7",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_real_server_lists_and_works_as_the_table_says(name: str, place: Path) -> None:
    server = next(one for one in table(place) if one.name == name)
    pipe = Pipe(server)
    try:
        discovered = pipe.ask("server/discover") if pipe.modern else pipe.ask("initialize", **HELLO)
        assert "result" in discovered, discovered
        if not pipe.modern:
            pipe.send({"method": "notifications/initialized"})
        tools = [tool["name"] for tool in pipe.ask("tools/list")["result"]["tools"]]
        assert len(tools) >= server.least
        if server.call is not None:
            answer = pipe.ask("tools/call", name=server.call.tool, arguments=server.call.arguments)
            assert server.call.expect in json.dumps(answer["result"])
    finally:
        pipe.close()


def test_the_table_has_ten_servers_of_both_eras(place: Path) -> None:
    servers = table(place)
    assert [one.name for one in servers] == NAMES
    assert len(servers) >= 10
    assert {one.era for one in servers} == {"legacy", "modern"}
