"""stdio children of the gateway: started in isolation, spoken to line by line, ended with all that they started.

Each child has a launcher between it and the gateway (`sandbox_launcher`), which dies with the gateway and takes the
child along. Both directions have back-pressure: a child that does not read blocks its sender, a child whose messages
nobody takes is no longer read. What it writes to stderr is kept in a small ring in memory; a flood is read slowly.
Fail closed: what cannot be isolated or does not start in time is a `ProcessError`, and nothing is left running.
"""

import asyncio
import errno
import json
import os
import subprocess
from collections import deque
from collections.abc import AsyncIterator

from callgate import clock
from callgate.upstreams.process_errors import ExitInfo, ProcessError
from callgate.upstreams.process_pipes import Inlet, Outlet
from callgate.upstreams.process_streams import Lines, Tail
from callgate.upstreams.sandbox import capabilities, launcher_command, plan
from callgate.upstreams.sandbox_spec import ChildLimits, ChildSpec, Isolation, IsolationError

__all__ = ["Backoff", "Child", "ChildLimits", "ChildSpec", "ExitInfo", "Isolation", "ProcessError", "spawn"]

_QUEUE_BYTES = 1024 * 1024  # of messages that wait for their reader before stdout is no longer read
_QUEUE_COUNT = 1024
_STDERR_BURST = 256 * 1024  # bytes of stderr after which reading rests for a moment
_STDERR_REST_SECONDS = 0.25
_KILL_SECONDS = 10.0
_REAP_SECONDS = 0.005


class Backoff:
    """How long to wait before the next start: 0.5 s, doubling up to a minute. Make a new one after a steady life."""

    def __init__(self, first: float = 0.5, most: float = 60.0) -> None:
        self._next = first
        self._most = most

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        seconds = min(self._next, self._most)
        self._next = seconds * 2
        return seconds


async def spawn(spec: ChildSpec) -> "Child":
    """Start a child. Raises `ProcessError` with what is wrong; then nothing of it is left."""
    try:
        made = await asyncio.to_thread(lambda: plan(spec, capabilities()))
    except IsolationError as error:
        raise ProcessError(str(error)) from error
    child = Child(spec.limits, made.isolation.value, made.note, namespaces=made.namespaces)
    try:
        async with asyncio.timeout(spec.limits.start_seconds):
            await child.start(json.dumps(made.config).encode() + b"\n")
    except TimeoutError:
        await child.kill()
        raise ProcessError(f"{spec.command} did not start within {spec.limits.start_seconds:g} s.") from None
    except BaseException:
        await child.kill()
        raise
    return child


