"""The benchmark: direct, nginx and Callgate side by side in one run (`make bench`).

Every target runs on one core, the load generator and the upstream (both in C, beside this file) on the other. What
counts are the ratios within one run; absolute figures drift with the machine. All controls are on: identity,
fingerprint, 100 rules, the result looked at, a durable intent and outcome for every call.

Used by run.py, which says what is measured.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
MARKER = "open items"
TARGET_CPU, LOAD_CPU = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
MODERN_META = (
    '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
)


@dataclass
class Target:
    """Something that answers `tools/call` on a port. `pids`: whose CPU counts."""

    name: str
    port: int
    path: str
    tool: str
    pids: list[int]
    headers: dict[str, str] = field(default_factory=dict)
    era: str = "modern"


@dataclass
class Figures:
    """One measurement. Times in µs, `cpu_us` per call over the target's processes, `rss_mb` after the load."""

    target: str
    connections: int
    per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float
    rss_mb: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: nothing listens on port {port}")


def build(where: Path) -> None:
    for name in ("upstream", "load"):
        subprocess.run(["gcc", "-O2", "-o", str(where / name), str(HERE / f"{name}.c")], check=True)


@contextlib.contextmanager
def running(command: list[str], cpu: int, log: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A process on one core, ended (with its group) at the end."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield child.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found += family(int(entry.parent.name))
    return found


def cpu_seconds(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        for member in family(pid):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mb(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        for member in family(pid):
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def request_files(where: Path, target: Target) -> tuple[Path, Path]:
    head, body = where / "head", where / "body"
    headers = {
        "Host": f"127.0.0.1:{target.port}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28" if target.era == "modern" else "2025-11-25",
        **target.headers,
    }
    if target.era == "modern":
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": target.tool}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head.write_text("\r\n".join(lines) + "\r\n")
    meta = f",{MODERN_META}" if target.era == "modern" else ""
    body.write_text(
        f'{{"jsonrpc":"2.0","id":@ID@,"method":"tools/call","params":{{"name":"{target.tool}",'
        f'"arguments":{{"account":"A-17","limit":25}}{meta}}}}}'
    )
    return head, body


def measure(where: Path, target: Target, connections: int, requests: int) -> Figures:
    """The median of three runs after a warm-up."""
    head, body = request_files(where, target)
    command = ["taskset", "-c", str(LOAD_CPU), str(where / "load"), str(target.port), str(connections)]
    runs = []
    for count in (max(200, requests // 10), requests, requests, requests):
        before = cpu_seconds(target.pids)
        done = subprocess.run(
            [*command, str(count), str(head), str(body), MARKER], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"bench: {target.name}: {done.stderr or done.stdout}")
        result = json.loads(done.stdout)
        cpu = (cpu_seconds(target.pids) - before) / count * 1e6
        runs.append((count / result["seconds"], result["p50_us"], result["p99_us"], cpu))
    middle = sorted(runs[1:])[1]
    return Figures(target.name, connections, *middle, resident_mb(target.pids))
