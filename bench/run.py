"""What is measured: the targets, how they are set up, and the table that is printed."""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import harness as bench

PERSON = "bench@example.test"
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


def callgate(*words: str, data: Path, check: bool = True) -> str:
    """One CLI command against the gateway of this data directory."""
    command = [sys.executable, "-m", "callgate", *words, "--data-dir", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"bench: callgate {' '.join(words)}: {done.stderr}")
    return done.stdout.strip()


def governance(port: int, rules: int) -> str:
    """One upstream, its tools trusted, and rules that look at every call but forbid other tools."""
    lines = [
        f"people: [{{email: {PERSON}, roles: [member]}}]",
        f'upstreams: [{{name: bench, url: "http://127.0.0.1:{port}/mcp", allow_private: true}}]',
        "rules:",
    ]
    for number in range(rules):
        match = (
            f'{{upstream: ["other-{number}-*"]}}' if number % 2 else f'{{tool: ["delete_{number}_*"], role: [guest]}}'
        )
        lines.append(f"  - {{id: r{number}, title: Rule {number}, match: {match}, effect: deny}}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def upstream(where: Path, tools: int, era: str) -> Iterator[bench.Target]:
    port = bench.free_port()
    command = [str(where / "upstream"), str(port), str(tools), era]
    with bench.running(command, bench.LOAD_CPU, where / "upstream.log") as pid:
        bench.wait_for(port)
        yield bench.Target("direct", port, "/mcp", "tool_3", [pid], era=era)


@contextlib.contextmanager
def nginx(where: Path, behind: bench.Target) -> Iterator[bench.Target]:
    port = bench.free_port()
    config = where / "nginx.conf"
    config.write_text(NGINX.format(where=where, upstream=behind.port, port=port))
    with bench.running(
        ["nginx", "-c", str(config), "-e", str(where / "nginx.log")], bench.TARGET_CPU, where / "n.log"
    ) as pid:
        bench.wait_for(port)
        yield bench.Target("nginx", port, "/mcp", "tool_3", [pid], era=behind.era)


@contextlib.contextmanager
def gateway(
    where: Path, behind: bench.Target, *, name: str = "callgate", rules: int = 100,
    settings: dict[str, str] | None = None,
) -> Iterator[bench.Target]:  # fmt: skip
    """A real gateway, set up through its own CLI."""
    data = Path(tempfile.mkdtemp(dir=where, prefix="data-"))
    port = bench.free_port()
    command = [sys.executable, "-m", "callgate", "up", "--data-dir", str(data), "--port", str(port)]
    with bench.running(command, bench.TARGET_CPU, where / f"{name}.log", settings) as pid:
        bench.wait_for(port)
        file = data.with_suffix(".yaml")
        file.write_text(governance(behind.port, rules))
        callgate("apply", "-f", str(file), data=data)
        callgate("tools", "approve", "--all", "--yes", data=data)
        token = callgate("tokens", "issue", "--person", PERSON, data=data)
        headers = {"Authorization": f"Bearer {token}"}
        if behind.era == "legacy":
            headers["Mcp-Session-Id"] = session(port, token)
        yield bench.Target(name, port, "/mcp", "bench__tool_3", [pid], headers, behind.era)


def session(port: int, token: str) -> str:
    """The session id that `initialize` gives a handshake-era client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    about = {"name": "bench", "version": "1"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": about}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    connection.request("POST", "/mcp", json.dumps(body), headers)
    answer = connection.getresponse()
    answer.read()
    return answer.getheader("Mcp-Session-Id") or ""


def side_by_side(where: Path, era: str, requests: int, durability: list[str]) -> list[bench.Figures]:
    """Direct, nginx and the gateway, one after the other at each concurrency."""
    found = []
    with upstream(where, 10, era) as direct, nginx(where, direct) as proxied, contextlib.ExitStack() as stack:
        targets = [direct, proxied]
        for kind in durability:
            env = {"CALLGATE_DURABILITY": kind}
            targets.append(stack.enter_context(gateway(where, direct, name=f"callgate {kind}", settings=env)))
        for connections in (1, 16, 64):
            for target in targets:
                count = requests if target.name != "direct" else requests * 2
                found.append(bench.measure(where, target, connections, count if connections > 1 else count // 4))
    return found


def growth(where: Path, requests: int) -> list[bench.Figures]:
    """CPU per call as tools and rules grow."""
    found = []
    for tools, rules in ((10, 1), (10, 100), (10, 1000), (1000, 100), (10000, 100)):
        with upstream(where, tools, "modern") as direct:
            name = f"callgate {tools} tools, {rules} rules"
            with gateway(where, direct, name=name, rules=rules) as target:
                found.append(bench.measure(where, target, 16, requests))
    return found


def table(title: str, figures: list[bench.Figures]) -> None:
    head = f"{'target':34} {'c':>3} {'req/s':>9} {'p50 µs':>8} {'p99 µs':>8} {'CPU µs':>8} {'MB':>6}  of nginx"
    print(f"\n{title}\n{head}")
    base = {one.connections: one for one in figures if one.target == "nginx"}
    for one in figures:
        other = base.get(one.connections)
        ratio = f"{one.per_second / other.per_second:5.2f} rate  {one.cpu_us / other.cpu_us:5.2f} CPU" if other else ""
        print(
            f"{one.target:34} {one.connections:3} {one.per_second:9.0f} {one.p50_us:8.0f} {one.p99_us:8.0f} "
            f"{one.cpu_us:8.1f} {one.rss_mb:6.1f}  {ratio}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests; for a look, not for a quote")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    chosen = parser.parse_args()
    for tool in ("gcc", "nginx", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"bench: {tool} is missing; `make bench` installs it")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("bench: two cores are needed, one for the target and one for the load")
    requests = 4000 if chosen.quick else 20000
    with tempfile.TemporaryDirectory(prefix="callgate-bench-") as folder:
        where = Path(folder)
        bench.build(where)
        results = {}
        for era in ("modern", "legacy"):
            results[era] = side_by_side(where, era, requests, ["strict", "relaxed"])
            table(f"{era} client, {era} upstream; 100 rules; one core", results[era])
        results["growth"] = growth(where, requests // 2)
        table("growth, 16 connections", results["growth"])
        if chosen.json:
            chosen.json.write_text(json.dumps({k: [asdict(f) for f in v] for k, v in results.items()}, indent=1))


if __name__ == "__main__":
    main()
