"""Speaking to the control API: over the gateway's local socket, or to a URL with a token.

A refusal of the API arrives as the same `Refused` that the API raised. Fail closed: an address that does not answer, or
an answer that is no JSON, is `store_unavailable` with what to do; a POST is never repeated.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from callgate.control.permissions import PREFIX
from callgate.errors import Refused

TIMEOUT = 180.0  # seconds; a refresh of a slow upstream and a long poll of the audit both end before
_MAX_SOCKET_PATH = 100


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket. Paths too long for an address go through a descriptor of their directory."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = connect_unix(self._path, self.timeout if isinstance(self.timeout, float) else None)


def connect_unix(path: Path, timeout: float | None) -> socket.socket:
    """A connected unix socket. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with short_path(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """An address of at most 100 bytes for a socket path of any length (Linux)."""
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class Client:
    """The control API of one gateway. Close it after use."""

    def __init__(self, connection: http.client.HTTPConnection, token: str | None, about: str) -> None:
        self._connection = connection
        self._token = token
        self.about = about  # how to name this gateway in a sentence

    @classmethod
    def at_socket(cls, path: Path) -> "Client":
        """The gateway that listens on a control socket."""
        return cls(_UnixConnection(path), None, str(path.parent))

    @classmethod
    def at_url(cls, url: str, token: str | None) -> "Client":
        """The gateway at a base URL. Raises `Refused("bad_setting")` for what is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise Refused("bad_setting", "--url must be the address of a gateway, such as https://mcp.acme.example.")
        if not token:
            raise Refused("auth_required", "Set CALLGATE_TOKEN or give --token to talk to a gateway by its URL.")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        return cls(connection, token, f"{parts.scheme}://{parts.netloc}")

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, **query: object) -> Any:
        """GET; query parameters that are None are left out."""
        return self._json("GET", path, query, None)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """POST a JSON value (an empty object when there is none)."""
        return self._json("POST", path, query, {} if body is None else body)

    def put(self, path: str, body: object, **query: object) -> Any:
        return self._json("PUT", path, query, body)

    def patch(self, path: str, body: object) -> Any:
        return self._json("PATCH", path, {}, body)

    def delete(self, path: str, **query: object) -> Any:
        return self._json("DELETE", path, query, None)

    def pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Every item of all pages of a list."""
        after: str | None = None
        while True:
            page = self.get(path, after=after, limit=500, **query)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def lines(self, path: str, **query: object) -> Iterator[bytes]:
        """The lines of an answer that is a text, as they arrive."""
        response = self._send("GET", path, query, None)
        try:
            yield from response
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from None

    def _json(self, method: str, path: str, query: Mapping[str, object], body: object) -> Any:
        response = self._send(method, path, query, body)
        try:
            text = response.read()
            return json.loads(text) if text else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._broken(error) from None

    def _send(self, method: str, path: str, query: Mapping[str, object], body: object) -> http.client.HTTPResponse:
        given = {name: _text(value) for name, value in query.items() if value is not None}
        target = PREFIX + path + ("?" + urlencode(given) if given else "")
        headers = {"Accept": "application/json, */*;q=0.5"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/json"
        try:
            self._connection.request(method, target, data, headers)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._broken(error) from None
        if response.status >= 400:
            raise _refused(response)
        return response

    def _broken(self, error: Exception) -> Refused:
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return Refused("store_unavailable", f"The gateway at {self.about} does not answer ({why}); is it running?")


def segment(value: str) -> str:
    """One path segment, percent-encoded."""
    return quote(value, safe="")


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _refused(response: http.client.HTTPResponse) -> Refused:
    """The refusal in a problem document; anything else is named by its status."""
    try:
        problem = json.loads(response.read())
        return Refused(str(problem["code"]), str(problem["detail"]), dict(problem.get("data") or {}))
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return Refused("internal", f"The address answered with HTTP {response.status}; is it a Callgate gateway?")
