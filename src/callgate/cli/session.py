"""Which gateway a command talks to: the one at `--url`, the running one of the data directory, or one in process.

Fail closed: a data directory that another process holds without answering is refused, never opened a second time.
"""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from callgate import clock
from callgate.cli.client import Client, connect_unix
from callgate.cli.local import LocalGateway
from callgate.cli.output import print_json
from callgate.errors import Refused
from callgate.settings import Settings, load

WAIT_SECONDS = 20.0  # for another command to be done with the data directory
_LOOK_SECONDS = 0.1


class Session:
    """One command's connection to a gateway; opened at first use, closed at the end."""

    def __init__(self, json: bool, data_dir: Path | None, url: str | None, token: str | None) -> None:
        self.json = json
        self.url = url
        self.token = token
        self._data_dir = data_dir
        self._settings: Settings | None = None
        self._client: Client | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def settings(self, **overrides: object) -> Settings:
        """The settings of this machine's gateway, with `--data-dir` and the command's own overrides."""
        if overrides or self._settings is None:
            self._settings = load({"data_dir": self._data_dir, **overrides})
        return self._settings

    @property
    def remote(self) -> bool:
        """Whether `--url` names the gateway."""
        return self.url is not None

    def running(self) -> bool:
        """Whether a gateway answers on the data directory's socket."""
        return _answers(self.settings().control_socket)

    @property
    def client(self) -> Client:
        """The control API. Raises `Refused`."""
        if self._client is None:
            self._client = self._connect()
            self._stack.callback(self._client.close)
        return self._client

    def _connect(self) -> Client:
        if self.url is not None:
            return Client.at_url(self.url, self.token)
        settings = self.settings()
        if _answers(settings.control_socket):
            return Client.at_socket(settings.control_socket)
        return Client.at_socket(self._started(settings))

    def _started(self, settings: Settings) -> Path:
        """The socket of a gateway in this process, or of one that comes up while another command is waited for."""
        deadline = clock.monotonic() + WAIT_SECONDS
        while True:
            try:
                return self._stack.enter_context(LocalGateway(settings)).socket
            except Refused as refused:
                if refused.code != "data_dir_in_use" or clock.monotonic() > deadline:
                    raise
            if _answers(settings.control_socket):
                return settings.control_socket
            threading.Event().wait(_LOOK_SECONDS)

    def show(self, value: object, human: Callable[[], None]) -> None:
        """The answer: as JSON, or the way `human` prints it."""
        if self.json:
            print_json(value)
        else:
            human()


def _answers(socket: Path) -> bool:
    try:
        connect_unix(socket, 5.0).close()
    except OSError:
        return False
    return True
