"""The supervisor of one stdio child: a small process of its own between the gateway and a hostile program.

It reads one line of JSON from the control pipe, isolates and starts the program, tells the status pipe what happened,
and ends everything that the program started when the program ends, when it is told to, or when the control pipe
closes, which is what a gateway killed with -9 leaves behind. Standard library only; it runs in `python -I -S`.

How everything is ended: with namespaces the program lives below a process 1 of its own, and the kernel kills all of a
PID namespace with its process 1. Without them this process is the reaper of all orphans below it (subreaper) and kills
what it finds until nothing is left.

Fail closed: an isolation step that fails is reported and nothing is started.

Control: the configuration, then `T` = ask to end (SIGTERM); end of file = end now. Status, one JSON object a line:
`{"event": "started"}`, `{"event": "failed", "stage", "message", "errno"}`, `{"event": "exit", "status"}` (wait status).
"""

import contextlib
import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from callgate.upstreams import sandbox_inside as inside
from callgate.upstreams import sandbox_linux as linux
from callgate.upstreams.sandbox_inside import Config

_KILL_ROUNDS = 400
_FAST_ROUNDS = 200
_ROUND_SECONDS = 0.005


def main(control: int, status: int) -> NoReturn:
    """Run one child to its end. Never returns."""
    line = _read_line(control)
    if not line:
        os._exit(0)
    config = json.loads(line)
    if config.get("probe"):
        _tell(status, inside.probe())
        os._exit(0)
    try:
        supervisor = _start(config, control, status)
    except inside.StageError as error:
        _tell(status, {"event": "failed", "stage": error.stage, "message": str(error), "errno": error.code})
        os._exit(1)
    supervisor.run()
    os._exit(0)


def _read_line(fd: int) -> bytes:
    """Everything up to a newline; empty when the gateway went away first."""
    parts = []
    while True:
        part = os.read(fd, 65536)
        if not part:
            return b""
        parts.append(part)
        if part.endswith(b"\n"):
            return b"".join(parts)


