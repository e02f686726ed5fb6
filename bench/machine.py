"""The machine under the benchmark: processes on one core each, their CPU time and memory, the cost of a sync.

On failure: `Broken` with one sentence; processes that were started here are ended in every case.
"""

import contextlib
import os
import platform
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
TARGET_CPU, LOAD_CPU = 0, 1
_CPU_CLOCK = 2  # kernel: the process's CPU clock, in the clock id that is made from its pid
_PAGE = os.sysconf("SC_PAGE_SIZE")
_RECORDS = 2 << 20  # bytes reserved for the sync probe, as the gateway's journal reserves its files
_RECORD = b"x" * 400


class Broken(RuntimeError):
    """A part of the benchmark cannot go on."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def build(where: Path) -> None:
    """Compile the upstream and the load generator."""
    for name in ("upstream", "load"):
        subprocess.run(["gcc", "-O2", "-o", str(where / name), str(HERE / f"{name}.c")], check=True)


@contextlib.contextmanager
def running(
    command: Sequence[str], cpu: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:  # fmt: skip
    """A process on one core, ended (with its group) at the end. What it prints goes to `log`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLGATE_")}
    with log.open("ab") as out:
        child = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**kept, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def wait_until(
    child: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path, seconds: float = 60.0
) -> None:  # fmt: skip
    """Wait until a process serves. Raises `Broken` with the end of its log when it ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.05)
    said = log.read_text(errors="replace")[-1500:] if log.exists() else ""
    how = f"does not serve after {seconds:.0f} s" if child.poll() is None else "ended before it served"
    raise Broken(f"{log.stem} {how}: {said}")


def listens(port: int) -> Callable[[], bool]:
    """Whether a port takes connections."""

    def ready() -> bool:
        with socket.create_connection(("127.0.0.1", port), 0.5):
            return True

    return ready


def family(pids: Sequence[int]) -> list[int]:
    """Processes and their descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> dict[int, float]:
    """CPU time of each process by pid, in nanosecond steps: ended threads count, ended processes are left out."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            found[pid] = time.clock_gettime((~pid << 3) | _CPU_CLOCK)
    return found


def resident(pids: Sequence[int]) -> int:
    """Bytes of memory that processes and their descendants hold."""
    total = 0
    for pid in family(pids):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory begin at what it holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """The most bytes that one process has held since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise Broken("this kernel does not tell the peak of a process's memory")


def sync_us(where: Path, count: int = 300) -> float:
    """Median µs of writing one record of a journal and syncing it, in this directory and on the target's core."""
    cpus = os.sched_getaffinity(0)
    path = where / "sync-probe"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    times = []
    try:
        os.sched_setaffinity(0, {TARGET_CPU})
        os.posix_fallocate(descriptor, 0, _RECORDS)
        os.fsync(descriptor)
        for number in range(count):
            began = time.perf_counter_ns()
            os.pwrite(descriptor, _RECORD, number * len(_RECORD))
            os.fdatasync(descriptor)
            times.append((time.perf_counter_ns() - began) / 1e3)
    finally:
        os.sched_setaffinity(0, cpus)
        os.close(descriptor)
        path.unlink()
    return statistics.median(times)


def about() -> dict[str, str]:
    """What this run was made on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": f"{model or platform.machine()}, {os.cpu_count()} cores",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "nginx": _said("nginx", "-v").rpartition("/")[2],
        "commit": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "unknown",
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
