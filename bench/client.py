"""A plain MCP client for what the load generator does not do: sessions, and results too large for it.

On failure: `Broken` when an answer is not what it has to be.
"""

import http.client
import json
from types import TracebackType
from typing import Self

from bench.machine import Broken
from bench.measure import META, Target

HANDSHAKE = "2025-11-25"


class Client:
    """One keep-alive connection to a target, with its access token."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
        self._id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def initialize(self) -> str:
        """Begin a handshake-era session; its id, "" when the target keeps none."""
        about = {"name": "bench", "version": "1"}
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": about}
        headers, _ = self._post({"id": self._next(), "method": "initialize", "params": params}, {})
        session = headers.get("mcp-session-id", "")
        self._post({"method": "notifications/initialized"}, _session(session))
        return session

    def call(self, tool: str, session: str | None = None) -> int:
        """Call a tool, in a session or (without one) as a modern client; how many bytes came back."""
        params: dict[str, object] = {"name": tool, "arguments": {"account": "A-17"}}
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
        if session is None:
            params["_meta"] = META
        else:
            headers = _session(session)
        _, body = self._post({"id": self._next(), "method": "tools/call", "params": params}, headers)
        if b'"isError":false' not in body:
            raise Broken(f"{self._target.name}: {tool} answered {body[:300]!r}")
        return len(body)

    def _next(self) -> int:
        self._id += 1
        return self._id

    def _post(self, message: dict[str, object], headers: dict[str, str]) -> tuple[dict[str, str], bytes]:
        fixed = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        body = json.dumps({"jsonrpc": "2.0", **message})
        self._connection.request("POST", "/mcp", body, {**fixed, **self._target.headers, **headers})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status not in (200, 202):
            raise Broken(f"{self._target.name}: {message['method']} answered {answer.status}: {data[:300]!r}")
        return {name.lower(): value for name, value in answer.getheaders()}, data


def _session(session: str) -> dict[str, str]:
    headers = {"MCP-Protocol-Version": HANDSHAKE}
    return {**headers, "Mcp-Session-Id": session} if session else headers
