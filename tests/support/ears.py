"""Servers on loopback that hear what a gateway tells reviewers: a web hook and a mail server, standard library only."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook:
    """`heard`: (path, headers in lower case, body as JSON, raw body). The first `failures` messages get a 500."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], Any, bytes]] = []
        self.failures = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                hook.heard.append((self.path, headers, json.loads(raw), raw))
                failed, hook.failures = hook.failures > 0, hook.failures - 1
                self.send_response(500 if failed else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class Post:
    """A mail server (RFC 5321, what is needed of it): `mails` are (receivers, text)."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], str]] = []
        post = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                receivers: list[str] = []
                self.wfile.write(b"220 post\r\n")
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        text = b"".join(iter(self.rfile.readline, b".\r\n"))
                        post.mails.append((receivers, text.decode()))
                        receivers = []
                    elif word == b"RCPT":
                        receivers.append(line.split(b"<")[1].split(b">")[0].decode())
                    if word == b"QUIT":
                        return
                    self.wfile.write(b"250 ok\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"smtp://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def listening(*ears: Hook | Post) -> Iterator[None]:
    """Serve until the end of the block."""
    threads = [threading.Thread(target=one.server.serve_forever, daemon=True) for one in ears]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in ears:
            one.server.shutdown()
            one.server.server_close()
