"""Clients that read a byte a second and upstreams that stop in the middle: nobody else waits, and memory stays bounded.

The gateway is a process of its own, so that its memory is its own. Nothing here asserts on time: what is asserted is
that others have been served while the slow ones were still in progress.
"""

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from tests.peers.gateway import Gateway, http_upstream
from tests.peers.hostile import HostileUpstream
from tests.peers.raw_client import META, RawClient, events

LEGACY, MODERN = "2025-11-25", "2026-07-28"
VERSIONS = (LEGACY, MODERN)
EDGES = {"fast": "keep-alive", "ordinary": "keep-alive, x-ordinary"}
BIG = ("big_id_first", "big_pretty", "big_sse", "big_after_progress")
RESULT = 5_000_000  # bytes of each of them
WINDOW = 4096  # bytes that a slow client's kernel takes unasked
SEGMENT = 536  # bytes of a packet to it: so that the gateway's kernel keeps little for it, as on a real network
RATE = 1.0  # seconds for each byte


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    token: str
    upstreams: dict[str, HostileUpstream]

    def client(self, upstream: str, version: str, seconds: float = 60) -> RawClient:
        url = f"{self.gateway.url}/mcp/u/{upstream}"
        return RawClient(url, self.token, version=version, seconds=seconds)

    def outcomes(self, *tools: str) -> list[str | None]:
        """How the recorded calls of these tools ended, the oldest first; None for those that have not."""
        found = [json.loads(line) for line in self.gateway.cli("audit", "export", "--json").splitlines()]
        calls = [event for event in found if str(event.get("tool")).rpartition("__")[2] in tools]
        return [event.get("outcome") for event in calls]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with HostileUpstream("legacy") as old, HostileUpstream("modern") as new, HostileUpstream() as good:
        upstreams = {"old": old, "new": new, "good": good}
        gateway = Gateway(tmp_path_factory.mktemp("slow-peers"))
        try:
            gateway.up()
            gateway.govern([http_upstream(name, server.url) for name, server in upstreams.items()])
            yield Lab(gateway, gateway.token(), upstreams)
        finally:
            gateway.stop()


