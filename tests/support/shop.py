"""The demo server's tools behind HTTP, with a list that a test can change: an upstream for tests in this process."""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from callgate.cli import demo_server


class Shop:
    """One HTTP server. `tools` is what it lists, `calls` how often a tool was called, `away` makes it fail."""

    def __init__(self) -> None:
        self.tools: list[dict[str, Any]] = copy.deepcopy(demo_server.TOOLS)
        self.calls = 0
        self.away = False
        self.seen_authorization: list[str | None] = []
        self.metadata: dict[str, Any] | None = None  # of the protected resource, where it is one
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                shop.seen_authorization.append(self.headers.get("Authorization"))
                self._answer(*shop.answer_to(body, self.headers.get("Authorization")))

            def do_GET(self) -> None:
                if shop.metadata is not None and self.path.startswith("/.well-known/oauth-protected-resource"):
                    self._answer(200, json.dumps(shop.metadata).encode(), {})
                else:
                    self._answer(405, b"", {})

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/mcp"

    def answer_to(self, body: bytes, authorization: str | None) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for one POST."""
        return (*self.answer(body), {})

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """Status and body for one POST."""
        if self.away:
            return 503, b""
        sent: list[dict[str, Any]] = []
        message = json.loads(body)
        if message.get("method") == "tools/call":
            self.calls += 1
        demo_server.answer(body.decode(), sent.append)
        if not sent:
            return 202, b""
        answer = sent[-1]
        if message.get("method") == "tools/list":
            answer["result"]["tools"] = self.tools
        return 200, json.dumps(answer).encode()


@contextmanager
def open_shop(make: Callable[[], Shop] | None = None) -> Iterator[Shop]:
    """A shop that serves until the end of the block."""
    shop = make() if make is not None else Shop()
    thread = threading.Thread(target=shop.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        shop.server.shutdown()
        shop.server.server_close()
        thread.join()
