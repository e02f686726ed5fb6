"""The stdio bridge: newline JSON-RPC on one side, streamable HTTP on the other, for clients that take no URL.

Handshake-era and modern messages both pass, each by its own rules (MCP 2025-11-25 and 2026-07-28, /basic/transports).
Messages are passed on as bytes; the bridge reads ids, methods and the routing members, and changes nothing.
Fail closed: a request that cannot be delivered is answered with a JSON-RPC error; no request is sent twice but one
that the gateway refused for an unknown session, which it did not run.
"""

import asyncio
from collections.abc import Callable

import msgspec

from callgate.errors import Refused
from callgate.net.client import Client, Response
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy
from callgate.wire import eras, headers, jsonrpc
from callgate.wire.sse import SseParser

MAX_MESSAGE = 64 * 1024 * 1024
_UNREACHABLE = -31004
_LISTEN_AGAIN = 1.0
_JSON_AND_SSE = "application/json, text/event-stream"
_ONE = Limits(connect=10.0, first_byte=None, idle=None, total=None, response_bytes=2**62)

Write = Callable[[bytes], None]  # takes one message without its line end


class Bridge:
    """One client on stdio. `write` is called on the loop with every message for the client."""

    def __init__(self, client: Client, url: str, token: str | None, write: Write) -> None:
        self._client = client
        self._url = url
        self._token = token
        self._write = write
        self._session: str | None = None
        self._version: str | None = None
        self._initialize: bytes | None = None
        self._pending: dict[bytes, asyncio.Task[None]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._reopening: asyncio.Lock = asyncio.Lock()
        self._mirrored: dict[str, dict[headers.Path, str]] = {}

    # -- from the client ---------------------------------------------------------------------------------------------

    async def take(self, line: bytes) -> None:
        """One line of the client. Requests run beside each other; everything else is delivered in order."""
        try:
            message = jsonrpc.parse(line, 512)
        except Refused as refused:
            self._write(jsonrpc.error(b"null", jsonrpc.error_value(refused.kind.rpc, refused.sentence)))
            return
        if message.is_request:
            key = bytes(message.id)
            task = asyncio.create_task(self._request(message, line))
            self._pending[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
            if message.method == "initialize":
                await asyncio.wait({task})
            return
        if message.method == "notifications/cancelled" and await self._cancelled(message):
            return
        await self._deliver(message, line)
        if message.method == "notifications/initialized" and self._listener is None:
            self._listener = asyncio.create_task(self._listen())

    def _forget(self, key: bytes, done: asyncio.Task[None]) -> None:
        if self._pending.get(key) is done:
            del self._pending[key]

    async def _cancelled(self, message: jsonrpc.Message) -> bool:
        """A modern request is cancelled by closing its stream; True when that is all there is to do."""
        if self._version is not None:
            return False
        wanted = bytes(jsonrpc.members(message.params).get("requestId", b""))
        task = self._pending.get(wanted)
        if task is not None:
            task.cancel()
        return True

    async def finish(self, seconds: float) -> None:
        """The client closed its side: let requests end for a while, then end the session."""
        waiting = set(self._pending.values())
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        tasks = [*self._pending.values(), *([self._listener] if self._listener is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            try:
                async with await self._send("DELETE", self._heads(None, b"{}"), b"") as response:
                    await response.read(MAX_MESSAGE)
            except EgressError:
                return  # the gateway ends an idle session by itself

    # -- to the gateway ----------------------------------------------------------------------------------------------

    async def _request(self, message: jsonrpc.Message, line: bytes) -> None:
        key = bytes(message.id)
        try:
            if message.method == "initialize":
                self._initialize = line
                self._session = self._version = None
            response = await self._post(message, line)
            if response.status == 404 and self._session is not None and message.method != "initialize":
                await response.aclose()
                await self._open_again(self._session)
                response = await self._post(message, line)
            async with response:
                if message.method == "initialize":
                    self._session = response.headers.get("mcp-session-id")
                answered = await self._relay(response, message)
            if not answered:
                self._fail(key, f"The gateway answered with HTTP {response.status} and no result.")
        except EgressError as error:
            self._fail(key, f"The gateway does not answer: {error}")
        except Refused as refused:
            self._fail(key, refused.sentence)

    def _fail(self, key: bytes, sentence: str) -> None:
        self._write(jsonrpc.error(key, jsonrpc.error_value(_UNREACHABLE, sentence)))

    async def _deliver(self, message: jsonrpc.Message, line: bytes) -> None:
        """A notification or an answer of the client; nobody waits for a reply."""
        try:
            async with await self._post(message, line) as response:
                await response.read(MAX_MESSAGE)
        except EgressError:
            return  # the requests in flight tell the client that the gateway is gone

    async def _open_again(self, lost: str) -> None:
        """The session is unknown to the gateway: shake hands once more, with what the client said at first."""
        async with self._reopening:
            if self._session != lost or self._initialize is None:
                return
            hello = jsonrpc.parse(self._initialize, 512)
            self._session = None
            async with await self._post(hello, self._initialize) as response:
                self._session = response.headers.get("mcp-session-id")
                await response.read(MAX_MESSAGE)
            done = jsonrpc.notification("notifications/initialized")
            async with await self._post(jsonrpc.parse(done), done) as response:
                await response.read(MAX_MESSAGE)

    async def _post(self, message: jsonrpc.Message, line: bytes) -> Response:
        return await self._send("POST", self._heads(message.method, message.params), line)

    async def _send(self, method: str, given: dict[str, str], body: bytes) -> Response:
        policy = TargetPolicy(allow_private=True)  # the address is the user's own choice
        return await self._client.request(method, self._url, given, body, policy=policy, limits=_ONE)

    def _heads(self, method: str | None, params: bytes | msgspec.Raw) -> dict[str, str]:
        given = {"Accept": _JSON_AND_SSE, "Content-Type": "application/json"}
        if self._token:
            given["Authorization"] = f"Bearer {self._token}"
        version = _envelope_version(params)
        if version is not None and method is not None:
            given |= self._modern_heads(method, version, params)
        else:
            if self._session is not None:
                given["Mcp-Session-Id"] = self._session
            if self._version is not None:
                given["MCP-Protocol-Version"] = self._version
        return given

    def _modern_heads(self, method: str, version: str, params: bytes | msgspec.Raw) -> dict[str, str]:
        given = {"MCP-Protocol-Version": version, "Mcp-Method": method}
        fields = jsonrpc.members(params)
        member = eras.NAME_MEMBERS.get(method)
        name = jsonrpc.text(fields.get(member, b"")) if member is not None else None
        if name is not None:
            given["Mcp-Name"] = headers.encode_value(name)
            paths = self._mirrored.get(name) if method == "tools/call" else None
            if paths:
                given |= headers.mirrored_values(paths, msgspec.json.decode(fields.get("arguments", b"null")))
        return given

    # -- from the gateway --------------------------------------------------------------------------------------------

    async def _relay(self, response: Response, asked: jsonrpc.Message) -> bool:
        """Pass on what comes; True when the answer to `asked` was among it."""
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            body = await response.read(MAX_MESSAGE)
            return bool(body) and self._passed_on(body, asked)
        parser = SseParser(MAX_MESSAGE)
        async for chunk in response.chunks():
            for event in parser.feed(chunk):
                if event.data and self._passed_on(event.data, asked):
                    return True
        return False

    def _passed_on(self, body: bytes, asked: jsonrpc.Message | None) -> bool:
        if asked is not None:
            body = _with_id(body, bytes(asked.id))
        try:
            message = jsonrpc.parse(body, 512)
        except Refused:
            return False
        if asked is None or not message.is_response:
            self._write(_line(body))
            return False
        self._learn(asked, message)
        self._write(_line(body))
        return True

    def _learn(self, asked: jsonrpc.Message, answer: jsonrpc.Message) -> None:
        """What later requests need: the negotiated revision, and which arguments travel in headers."""
        if not answer.result:
            return
        if asked.method == "initialize":
            self._version = jsonrpc.text(jsonrpc.members(answer.result).get("protocolVersion", b""))
        elif asked.method == "tools/list" and b"x-mcp-header" in bytes(answer.result):
            for tool in msgspec.json.decode(answer.result).get("tools", []):
                self._mirrored[str(tool.get("name"))] = headers.mirrored_paths(tool.get("inputSchema"))

    async def _listen(self) -> None:
        """The handshake era's GET stream, opened again whenever it ends."""
        while True:
            try:
                async with await self._send("GET", self._heads(None, b"{}"), b"") as response:
                    if response.status in (404, 405):
                        return
                    parser = SseParser(MAX_MESSAGE)
                    async for chunk in response.chunks():
                        for event in parser.feed(chunk):
                            if event.data:
                                self._passed_on(event.data, None)
            except (EgressError, Refused):
                pass  # requests tell the client; this stream only comes back
            await asyncio.sleep(_LISTEN_AGAIN)


def _with_id(body: bytes, id_: bytes) -> bytes:
    """An error that was given before the id was known, as the answer to the request that it is."""
    try:
        fields = jsonrpc.members(body)
    except Refused:
        return body
    if "error" in fields and bytes(fields.get("id", b"null")) == b"null":
        return jsonrpc.error(id_, bytes(fields["error"]))
    return body


def _line(body: bytes) -> bytes:
    """JSON without line breaks: inside strings it has none."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ")


def _envelope_version(params: bytes | msgspec.Raw) -> str | None:
    """The revision in a modern envelope, None for handshake-era messages."""
    if eras.VERSION_KEY.encode() not in bytes(params):
        return None
    try:
        return jsonrpc.text(jsonrpc.members(jsonrpc.members(params).get("_meta", b"")).get(eras.VERSION_KEY, b""))
    except Refused:
        return None