class Memory:
    """The resident memory of a process: `grown` is by how much its highest point since the start lies above it."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the highest point starts anew
        self._before = self._read("VmRSS")

    def _read(self, field: str) -> int:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024

    @property
    def grown(self) -> int:
        return self._read("VmHWM") - self._before


class SlowClient:
    """One call on a connection of its own, whose answer is read a byte at a time until `finish` or `leave`."""

    def __init__(self, opened: RawClient, gateway: Gateway, tool: str, edge: str, **arguments: Any) -> None:
        self.begun = threading.Event()
        self._hurry = threading.Event()
        self._left = False
        self._got = bytearray()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", gateway.port))
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "slow"}}
        self._socket.sendall(_request(opened, gateway, params, edge))
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _read(self) -> None:
        with self._socket:
            while not self._hurry.is_set() and (data := self._more(1)):
                self._got += data
                self.begun.set()
                self._hurry.wait(RATE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            while not self._left and not self._whole() and (data := self._more(1 << 20)):
                self._got += data

    def _more(self, size: int) -> bytes:
        try:
            return self._socket.recv(size)
        except OSError:  # cut off, or silent for too long: whoever wants the whole answer misses its end
            return b""

    def _whole(self) -> bool:
        return self._got.endswith(b"0\r\n\r\n")

    @property
    def waits(self) -> bool:
        """Whether its answer is still on the way."""
        return self._thread.is_alive() and not self._whole()

    def leave(self) -> None:
        """Hang up, wherever the answer is."""
        self._left = True
        self._hurry.set()
        self._thread.join(70)

    def finish(self) -> Any:
        """Read on at full speed; the result, None when the answer was broken off."""
        self._hurry.set()
        self._thread.join(70)
        if not self._whole():
            return None
        answer = http.client.HTTPResponse(_Kept(bytes(self._got)))  # type: ignore[arg-type]
        answer.begin()
        streamed = "event-stream" in (answer.getheader("Content-Type") or "")
        raw = list(events(answer))[-1] if streamed else answer.read()
        return json.loads(raw)["result"]


def _request(opened: RawClient, gateway: Gateway, params: dict[str, Any], edge: str) -> bytes:
    """The bytes of a `tools/call` on a session that is open."""
    headers = {**opened.headers, "Host": f"127.0.0.1:{gateway.port}", "Connection": EDGES[edge]}
    if opened.modern:
        envelope = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
        params = {**params, "_meta": {**params["_meta"], **envelope}}
        headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": params["name"]}
    body = json.dumps({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": params}).encode()
    headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {opened._path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class _Kept:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._data))


def serve_others(lab: Lab, calls: int = 10) -> None:
    """Others are served: by the same upstreams and another, in both eras, small results and large ones."""
    for upstream in lab.upstreams:
        for version in VERSIONS:
            with lab.client(upstream, version) as client:
                for _ in range(calls):
                    assert client.call("dup")["content"][0]["text"] == "called dup"
                assert len(client.raw("tools/call", {"name": "big_result_first", "arguments": {}})) > RESULT * 0.9


def opened(lab: Lab, stack: ExitStack) -> dict[tuple[str, str], RawClient]:
    """A client of each era at an upstream of each era. The conversations are open: the fast path may take calls."""
    found = {
        (upstream, version): stack.enter_context(lab.client(upstream, version))
        for upstream in ("old", "new")
        for version in VERSIONS
    }
    for client in found.values():
        client.call("dup")
    return found


@pytest.mark.parametrize("edge", EDGES)
def test_clients_that_read_a_byte_a_second_disturb_nobody_and_get_their_answers_whole(lab: Lab, edge: str) -> None:
    with ExitStack() as stack:
        clients = opened(lab, stack)
        serve_others(lab, 1)
        memory = Memory(lab.gateway.process.popen.pid)
        slow = {
            (*where, tool): stack.enter_context(SlowClient(client, lab.gateway, tool, edge))
            for where, client in clients.items()
            for tool in BIG
        }
        assert all(one.begun.wait(60) for one in slow.values())
        serve_others(lab)
        assert all(one.waits for one in slow.values())
        assert memory.grown < len(slow) * RESULT // 2
        assert lab.outcomes(*BIG).count(None) == len(slow)  # no answer was completed, so none is on record as such
        for (upstream, version, tool), one in slow.items():
            if tool == BIG[0]:
                one.leave()
            else:
                assert one.finish() == clients[upstream, version].call(tool)
        serve_others(lab, 1)
        assert memory.grown < len(slow) * RESULT // 2
        # who left without a cancel: a modern call ends with its connection, a handshake-era one goes on for nobody
        wait_for_no_open_call(lab)
        assert set(lab.outcomes(*BIG[1:])) == {"result"}


def wait_for_no_open_call(lab: Lab) -> None:
    for _ in range(20):  # each look takes a second or so
        if None not in lab.outcomes(*BIG, "wait_in_result"):
            return
    raise AssertionError("calls were left open")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("edge", EDGES)
def test_an_answer_that_ends_while_its_client_is_behind_arrives_whole(lab: Lab, edge: str, version: str) -> None:
    """Its end fits into the gateway's buffers, so the upstream has done its part before the client has read."""
    upstream = lab.upstreams["new"]
    with lab.client("new", version) as client:
        client.call("dup")
        with SlowClient(client, lab.gateway, "wait_in_result", edge, size=760_000, kept=100_000) as slow:
            assert slow.begun.wait(60)
            upstream.control(release=True)
            serve_others(lab, 1)
            assert slow.waits
            assert slow.finish()["isError"] is False


def told_of(lines: list[dict[str, Any]], **wanted: str) -> int:
    """How often an upstream has noted this."""
    return sum(wanted.items() <= line.items() for line in lines)


@pytest.mark.parametrize("edge", EDGES)
def test_an_upstream_that_stops_in_the_middle_disturbs_nobody(lab: Lab, edge: str) -> None:
    with ExitStack() as stack:
        clients = opened(lab, stack)
        before = (
            told_of(lab.upstreams["old"].log(), rpc="notifications/cancelled"),
            told_of(lab.upstreams["new"].log(), event="gone"),
        )
        memory = Memory(lab.gateway.process.popen.pid)
        stuck = {
            where: stack.enter_context(SlowClient(client, lab.gateway, "wait_in_result", edge))
            for where, client in clients.items()
        }
        assert all(one.begun.wait(60) for one in stuck.values())
        serve_others(lab)
        assert all(one.waits for one in stuck.values())
        assert memory.grown < len(stuck) * RESULT
        for (upstream, version), client in clients.items():
            if version == LEGACY:  # cancelled by name; a modern client hangs up
                told = client.send("notifications/cancelled", {"requestId": "slow"}, id_=None)
                assert (told.status, told.read()) == (202, b"")
                assert stuck[upstream, version].finish() is None
            else:
                stuck[upstream, version].leave()
        lab.upstreams["old"].wait_log(lambda lines: told_of(lines, rpc="notifications/cancelled") >= before[0] + 2)
        lab.upstreams["new"].wait_log(lambda lines: told_of(lines, event="gone") >= before[1] + 2)
        serve_others(lab, 1)
        wait_for_no_open_call(lab)
        assert lab.outcomes("wait_in_result")[-4:] == ["cancelled"] * 4
