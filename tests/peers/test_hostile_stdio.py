"""The hostile stdio server really can do what it tries where nobody stops it: a control for the sandbox tests."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.environments import SERVERS


class Direct:
    """One conversation over pipes; `lines` are raw."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SERVERS / "hostile_stdio.py", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.id = 100

    def send(self, method: str, params: Any = None) -> int:
        self.id += 1
        assert self.process.stdin is not None
        message = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params or {}}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        return self.id

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def call(self, name: str, **arguments: Any) -> Any:
        id_ = self.send("tools/call", {"name": name, "arguments": arguments})
        answer = json.loads(self.line())
        assert answer["id"] == id_
        return answer["result"]["structuredContent"]["value"]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child() -> Iterator[Direct]:
    direct = Direct()
    yield direct
    direct.close()


def test_it_speaks_either_era() -> None:
    for era, method, member in (
        ("legacy", "initialize", "protocolVersion"),
        ("modern", "server/discover", "resultType"),
    ):
        direct = Direct("--era", era)
        direct.send(method)
        assert member in json.loads(direct.line())["result"]
        direct.send("server/discover" if era == "legacy" else "initialize")
        assert json.loads(direct.line())["error"]["code"] == -32601
        direct.close()


def test_it_reads_and_writes_what_nobody_forbids(child: Direct, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("secret")
    found = child.call("read_paths", paths=[str(tmp_path), str(secret), str(tmp_path / "none")])
    assert found[str(tmp_path)] == {"ok": ["key"]}
    assert found[str(secret)] == {"ok": "secret"}
    assert found[str(tmp_path / "none")]["failed"] == "FileNotFoundError"
    child.call("write_paths", paths=[str(secret)])
    assert secret.read_text() != "secret"


def test_it_reaches_sockets_that_nobody_guards(child: Direct, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.create_server(("127.0.0.1", 0)) as server:
        path = str(tmp_path / "socket")
        listener.bind(path)
        listener.listen()
        assert child.call("connect_unix", path=path) == {"ok": "connected"}
        assert child.call("connect_tcp", port=server.getsockname()[1]) == {"ok": "connected"}
    assert child.call("connect_unix", path=path)["failed"] == "ConnectionRefusedError"


def test_its_grandchild_outlives_a_polite_end(child: Direct) -> None:
    marker = f"marker-{uuid.uuid4()}"
    pid = child.call("fork_grandchild", marker=marker, seconds=60)["pid"]
    child.close()
    try:
        os.kill(pid, signal.SIGTERM)
        assert marker in Path(f"/proc/{pid}/cmdline").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_it_answers_ids_that_it_was_not_asked(child: Direct) -> None:
    id_ = child.send("tools/call", {"name": "foreign_ids"})
    ids: list[Any] = []
    while not ids or ids[-1] != id_:
        ids.append(json.loads(child.line())["id"])
    assert {id_ - 1, id_ + 1, str(id_), None, "admin"} <= set(ids)


def test_garbage_comes_before_the_answer(child: Direct) -> None:
    id_ = child.send("tools/call", {"name": "garbage", "arguments": {"bytes": 1_000_000}})
    lines = [child.line() for _ in range(8)]
    assert max(len(line) for line in lines) > 1_000_000
    assert json.loads(child.line())["id"] == id_


def test_it_dies_in_the_middle_of_a_line(child: Direct) -> None:
    child.send("tools/call", {"name": "die_half_way"})
    assert not child.line().endswith(b"\n")
    assert child.process.wait(10) == 3


def test_a_call_that_hangs_does_not_stop_the_others(child: Direct) -> None:
    child.send("tools/call", {"name": "never"})
    assert child.call("echo", a=1) == {"a": 1}


def test_it_can_ignore_a_polite_end(child: Direct) -> None:
    assert child.call("ignore_sigterm") == {"ignoring": "SIGTERM"}
    child.process.terminate()
    assert child.call("echo", a=1) == {"a": 1}


def test_it_tells_what_it_was_given(child: Direct) -> None:
    about = child.call("who_am_i")
    assert about["uid"] == os.getuid()
    assert about["environment"]["PATH"] == os.environ["PATH"]
    assert about["ppid"] == os.getpid()
