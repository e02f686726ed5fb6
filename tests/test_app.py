"""The composition root: what stops a start, what a role serves, and how the process ends."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from callgate.app import Gateway
from callgate.cli.client import Client, connect_unix
from callgate.control.local_socket import peer_uid
from callgate.errors import Refused
from callgate.listening import bind_tcp, locked, prepare_data_dir
from callgate.settings import Settings
from tests.support.running import running


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_it_is_alive_and_ready(tmp_path: Path) -> None:
    with running(tmp_path / "data") as gateway:
        assert get(f"{gateway.url}/healthz") == (200, {"ok": True})
        assert get(f"{gateway.url}/readyz") == (200, {"ready": True})
        assert get(f"{gateway.url}/nothing")[1]["code"] == "not_found"
        assert get(f"{gateway.url}/mcp")[0] == 401


def test_everything_in_the_data_directory_is_its_owners_alone(tmp_path: Path) -> None:
    with running(tmp_path / "deep" / "data") as gateway:
        data = gateway.settings.data_dir
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        for name in ("control.sock", "lock", "secrets/key"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name
    assert not (data / "control.sock").exists()


def test_a_data_directory_that_others_can_use_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(Refused, match="chmod 700"), running(tmp_path):
        pass


async def test_a_second_process_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    prepare_data_dir(settings.data_dir)
    with locked(settings.data_dir), pytest.raises(Refused) as caught:
        async with Gateway.start(settings):
            pass
    assert caught.value.code == "data_dir_in_use"
    assert str(settings.data_dir) in caught.value.sentence


async def test_a_taken_port_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=f"Port {port} on 127.0.0.1 is taken") as caught:
            async with Gateway.start(Settings(data_dir=tmp_path / "data", port=port)):
                pass
    assert caught.value.code == "port_in_use"
    assert not (tmp_path / "data" / "callgate.db").exists()


def test_a_host_that_is_not_ours_is_a_bad_setting() -> None:
    with pytest.raises(Refused, match=r"192\.0\.2\.1") as caught:
        bind_tcp(Settings(host="192.0.2.1", port=0))
    assert caught.value.code == "bad_setting"


async def test_a_database_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    async with Gateway.start(settings, tcp=False) as gateway:
        path = gateway.services.db.path
        assert path is not None

    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    database.close()
    with pytest.raises(Refused) as caught:
        async with Gateway.start(settings, tcp=False):
            pass
    assert caught.value.code == "schema_too_new"


async def test_another_key_file_does_not_open_the_store(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    async with Gateway.start(settings, tcp=False):
        pass
    settings.key_path.unlink()
    with pytest.raises(Refused, match="key file does not open") as caught:
        async with Gateway.start(settings, tcp=False):
            pass
    assert caught.value.code == "bad_setting"


def test_a_left_over_socket_of_a_dead_process_is_no_obstacle(tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare_data_dir(data)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(data / "control.sock"))
    dead.close()
    with running(data) as gateway:
        assert gateway.operator.get("/whoami")["id"] == f"operator:{os.geteuid()}"


def test_a_data_directory_with_a_very_long_name_has_its_socket(tmp_path: Path) -> None:
    with running(tmp_path / ("d" * 100) / ("e" * 100)) as gateway:
        assert gateway.operator.get("/whoami")["kind"] == "operator"


def test_the_peer_of_a_local_socket_is_known(tmp_path: Path) -> None:
    with running(tmp_path / "data") as gateway:
        connection = connect_unix(gateway.settings.control_socket, 5.0)
        assert peer_uid(connection) == os.geteuid()
        connection.close()


def test_a_header_can_not_make_an_operator(tmp_path: Path) -> None:
    with running(tmp_path / "data") as gateway:
        client = Client.at_url(gateway.url, "cgt_" + "x" * 43)
        with pytest.raises(Refused, match="unknown, revoked or expired"):
            client.get("/whoami")
        client.close()


def test_the_role_decides_what_the_port_serves(tmp_path: Path) -> None:
    with running(tmp_path / "gateway", role="gateway") as gateway:
        assert get(f"{gateway.url}/api/v1/openapi.json")[0] == 404
        assert get(f"{gateway.url}/mcp")[0] == 401
        assert gateway.operator.get("/whoami")["kind"] == "operator"
    with running(tmp_path / "control", role="control") as gateway:
        assert get(f"{gateway.url}/api/v1/openapi.json")[0] == 200
        assert get(f"{gateway.url}/mcp")[0] == 404


def test_without_tokens_only_in_the_mode_asked_for_by_name(tmp_path: Path) -> None:
    with running(tmp_path / "data", anonymous_person="ana@acme.test") as gateway:
        assert get(f"{gateway.url}/mcp")[1]["error"]["message"].startswith("Nobody has the address")
        gateway.operator.post("/people", {"email": "ana@acme.test"})
        assert get(f"{gateway.url}/mcp")[0] != 401
        gateway.operator.post("/people/ana@acme.test/deactivate")
        assert get(f"{gateway.url}/mcp")[0] == 401
        assert get(f"{gateway.url}/api/v1/whoami")[0] == 401


@contextmanager
def up(tmp_path: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    command = [sys.executable, "-m", "callgate", "up", "--json", "--port", "0", "--data-dir", str(tmp_path / "data")]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, name: signal.Signals) -> None:
    with up(tmp_path) as (process, facts):
        assert get(f"{facts['url']}/readyz")[0] == 200
        process.send_signal(name)
        assert process.wait(30) == 0
        assert process.stderr is not None
        logged = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert [(one["level"], one["event"]) for one in logged] == [
            ("info", "gateway started"),
            ("info", "gateway stops"),
        ]
    assert not (tmp_path / "data" / "control.sock").exists()


def test_killed_at_once_it_starts_again(tmp_path: Path) -> None:
    with up(tmp_path) as (process, facts):
        assert facts["first_run"] is True
        process.kill()
        process.wait(30)
    with up(tmp_path) as (_, facts):
        assert facts["first_run"] is False
        assert "token" not in facts


async def test_on_postgresql_two_replicas_share_everything(tmp_path: Path, pg_url: str) -> None:
    first = Settings(data_dir=tmp_path / "a", database_url=pg_url, port=0, poll_seconds=0.2)
    async with Gateway.start(first) as one:
        other = Settings(
            data_dir=tmp_path / "b", database_url=pg_url, key_file=first.key_path, port=0, poll_seconds=0.2
        )
        async with Gateway.start(other) as two:
            assert one.services.replica != two.services.replica
            clients = [Client.at_socket(gateway.settings.control_socket) for gateway in (one, two)]
            made = await asyncio.to_thread(clients[0].post, "/people", {"email": "ana@acme.test"})
            found = await asyncio.to_thread(clients[1].get, "/people/ana@acme.test")
            assert found == made
            shown = await asyncio.to_thread(clients[1].get, "/replicas")
            assert {item["id"] for item in shown["items"]} == {one.services.replica, two.services.replica}
            recorded = await asyncio.to_thread(clients[1].get, "/audit/tail")
            assert [item["action"] for item in recorded["items"]] == ["people.add"]
            for client in clients:
                client.close()
    third = Settings(data_dir=tmp_path / "c", database_url=pg_url, port=0)
    with pytest.raises(Refused, match="key file does not open"):
        async with Gateway.start(third, tcp=False):
            pass
