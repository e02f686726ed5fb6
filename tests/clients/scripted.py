"""A model that follows a script: ask for one tool once, then say what came back. Shared by both vendors' APIs.

It serves HTTP on a free loopback port, in threads of the test's own process, and records what the client offered
and returned. A client that wants something else of the API (a title, a token count) gets a harmless answer.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self


@dataclass
class Record:
    """What the client has shown the model: the names of the tools on offer and the results of calls."""

    tools: list[str] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Script:
    """Call the first tool on offer whose name ends so, with these arguments."""

    tool: str
    arguments: dict[str, Any]

    def choose(self, offered: list[str]) -> str | None:
        return next((name for name in offered if name.endswith(self.tool)), None)


class Model:
    """Base of the fakes. A vendor's class says which bodies come in and which events go out."""

    handler: ClassVar[type["Handler"]]

    def __init__(self, script: Script) -> None:
        self.script = script
        self.record = Record()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type(self).handler)
        self._server.model = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, path: str, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]] | dict[str, Any]:
        """The events of a stream (name, data), or one JSON value."""
        raise NotImplementedError


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._json({"data": [], "models": []})

    def do_HEAD(self) -> None:
        self._json({})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        model: Model = self.server.model  # type: ignore[attr-defined]
        body = json.loads(raw or b"{}")
        model.record.paths.append(self.path)
        answer = model.answer(self.path.partition("?")[0], body)
        if isinstance(answer, dict):
            return self._json(answer)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for name, data in answer:
            self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()
        self.close_connection = True
        return None

    def _json(self, value: dict[str, Any]) -> None:
        raw = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        return None


Model.handler = Handler