def _tell(fd: int, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more; the control pipe says so too
        os.write(fd, json.dumps(message).encode() + b"\n")


# --- the supervisor itself -------------------------------------------------------------------------------------


@dataclass
class Supervisor:
    """Watches the control pipe, the start of the program and the end of processes."""

    config: Config
    control: int
    status: int
    failures: int  # read end: what stopped the program from starting; closed by a start that worked
    results: int  # read end: the wait status, from process 1 of a PID namespace
    child: int
    wakeup: int
    started: bool = False
    ended: int | None = None
    failure: bytes = b""

    def run(self) -> None:
        poll = select.poll()
        for fd in (self.control, self.failures, self.wakeup):
            poll.register(fd, select.POLLIN)
        while self.ended is None:
            for fd, _ in poll.poll():
                if fd == self.failures:
                    self._hear_start(poll)
                elif fd == self.wakeup:
                    os.read(self.wakeup, 4096)
                    self._reap()
                elif not self._obey():
                    self.end_all()
                    return
        self.end_all()
        self._report()

    def _hear_start(self, poll: "select.poll") -> None:
        part = os.read(self.failures, 65536)
        self.failure += part
        if not part:
            poll.unregister(self.failures)
            if not self.failure:
                self.started = True
                _tell(self.status, {"event": "started"})

    def _obey(self) -> bool:
        order = os.read(self.control, 64)
        if order.startswith(b"T"):
            self._ask_to_end()
        return bool(order)

    def _ask_to_end(self) -> None:
        """SIGTERM to the program's process group; with a PID namespace its process 1 passes it on to everybody."""
        with contextlib.suppress(ProcessLookupError):
            if self.config["namespaces"]:
                os.kill(self.child, signal.SIGTERM)
            else:
                os.killpg(self.child, signal.SIGTERM)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.ended = status

    def end_all(self) -> None:
        if self.config["namespaces"]:
            if self.ended is None:
                os.kill(self.child, signal.SIGKILL)
                self.ended = os.waitpid(self.child, 0)[1]  # returns when the whole namespace is gone
            return
        user = self.config["uid"]
        for number in range(_KILL_ROUNDS):
            found = descendants(os.getpid()) if inside.LINUX else self._group()
            if not found:
                return
            for pid in found:
                _kill(pid)
            self._outrun()
            if number > 20 and user is not None:
                _kill_all_of(user)
            self._reap()
            select.select([], [], [], _ROUND_SECONDS if number else 0)

    def _outrun(self) -> None:
        """Orphans become children of this process, so a chain of processes that fork and leave is always one of them;
        asking for just these is fast enough to catch it."""
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        for _ in range(_FAST_ROUNDS):
            try:
                found = children.read_bytes().split()
            except OSError:
                return  # a kernel without it, or no Linux
            for pid in found:
                _kill(int(pid))
            self._reap()
            if not found:
                return

    def _group(self) -> list[int]:
        try:
            os.killpg(self.child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return []
        return [self.child] if self.ended is None else []

    def _report(self) -> None:
        if not self.started:
            self.failure += _drain(self.failures)
            if not self.failure:
                _tell(self.status, {"event": "started"})
        if self.failure:
            os.write(self.status, self.failure)
            return
        status = self.ended
        if self.config["namespaces"]:
            text = _drain(self.results)
            status = int(text) if text else self.ended
        _tell(self.status, {"event": "exit", "status": status})


def _drain(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _kill_all_of(uid: int) -> None:
    """The kernel kills all processes of a user at once, which no chain of forks outruns."""
    pid = os.fork()
    if pid == 0:
        os.setresuid(uid, uid, uid)
        os.kill(-1, signal.SIGKILL)
        os._exit(0)


def descendants(root: int) -> list[int]:
    """Process ids below `root`, from one walk over /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it ended while we looked
        children.setdefault(parent, []).append(int(entry.parent.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


# --- starting --------------------------------------------------------------------------------------------------


def _start(config: Config, control: int, status: int) -> Supervisor:
    wakeup, wakeup_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if inside.LINUX else os.pipe()
    os.set_blocking(wakeup_in, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
    if inside.LINUX:
        inside.stage("subreaper", linux.adopt_orphans)
        _be_first_to_be_killed_when_memory_is_short()
    if config["namespaces"]:
        inside.stage("namespaces", lambda: inside.enter_namespaces(config))
    failures, failures_in = os.pipe()
    results, results_in = os.pipe()
    alive, alive_in = os.pipe()
    child = os.fork()
    if child == 0:
        with _LastWords(failures_in):
            for fd in (failures, results, alive_in, control, status, wakeup, wakeup_in):
                os.close(fd)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if config["namespaces"]:
                _be_process_one(config, failures_in, results_in, alive)
            else:
                inside.execute(config, failures_in)
    for fd in (failures_in, results_in, alive):
        os.close(fd)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # the pipes belong to the program: its end must be their end
        os.dup2(null, fd)
    return Supervisor(config, control, status, failures, results, child, wakeup)


class _LastWords:
    """Around all that a forked process does: whatever stops it is told, and it never returns into its parent's code."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> NoReturn:
        if isinstance(error, inside.StageError):
            stage, code = error.stage, error.code
        else:
            stage, code = "launcher", None
        _tell(self.failures, {"event": "failed", "stage": stage, "message": str(error), "errno": code})
        os._exit(127)


def _be_first_to_be_killed_when_memory_is_short() -> None:
    with contextlib.suppress(OSError):  # a comfort, not a promise
        Path("/proc/self/oom_score_adj").write_text("500")


def _be_process_one(config: Config, failures: int, results: int, alive: int) -> NoReturn:
    """Process 1 of the new PID namespace: starts the program, buries the dead, and takes everybody along when it
    ends."""
    linux.die_with_parent(signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:  # the parent was gone before it could be watched
        os._exit(1)
    inside.stage("proc", inside.mount_own_proc)
    program = os.fork()
    if program == 0:
        with _LastWords(failures):
            inside.execute(config, failures)
    os.close(failures)
    for fd in (0, 1, 2):
        os.close(fd)

    def pass_on(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(results, str(status).encode())
            os._exit(0)
