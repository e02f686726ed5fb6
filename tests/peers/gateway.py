"""The gateway as its users meet it: a process, its command line and its URL. Nothing here knows its insides."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.peers.environments import ROOT, SERVERS
from tests.peers.processes import Process

PERSON = "ana@acme.test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class CommandFailed(AssertionError):
    """A callgate command did not end with 0."""


class Gateway:
    """One data directory and the process that serves it, on loopback."""

    def __init__(self, place: Path, *, database_url: str = "", settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = place / "data"
        self.place = place
        self.port = free_port()
        self._process: Process | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLGATE_")}
        self.env = {**kept, "CALLGATE_ALLOWED_NETWORKS": '["127.0.0.0/8"]', **(settings or {})}
        if database_url:
            self.env["CALLGATE_DATABASE_URL"] = database_url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> Process:
        assert self._process is not None, "the gateway has not been started"
        return self._process

    def up(self, *more: str, seconds: float = 60) -> None:
        """Start it and wait until it says that it is ready. Raises TimeoutError with what it printed."""
        command = [*_callgate(), "up", "--data-dir", str(self.data_dir), "--port", str(self.port), *more]
        self._process = Process(command, env=self.env, cwd=self.place)
        end = time.monotonic() + seconds
        while not self._is_ready():
            if time.monotonic() > end or self.process.popen.poll() is not None:
                text = self.process.text()
                self.stop()
                raise TimeoutError(f"the gateway did not become ready:\n{text}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def cli(self, *arguments: str, seconds: float = 150) -> str:
        """Run a command against this gateway and give its standard output. Raises CommandFailed."""
        done = subprocess.run(
            [*_callgate(), *arguments, "--data-dir", str(self.data_dir)],
            env=self.env,
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode != 0:
            raise CommandFailed(
                f"callgate {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def govern(self, upstreams: Sequence[Mapping[str, Any]], *, approve: bool = True) -> None:
        """Apply a governance file with one admin and these upstreams, and approve all of their tools."""
        value = {"people": [{"email": PERSON, "roles": ["admin"]}], "upstreams": list(upstreams)}
        path = self.place / "governance.yaml"
        path.write_text(json.dumps(value, indent=1))  # JSON is YAML
        self.cli("apply", "-f", str(path))
        if approve:
            self.cli("tools", "approve", "--all", "--yes")

    def token(self, person: str = PERSON) -> str:
        return self.cli("tokens", "issue", "--person", person).strip().splitlines()[-1]


def replicas(
    stack: ExitStack, place: Path, database_url: str, count: int, settings: Mapping[str, str] | None = None
) -> list[Gateway]:
    """Gateways on one database and with one key file, each with a directory and a port of its own; all are up."""
    shared = {"CALLGATE_KEY_FILE": str(place / "key"), **(settings or {})}
    found = []
    for number in range(count):
        own = place / str(number)
        own.mkdir()
        gateway = Gateway(own, database_url=database_url, settings=shared)
        stack.callback(gateway.stop)
        gateway.up()
        found.append(gateway)
    return found


def _callgate() -> list[str]:
    program = Path(sys.executable).parent / "callgate"
    return [str(program)] if program.exists() else [sys.executable, "-m", "callgate"]


def http_upstream(name: str, url: str) -> dict[str, Any]:
    return {"name": name, "url": url, "allow_private": True}


def stdio_upstream(name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    first, *rest = (str(part) for part in command)
    return {"name": name, "stdio": {"command": first, "args": rest, "env": dict(env or {})}}


def header_proxy(stack: ExitStack, ports: Sequence[int], headers: Sequence[str] = ()) -> str:
    """Start the header proxy before these ports and give its base URL (by the name localhost)."""
    command: list[str | Path] = [sys.executable, ROOT / "tests" / "peers" / "header_proxy.py"]
    for port in ports:
        command += ["--backend", f"127.0.0.1:{port}"]
    for header in headers:
        command += ["--header", header]
    proxy = stack.enter_context(Process(command))
    return proxy.wait_ready().replace("127.0.0.1", "localhost")


__all__ = [
    "PERSON",
    "SERVERS",
    "CommandFailed",
    "Gateway",
    "free_port",
    "header_proxy",
    "http_upstream",
    "replicas",
    "stdio_upstream",
]
