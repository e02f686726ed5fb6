"""An MCP client over HTTP that decodes as little as it can: one connection, both eras, standard library only."""

import http.client
import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
TASK_METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri", **dict.fromkeys(TASK_METHODS, "taskId")}


class RpcError(Exception):
    """The answer was a JSON-RPC error; `error` is its object and `status` the HTTP status."""

    def __init__(self, status: int, error: Any) -> None:
        super().__init__(f"HTTP {status}: {json.dumps(error)[:2000]}")
        self.status = status
        self.error = error


class RawClient:
    """`version` decides the era: 2026-07-28 is modern, anything older opens a session with `initialize`."""

    def __init__(
        self, url: str, token: str = "", *, version: str = MODERN, capabilities: Any = None, seconds: float = 60
    ) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)
        self.version = version
        self.modern = version == MODERN
        self.capabilities = capabilities or {}
        self.headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.notices: list[dict[str, Any]] = []
        self._id = 0

    def open(self) -> Self:
        """Shake hands, if the era wants that."""
        if self.modern:
            return self
        about = {"name": "raw-client", "version": "1"}
        params = {"protocolVersion": self.version, "capabilities": self.capabilities, "clientInfo": about}
        answer = self.send("initialize", params)
        session = answer.getheader("Mcp-Session-Id")
        result = _result(answer.status, self._message(answer))
        if session:
            self.headers["Mcp-Session-Id"] = session
        self.headers["MCP-Protocol-Version"] = result["protocolVersion"]
        self.send("notifications/initialized", None, id_=None).read()
        return self

    def send(self, method: str, params: Any, *, id_: Any = ...) -> http.client.HTTPResponse:
        """Send one message and give the answer unread. Without `id_` the next number is used; None notifies."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if id_ is ...:
            self._id += 1
            id_ = self._id
        if id_ is not None:
            body["id"] = id_
        headers = dict(self.headers)
        if self.modern:
            params = dict(params or {})
            envelope = {"protocolVersion": MODERN, "clientCapabilities": self.capabilities}
            params["_meta"] = {**params.get("_meta", {}), **{META + key: value for key, value in envelope.items()}}
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if method in NAMED:
                headers["Mcp-Name"] = str(params.get(NAMED[method]))
        if params is not None:
            body["params"] = params
        self._connection.request("POST", self._path, json.dumps(body).encode(), headers)
        return self._connection.getresponse()

    @property
    def last_id(self) -> int:
        """The id of the request that was sent last."""
        return self._id

    def reply(self, id_: Any, result: Any) -> http.client.HTTPResponse:
        """Answer a question of the server (handshake era)."""
        body = json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()
        self._connection.request("POST", self._path, body, self.headers)
        return self._connection.getresponse()

    def raw(self, method: str, params: Any = None) -> bytes:
        """The bytes of the answering message, out of its event if it came in a stream."""
        return self._message(self.send(method, params))

    def ask(self, method: str, params: Any = None) -> Any:
        """The result, decoded. Raises RpcError."""
        answer = self.send(method, params)
        return _result(answer.status, self._message(answer))

    def call(self, tool: str, /, **arguments: Any) -> Any:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def tools(self) -> list[dict[str, Any]]:
        """All pages."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.ask("tools/list", {"cursor": cursor} if cursor is not None else {})
            found += page["tools"]
            cursor = page.get("nextCursor")
            if cursor is None:
                return found

    def _message(self, answer: http.client.HTTPResponse) -> bytes:
        if "text/event-stream" not in (answer.getheader("Content-Type") or "").lower():
            return answer.read()
        last = b""
        for data in events(answer):
            message = json.loads(data)
            if "method" in message:
                self.notices.append(message)
            else:
                last = data
        return last

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def events(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of each message event as it comes; comments, empty events and events of other names are left out."""
    data: list[bytes] = []
    name = b""
    while line := answer.readline():
        line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip()
        elif not line:
            joined, data, kind, name = b"\n".join(data), [], name, b""
            if joined and kind in (b"", b"message"):
                yield joined


def _result(status: int, raw: bytes) -> Any:
    message = json.loads(raw) if raw else {}
    if not isinstance(message, dict) or "result" not in message:
        raise RpcError(status, message.get("error", message) if isinstance(message, dict) else message)
    return message["result"]
