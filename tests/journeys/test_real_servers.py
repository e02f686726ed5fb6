"""At least ten real servers of both eras behind one gateway, all in use at once, while one dies and one hangs."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gateway import Gateway, stdio_upstream
from tests.peers.raw_client import RawClient
from tests.peers.servers.real_servers import Server, prepare, table

pytestmark = pytest.mark.clients
VERSIONS = ("2025-11-25", "2026-07-28")


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    token: str
    servers: list[Server]

    def client(self, version: str, seconds: float = 60) -> RawClient:
        return RawClient(f"{self.gateway.url}/mcp", self.token, version=version, seconds=seconds)

    def working(self) -> list[Server]:
        return [server for server in self.servers if server.call is not None]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    place = Path(tempfile.mkdtemp(prefix="callgate-real-"))
    work = place / "work"
    work.mkdir()
    place.chmod(0o755)
    prepare(work)
    servers = table(work)
    gateway = Gateway(place)
    try:
        gateway.up()
        gateway.govern([stdio_upstream(server.name, server.command, server.env) for server in servers])
        yield Lab(gateway, gateway.token(), servers)
    finally:
        gateway.stop()
        shutil.rmtree(place, ignore_errors=True)


def use(lab: Lab, server: Server, version: str) -> str:
    """Make the server's call in a conversation of its own; the text of the whole result."""
    assert server.call is not None
    with lab.client(version) as client:
        return json.dumps(client.call(f"{server.name}__{server.call.tool}", **server.call.arguments))


def processes_of(server: Server) -> list[int]:
    """The processes started with the server's command line, by what the kernel says of them."""
    wanted = server.command[-1] if len(server.command) == 1 else server.command[1]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if wanted in words and "tests" not in words:
                found.append(int(entry.name))
    return found


def eventually(check: Callable[[], Any], seconds: float) -> Any:
    """The first value that is true, or the last one after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := check()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


def test_every_server_is_listed_with_its_tools(lab: Lab) -> None:
    assert len(lab.servers) >= 10
    assert {server.era for server in lab.servers} == {"legacy", "modern"}
    with lab.client("2026-07-28") as client:
        names = [tool["name"] for tool in client.tools()]
    for server in lab.servers:
        assert sum(name.startswith(f"{server.name}__") for name in names) >= server.least, server.name


def test_all_servers_work_at_once_for_clients_of_both_eras(lab: Lab) -> None:
    jobs = [(server, version) for server in lab.working() for version in VERSIONS]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda job: use(lab, *job), jobs))
    for (server, _), result in zip(jobs, results, strict=True):
        assert server.call is not None
        assert server.call.expect in result, (server.name, result[:500])


def test_one_that_dies_and_one_that_hangs_do_not_hurt_the_others(lab: Lab) -> None:
    by_name = {server.name: server for server in lab.working()}
    dead, hung = by_name.pop("memory"), by_name.pop("thinking")
    for server in (dead, hung):  # a conversation, so that there is a process to hurt
        use(lab, server, "2026-07-28")
    stopped = processes_of(hung)
    assert stopped, "the hanging server has no process"
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        killed = processes_of(dead)
        assert killed, "the dying server has no process"
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        with ThreadPoolExecutor(8) as pool:
            waiting = pool.submit(use_and_give_up, lab, hung)
            jobs = [(server, version) for server in by_name.values() for version in VERSIONS]
            results = list(pool.map(lambda job: use(lab, *job), jobs))
            for (server, _), result in zip(jobs, results, strict=True):
                assert server.call is not None
                assert server.call.expect in result, server.name
            assert waiting.result() != "answered"
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def use_and_give_up(lab: Lab, server: Server) -> str:
    """Call a server that hangs with a client of little patience."""
    assert server.call is not None
    try:
        with lab.client("2026-07-28", seconds=5) as client:
            client.call(f"{server.name}__{server.call.tool}", **server.call.arguments)
    except TimeoutError:
        return "gave up"
    return "answered"


def test_a_server_that_died_is_started_again(lab: Lab) -> None:
    dead = next(server for server in lab.working() if server.name == "sqlite")
    assert dead.call is not None
    use(lab, dead, "2025-11-25")
    for pid in processes_of(dead):
        os.kill(pid, signal.SIGKILL)
    expect = dead.call.expect
    assert eventually(lambda: expect in use(lab, dead, "2026-07-28"), 60)
