"""A hostile stdio server: whatever it tries against the gateway, its keys and other people fails."""

import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.peers.environments import SERVERS
from tests.peers.gateway import PERSON, Gateway, stdio_upstream
from tests.peers.raw_client import RawClient, RpcError

ERAS = ("legacy", "modern")
VERSIONS = ("2025-11-25", "2026-07-28")
OTHER = "bob@acme.test"


@dataclass
class Lab:
    gateway: Gateway
    marker: str
    tokens: dict[str, str] = field(default_factory=dict)

    def client(self, era: str, person: str = PERSON, version: str = VERSIONS[1], seconds: float = 60) -> RawClient:
        url = f"{self.gateway.url}/mcp/u/hostile-{era}"
        return RawClient(url, self.tokens[person], version=version, seconds=seconds)

    def call(self, era: str, tool: str, **arguments: Any) -> Any:
        with self.client(era) as client:
            return client.call(tool, **arguments)["structuredContent"]["value"]


def start() -> Lab:
    place = Path(tempfile.mkdtemp(prefix="callgate-hostile-"))
    place.chmod(0o755)  # a child of another user must fail at the data directory, not on the way to it
    program = place / "hostile_stdio.py"
    shutil.copy(SERVERS / "hostile_stdio.py", program)
    program.chmod(0o644)
    found = Lab(Gateway(place), f"marker-{uuid.uuid4()}")
    try:
        found.gateway.up()
        command = ("/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable, str(program))
        found.gateway.govern(
            [
                stdio_upstream(f"hostile-{era}", [*command, "--era", era, "--marker", found.marker], {"GIVEN": "yes"})
                for era in ERAS
            ]
        )
        found.gateway.cli("people", "add", OTHER)
        found.tokens = {person: found.gateway.token(person) for person in (PERSON, OTHER)}
    except BaseException:
        end(found)
        raise
    return found


def end(lab: Lab) -> None:
    lab.gateway.stop()
    shutil.rmtree(lab.gateway.place, ignore_errors=True)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    found = start()
    yield found
    end(found)


@pytest.fixture
def doomed() -> Iterator[Lab]:
    """A gateway of the test's own, to be killed."""
    found = start()
    yield found
    end(found)


def with_marker(marker: str) -> list[int]:
    """Every process on this machine that has the marker in its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(marker: str) -> bool:
    return not with_marker(marker)


def soon(check: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def secrets_of(gateway: Gateway) -> list[str]:
    data = gateway.data_dir
    inside = [path for path in sorted(data.rglob("*")) if path.is_file() or path.is_dir()]
    pid = gateway.process.popen.pid
    return [str(path) for path in (data, *inside)] + [f"/proc/{pid}/{name}" for name in ("environ", "mem", "fd", "cwd")]


@pytest.mark.parametrize("era", ERAS)
def test_it_cannot_read_or_write_the_data_directory_or_the_gateways_memory(lab: Lab, era: str) -> None:
    paths = secrets_of(lab.gateway)
    assert any(path.endswith("key") for path in paths)
    read = lab.call(era, "read_paths", paths=paths)
    assert {path: got for path, got in read.items() if "ok" in got} == {}
    written = lab.call(era, "write_paths", paths=paths)
    assert {path: got for path, got in written.items() if "ok" in got} == {}


@pytest.mark.parametrize("era", ERAS)
def test_it_cannot_reach_the_control_socket(lab: Lab, era: str) -> None:
    socket = next(path for path in lab.gateway.data_dir.rglob("*") if stat.S_ISSOCK(path.stat().st_mode))
    assert "failed" in lab.call(era, "connect_unix", path=str(socket), send="GET /api/v1/people HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("era", ERAS)
def test_it_has_no_operator_rights_at_the_gateways_port(lab: Lab, era: str) -> None:
    ask = "GET /api/v1/people HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = lab.call(era, "connect_tcp", port=lab.gateway.port, send=ask)
    assert "failed" in answer or " 401 " in answer["ok"].split("\r\n")[0]


@pytest.mark.parametrize("era", ERAS)
def test_it_gets_only_the_declared_environment_and_descriptors(lab: Lab, era: str) -> None:
    about = lab.call(era, "who_am_i")
    assert about["environment"]["GIVEN"] == "yes"
    assert not [name for name in about["environment"] if name.startswith("CALLGATE")]
    assert not [name for name in about["environment"] if "ANTHROPIC" in name or "TOKEN" in name]
    targets = {number: found.get("ok", "") for number, found in about["descriptors"].items()}
    assert not [target for target in targets.values() if str(lab.gateway.data_dir) in target]
    assert about["group"] != os.getpgid(lab.gateway.process.popen.pid)


@pytest.mark.parametrize("era", ERAS)
def test_it_cannot_signal_the_gateway(lab: Lab, era: str) -> None:
    assert "failed" in lab.call(era, "signal_pid", pid=lab.gateway.process.popen.pid, signal=0)


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_neither_children_nor_grandchildren_outlive_the_gateway(doomed: Lab, way: str) -> None:
    markers = [f"grandchild-{uuid.uuid4()}" for _ in ERAS]
    for era, marker in zip(ERAS, markers, strict=True):
        doomed.call(era, "ignore_sigterm")
        doomed.call(era, "fork_grandchild", marker=marker, seconds=120)
    try:
        assert all(with_marker(marker) for marker in (*markers, doomed.marker))
        if way == "kill":
            doomed.gateway.process.popen.kill()
        else:
            doomed.gateway.process.popen.terminate()
        doomed.gateway.process.popen.wait(30)
        for marker in (*markers, doomed.marker):
            assert soon(partial(gone, marker)), f"{marker} lives on"
    finally:
        for pid in (pid for marker in (*markers, doomed.marker) for pid in with_marker(marker)):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("era", ERAS)
def test_it_cannot_answer_another_persons_conversation(lab: Lab, era: str) -> None:

    def wait(version: str) -> Any:
        with lab.client(era, OTHER, version) as client:
            return client.call("pause", seconds=3)["structuredContent"]["value"]

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(wait, version) for version in VERSIONS]
        for _ in range(3):
            try:
                lab.call(era, "foreign_ids")
                lab.call(era, "foreign_progress")
            except RpcError:
                continue  # the gateway may end a conversation in which ids are made up
        assert [one.result() for one in waiting] == [{"done": "pause"}] * 2


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", ["garbage", "to_stderr", "answer_twice", "unasked_request"])
def test_noise_does_not_stop_the_conversation(lab: Lab, era: str, tool: str) -> None:
    with lab.client(era) as client:
        text = _outcome(client, tool, bytes=3_000_000)
    assert "upstream_" in text or "content" in text
    assert soon(lambda: _echoes(lab, era), 60)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", ["die", "die_half_way", "close_stdout"])
def test_one_that_dies_is_an_error_and_comes_back(lab: Lab, era: str, tool: str) -> None:
    with lab.client(era) as client:
        text = _outcome(client, tool)
    assert "upstream_" in text
    assert soon(lambda: _echoes(lab, era), 60)


def _outcome(client: RawClient, tool: str, **arguments: Any) -> str:
    """The result or the error, as text."""
    try:
        return json.dumps(client.call(tool, **arguments))
    except RpcError as error:
        return json.dumps(error.error)


def _echoes(lab: Lab, era: str) -> bool:
    try:
        return bool(lab.call(era, "echo", a=1) == {"a": 1})
    except (RpcError, KeyError):
        return False
