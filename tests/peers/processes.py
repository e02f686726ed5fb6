"""Child processes of tests: started in a group of their own, waited for with a bound, ended by their id."""

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.peers.environments import SERVERS, python

READY = "ready "


class Process:
    """A running child. `ready` is what stood after "ready " on its standard output; its last lines are kept."""

    def __init__(self, command: Iterable[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None):
        self.lines: deque[str] = deque(maxlen=400)
        self._changed = threading.Condition()
        self._open = 1
        self.popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        assert self.popen.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.popen.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                with self._changed:
                    self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._open = 0
            self._changed.notify_all()

    def wait_line(self, wanted: Callable[[str], bool], seconds: float = 30) -> str:
        """The first kept line that is wanted. Raises TimeoutError, also where the process has ended without it."""

        def found() -> str | None:
            return next((line for line in self.lines if wanted(line)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or not self._open, seconds)
            line = found()
        if line is None:
            raise TimeoutError(f"{self.popen.args!r} did not say what was waited for:\n{self.text()}")
        return line

    def wait_ready(self, seconds: float = 30) -> str:
        return self.wait_line(lambda line: line.startswith(READY), seconds)[len(READY) :]

    def text(self) -> str:
        return "\n".join(self.lines)

    def kill(self) -> None:
        """Kill -9, the whole group."""
        self._signal(signal.SIGKILL)
        self._ended()

    def stop(self, seconds: float = 10) -> int:
        """SIGTERM, then SIGKILL for what is left of the group."""
        self._signal(signal.SIGTERM)
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self._signal(signal.SIGKILL)
        self._ended()
        return code

    def _ended(self) -> None:
        self.popen.wait(10)
        self._reader.join(10)  # a grandchild that left the group may still hold the pipe; it does not stop us

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def fixture_server(variant: str = "both", port: int = 0) -> Process:
    """The fixture over HTTP: `both`, `modern` or `legacy`. Its URL is what `wait_ready()` gives."""
    if variant == "legacy":
        return Process([python("py-mcp1"), SERVERS / "fixture_legacy.py", "--port", str(port)])
    return Process([python("py-mcp2"), SERVERS / "fixture.py", "--era", variant, "--port", str(port)])
