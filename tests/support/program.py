"""The `callgate` program as a person runs it: arguments, an environment and a home of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from callgate.cli.main import app
from tests.support.running import running


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


def _exit_code(arguments: tuple[str, ...]) -> int:
    try:
        app(list(arguments), prog_name="callgate")
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


class Program:
    """Runs commands in one directory, which is also the home."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.data_dir = place / ".callgate"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CALLGATE_", "XDG_"))}
        self.env = {**kept, "HOME": str(place), "NO_COLOR": "1", "COLUMNS": "200"}

    def run(self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None) -> Done:
        """Run a command that has to end with this exit code, in this process (a start of Python costs a second)."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
        before = Path.cwd()
        os.chdir(self.place)
        try:
            with (
                mock.patch.dict(os.environ, {**self.env, **(env or {})}, clear=True),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                ended = _exit_code(arguments)
        finally:
            os.chdir(before)
        done = Done(_text(out), _text(err))
        assert ended == code, f"{arguments} ended with {ended}:\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, **more: Any) -> Any:
        """The JSON value that a command prints."""
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def lines(self, *arguments: str) -> list[Any]:
        """The JSON values, one a line."""
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """A gateway in this process on the data directory until the end of the block; its base URL."""
        with running(self.data_dir) as gateway:
            yield gateway.url

    @contextmanager
    def up(self, *arguments: str) -> Iterator[dict[str, Any]]:
        """A running gateway until the end of the block; what it says of itself."""
        command = [sys.executable, "-m", "callgate", "up", "--json", "--port", "0", *arguments]
        process = subprocess.Popen(
            command, cwd=self.place, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()
            process.stderr.close()
