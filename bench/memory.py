"""Memory: one worker, an idle session of the handshake era, a result of 5 MB that no rule reads.

Differences of resident memory. What calls leave behind by themselves is taken out by making the same calls before.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from bench import targets
from bench.client import HANDSHAKE, Client
from bench.machine import Broken, forget_peak, peak, resident
from bench.measure import Pace, Target, once, warm
from bench.targets import Setup

_MB = 1e6
_BIG_CALLS = 8
_STREAMS = 50  # one person may not have many more


def figures(where: Path, pace: Pace) -> Iterator[tuple[str, float]]:
    """Facts as they are found: megabytes, for sessions kilobytes."""
    yield from _worker(where, pace)
    yield from _sessions(where, pace)


def _worker(where: Path, pace: Pace) -> Iterator[tuple[str, float]]:
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(where, "modern"))
        target = stack.enter_context(targets.gateway(where, direct, Setup("callgate")))
        yield "memory.worker_started_mb", resident(target.pids) / _MB
        once(where, target, 64, warm(where, target, 64, pace.seconds))
        yield "memory.worker_mb", resident(target.pids) / _MB
        yield "memory.big_result_mb", _big_result(target)


def _big_result(target: Target) -> float:
    """How far the peak of calls of `big`, one after the other, stands above what was held before."""
    [pid] = target.pids
    with Client(target) as client:
        client.call("bench__tool_3")
        before = resident([pid])
        forget_peak(pid)
        for _ in range(_BIG_CALLS):
            if client.call("bench__big") < 5_000_000:
                raise Broken("the large result did not come whole")
        return (peak(pid) - before) / _MB


def _sessions(where: Path, pace: Pace) -> Iterator[tuple[str, float]]:
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(targets.upstream(where, "legacy"))
        target = stack.enter_context(targets.gateway(where, direct, Setup("callgate")))
        client = stack.enter_context(Client(target))
        for _ in range(pace.sessions):
            client.call("bench__tool_3", client.initialize())
        before = resident(target.pids)
        sessions = []
        for _ in range(pace.sessions):
            sessions.append(client.initialize())
            client.call("bench__tool_3", sessions[-1])
        idle = resident(target.pids)
        yield "memory.session_kb", (idle - before) / pace.sessions / 1e3
        for session in sessions[:_STREAMS]:
            stack.enter_context(_stream(target, session))
        yield "memory.session_stream_kb", (resident(target.pids) - idle) / _STREAMS / 1e3


def _stream(target: Target, session: str) -> socket.socket:
    """The GET stream that a client of a session keeps open; whole when its head is read."""
    connection = socket.create_connection(("127.0.0.1", target.port), 30)
    headers = {
        **target.headers,
        "Host": f"127.0.0.1:{target.port}",
        "Accept": "text/event-stream",
        "MCP-Protocol-Version": HANDSHAKE,
        "Mcp-Session-Id": session,
    }
    lines = ["GET /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = connection.recv(4096)
    if b" 200 " not in head[:20]:
        raise Broken(f"a stream was answered {head[:200]!r}")
    return connection
