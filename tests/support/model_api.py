"""A server of chat completions on loopback: it answers what a test tells it, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Opinion = dict[str, object]


class ModelApi:
    """`opinion` is asked about each definition (its JSON text); `asked` are the bodies that came, `keys` the keys."""

    def __init__(self) -> None:
        self.opinion: Callable[[str], list[Opinion]] = lambda _: []
        self.status = 200
        self.chatter = ""  # what the model says in place of a verdict
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.asked.append({"path": self.path, **body})
                api.keys.append(self.headers.get("Authorization"))
                definition = json.loads(body["messages"][1]["content"])["definition"]
                said = api.chatter or json.dumps({"findings": api.opinion(definition)})
                answer = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
                self.send_response(api.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def definitions(self) -> list[str]:
        """What it was asked about, in the order of the questions."""
        return [json.loads(body["messages"][1]["content"])["definition"] for body in self.asked]


@contextmanager
def open_model_api() -> Iterator[ModelApi]:
    """One such server until the end of the block."""
    api = ModelApi()
    thread = threading.Thread(target=api.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        api.server.server_close()
        thread.join()