class Child:
    """A running child. Made by `spawn`.

    `isolation` names what is in force, `note` says why nothing stronger is; `exited` is done when the launcher and
    everything below it are gone.
    """

    def __init__(self, limits: ChildLimits, isolation: str, note: str, *, namespaces: bool) -> None:
        loop = asyncio.get_running_loop()
        self.isolation = isolation
        self.namespaces = namespaces
        self.note = note
        self.exited: asyncio.Future[ExitInfo] = loop.create_future()
        self._started: asyncio.Future[None] = loop.create_future()
        self._process: subprocess.Popen[bytes] | None = None
        self._exit = ExitInfo()
        self._stopping = False
        self._connecting: asyncio.Task[None] | None = None
        self._stdin = Outlet()
        self._control = Outlet()
        self._stdout = Inlet(self._on_stdout, self._on_stdout_end)
        self._stderr = Inlet(self._on_stderr, lambda: None)
        self._status = Inlet(self._on_status, self._on_status_end)
        self._status_text = b""
        self._lines = Lines(limits.message_bytes)
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._over = False
        self._fault: ProcessError | None = None
        self._wake = asyncio.Event()
        self._tail = Tail(limits.stderr_bytes)
        self._burst = 0
        self._burst_began = 0.0

    # --- for the owner ------------------------------------------------------------------------------------------

    async def send(self, line: bytes) -> None:
        """Write one message (without newlines in it) and wait while the child does not read. Raises `ProcessError` when
        it is gone. A cancelled wait does not take the message back."""
        if b"\n" in line:
            raise ValueError("a message is one line")
        if not self._stdin.write(line + b"\n"):
            raise self._gone()
        if not await self._stdin.drained():
            raise self._gone()

    async def messages(self) -> AsyncIterator[bytes]:
        """What the child writes to stdout, line by line; for one reader.

        Ends when `stop` was called. Raises `ProcessError` when the child ends by itself, closes its output, or sends a
        message over the cap (it is then killed).
        """
        while True:
            while self._queue:
                yield self._take()
            if self._fault is not None:
                raise self._fault
            if self._over:
                await self._explain_end()
                return
            self._wake.clear()
            await self._wake.wait()

    def stderr_tail(self) -> str:
        """The last lines of stderr, control characters made visible. May hold payload: show it, never store it."""
        return self._tail.text()

    async def stop(self, grace: float) -> None:
        """Close stdin, then ask (SIGTERM), then kill; `grace` seconds in all before the kill. Never raises for a child
        that is gone already. (MCP 2025-11-25, stdio shutdown.)"""
        self._stopping = True
        try:
            self._stdin.close()
            if not await self._ends_within(grace / 2):
                self._control.write(b"T")
                await self._ends_within(grace / 2)
        finally:
            self._control.close()
        await self.kill()

    async def kill(self) -> None:
        """End the child and everything that it started, now; returns when all of it is gone and buried."""
        self._stopping = True
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        self._control.close()  # its end is the launcher's order to kill
        if self._process is not None and not await self._ends_within(_KILL_SECONDS):
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._on_status_end()
        for end in (self._stdin, self._stdout, self._stderr, self._status):
            end.close()

    # --- starting -----------------------------------------------------------------------------------------------

    async def start(self, config: bytes) -> None:
        """For `spawn`: start the launcher, hand it its configuration, and wait until the program runs."""
        self._launch()
        # shielded: a pipe that is cut off while it is being connected belongs to nobody
        self._connecting = asyncio.create_task(self._connect())
        await asyncio.shield(self._connecting)
        self._control.write(config)
        await self._started

    async def _connect(self) -> None:
        for end in (self._status, self._control, self._stdin, self._stdout, self._stderr):
            await end.connect()
        if self._stopping:
            self._control.close()

    def _launch(self) -> None:
        """Blocks for the milliseconds of a vfork: in a thread, a cancelled start could lose its process."""
        theirs: list[int] = []
        try:
            stdin, self._stdin.fd = _pipe(theirs, reads=True)
            stdout, self._stdout.fd = _pipe(theirs, reads=False)
            stderr, self._stderr.fd = _pipe(theirs, reads=False)
            control, self._control.fd = _pipe(theirs, reads=True)
            status, self._status.fd = _pipe(theirs, reads=False)
            self._process = subprocess.Popen(
                launcher_command(control, status),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(control, status),
                start_new_session=True,
                env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                cwd="/",
            )
        except OSError as error:
            raise ProcessError(f"The launcher of stdio children could not be started: {error}.") from error
        finally:
            for fd in theirs:
                os.close(fd)

    # --- told by the pipes --------------------------------------------------------------------------------------

    def _on_status(self, data: bytes) -> None:
        self._status_text += data
        *lines, self._status_text = self._status_text.split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["event"] == "started" and not self._started.done():
                self._started.set_result(None)
            elif event["event"] == "failed" and not self._started.done():
                self._started.set_exception(ProcessError(_sentence(event, self.isolation)))
            elif event["event"] == "exit":
                self._exit = _exit_info(event["status"])

    def _on_status_end(self) -> None:
        """The launcher is gone, or as good as gone: bury it."""
        process = self._process
        if process is None or self.exited.done():
            return
        if process.poll() is None:
            asyncio.get_running_loop().call_later(_REAP_SECONDS, self._on_status_end)
            return
        self.exited.set_result(self._exit)
        if not self._started.done():
            self._started.set_exception(ProcessError("The launcher of stdio children ended before the server ran."))
            self._started.exception()  # nobody may be waiting for it any more
        self._stdin.close()
        self._control.close()

    def _on_stdout(self, data: bytes) -> None:
        if self._fault is not None:
            return
        try:
            lines = self._lines.feed(data)
        except ProcessError as error:
            self._fault = error
            self._stdout.pause()
            self._control.close()
        else:
            self._queue.extend(lines)
            self._queued += sum(len(line) for line in lines)
            if self._queued > _QUEUE_BYTES or len(self._queue) > _QUEUE_COUNT:
                self._stdout.pause()
        self._wake.set()

    def _on_stdout_end(self) -> None:
        self._over = True
        self._wake.set()

    def _on_stderr(self, data: bytes) -> None:
        self._tail.feed(data)
        now = clock.monotonic()
        if now - self._burst_began > _STDERR_REST_SECONDS:
            self._burst, self._burst_began = 0, now
        self._burst += len(data)
        if self._burst > _STDERR_BURST:  # its writer waits; the gateway has better things to do
            self._stderr.pause()
            asyncio.get_running_loop().call_later(_STDERR_REST_SECONDS, self._stderr.resume)

    # --- inside -------------------------------------------------------------------------------------------------

    def _take(self) -> bytes:
        line = self._queue.popleft()
        self._queued -= len(line)
        if self._queued <= _QUEUE_BYTES // 2 and len(self._queue) <= _QUEUE_COUNT // 2:
            self._stdout.resume()
        return line

    async def _explain_end(self) -> None:
        if self._stopping:
            return
        if await self._ends_within(1.0):
            raise ProcessError(str(self._exit))
        raise ProcessError("The server closed its output.")

    async def _ends_within(self, seconds: float) -> bool:
        done, _ = await asyncio.wait([self.exited], timeout=seconds)
        return bool(done)

    def _gone(self) -> ProcessError:
        if self._fault is not None:
            return self._fault
        return ProcessError(str(self._exit) if self.exited.done() else "The server does not take messages any more.")


def _pipe(theirs: list[int], *, reads: bool) -> tuple[int, int]:
    """A pipe as (the launcher's end, our end); `reads`: the launcher reads from it."""
    read_end, write_end = os.pipe()
    pair = (read_end, write_end) if reads else (write_end, read_end)
    theirs.append(pair[0])
    return pair


def _sentence(event: dict[str, object], isolation: str) -> str:
    stage, message, code = event["stage"], event["message"], event["errno"]
    if stage == "exec" and code == errno.ENOENT:
        return "The command could not be started: it, or the interpreter that its first line names, does not exist."
    if stage == "exec":
        return f"The command could not be started under isolation `{isolation}`: {message}."
    if stage == "cwd":
        return f"The working directory could not be entered under isolation `{isolation}`: {message}."
    return f"The server was not started, because isolation `{isolation}` failed at `{stage}`: {message}."


def _exit_info(status: int | None) -> ExitInfo:
    if status is None:
        return ExitInfo()
    code = os.waitstatus_to_exitcode(status)
    return ExitInfo(code=code) if code >= 0 else ExitInfo(signal=-code)
