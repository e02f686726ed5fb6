"""The stdio bridge against a real gateway: both eras, streams, sessions that were lost, a gateway that is away."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from callgate.cli.bridge import Bridge
from callgate.net.client import Client
from callgate.net.pool import Pool
from callgate.wire import eras
from tests.support.running import Running, running
from tests.support.shop import Shop, open_shop

ENVELOPE = {eras.VERSION_KEY: eras.LATEST_MODERN, eras.CAPABILITIES_KEY: {}}
HELLO = {
    "jsonrpc": "2.0",
    "id": "hello",
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("gateway") / "data") as found:
        found.add_upstream("shop", shop.url)
        for tool in found.operator.pages("/tools"):
            found.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found


@pytest.fixture(scope="module")
def token(gateway: Running) -> str:
    return gateway.person("ana@acme.test", client="bridge")[1]


class Wire:
    """The client's side of a bridge in this process."""

    def __init__(self, url: str, token: str | None, pool: Pool) -> None:
        self.arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.bridge = Bridge(Client(pool), url, token, lambda data: self.arrived.put_nowait(json.loads(data)))

    async def say(self, message: object) -> None:
        await self.bridge.take(message if isinstance(message, bytes) else json.dumps(message).encode())

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            return await self.arrived.get()

    async def ask(self, method: str, params: dict[str, Any] | None = None, id_: object = 1) -> dict[str, Any]:
        await self.say({"jsonrpc": "2.0", "id": id_, "method": method, "params": params or {}})
        return await self.hear()


@asynccontextmanager
async def wire(url: str, token: str | None) -> AsyncIterator[Wire]:
    pool = Pool()
    found = Wire(url, token, pool)
    try:
        yield found
    finally:
        await found.bridge.finish(5)
        await pool.aclose()


async def test_a_handshake_client_lists_and_calls(gateway: Running, token: str) -> None:
    async with wire(f"{gateway.url}/mcp", token) as client:
        await client.say(HELLO)
        hello = await client.hear()
        assert (hello["id"], hello["result"]["protocolVersion"]) == ("hello", "2025-06-18")
        await client.say(READY)
        listed = await client.ask("tools/list", id_="a-text")
        assert listed["id"] == "a-text"
        assert "shop__read_order" in {tool["name"] for tool in listed["result"]["tools"]}
        called = await client.ask("tools/call", {"name": "shop__read_order", "arguments": {"order_id": "A-1001"}}, 7)
        assert (called["id"], called["result"]["structuredContent"]["item"]) == (7, "Desk lamp")


async def test_a_modern_client_discovers_and_calls(gateway: Running, token: str) -> None:
    async with wire(f"{gateway.url}/mcp", token) as client:
        found = await client.ask("server/discover", {"_meta": ENVELOPE})
        assert found["result"]["supportedVersions"] == [eras.LATEST_MODERN]
        arguments = {"name": "shop__search_handbook", "arguments": {"query": "réfund"}, "_meta": ENVELOPE}
        called = await client.ask("tools/call", arguments)
        assert called["result"]["resultType"] == "complete"


async def test_arguments_that_travel_in_headers_do_so(gateway: Running, shop: Shop, token: str) -> None:
    properties = shop.tools[1]["inputSchema"]["properties"]
    properties["order_id"] = {**properties["order_id"], "x-mcp-header": "Order"}
    gateway.operator.post("/upstreams/shop/refresh")
    full = gateway.operator.get("/tools/shop__read_order")["full"]
    gateway.operator.post("/tools/shop__read_order/approve", {"full": full})
    call = {"name": "shop__read_order", "arguments": {"order_id": "A-1001"}, "_meta": ENVELOPE}
    async with wire(f"{gateway.url}/mcp", token) as client:
        await client.ask("tools/list", {"_meta": ENVELOPE})
        assert "result" in await client.ask("tools/call", call)


async def test_a_refusal_reaches_the_client_with_its_id(gateway: Running) -> None:
    async with wire(f"{gateway.url}/mcp", "cgt_" + "x" * 43) as client:
        await client.say(HELLO)
        answer = await client.hear()
        assert answer["id"] == "hello"
        assert "unknown, revoked or expired" in answer["error"]["message"]


async def test_a_gateway_that_is_away_is_an_error_for_the_request(token: str) -> None:
    async with wire("http://127.0.0.1:1/mcp", token) as client:
        answer = await client.ask("tools/list", id_=3)
        assert answer["id"] == 3
        assert "does not answer" in answer["error"]["message"]
        await client.say(READY)  # nobody waits for an answer to this


async def test_what_is_no_message_is_answered_as_such(gateway: Running, token: str) -> None:
    async with wire(f"{gateway.url}/mcp", token) as client:
        for line, code in ((b"{", -32700), (b"[]", -32600), (b"[" * 600 + b"]" * 600, -32600)):
            await client.say(line)
            answer = await client.hear()
            assert (answer["id"], answer["error"]["code"]) == (None, code)


class Script:
    """A gateway that answers what a test tells it; `heard` are (method, session, body) of each request."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None, dict[str, Any]]] = []
        self.known = {"s1"}
        self.sessions = iter(("s1", "s2", "s3"))
        self.release = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                session = self.headers.get("Mcp-Session-Id")
                script.heard.append((body.get("method", "answer"), session, body))
                script.post(self, body, session)

            def do_GET(self) -> None:
                self._empty(405)

            def do_DELETE(self) -> None:
                script.heard.append(("DELETE", self.headers.get("Mcp-Session-Id"), {}))
                self._empty(200)

            def _empty(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/mcp"

    def post(self, handler: Any, body: dict[str, Any], session: str | None) -> None:
        method = body.get("method")
        if method == "initialize":
            session = next(self.sessions)
            self.known.add(session)
            result = {"protocolVersion": "2025-11-25", "capabilities": {}}
            self.reply(handler, {"jsonrpc": "2.0", "id": body["id"], "result": result}, session)
        elif "id" not in body or method is None:
            handler._empty(202)
        elif session not in self.known:
            error = {"code": -32001, "message": "unknown session"}
            self.reply(handler, {"jsonrpc": "2.0", "id": body["id"], "error": error}, None, 404)
        elif method == "broken":
            handler._empty(500)
        else:
            self.stream(handler, body)

    def reply(self, handler: Any, message: dict[str, Any], session: str | None, status: int = 200) -> None:
        data = json.dumps(message).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        if session is not None:
            handler.send_header("Mcp-Session-Id", session)
        handler.end_headers()
        handler.wfile.write(data)

    def stream(self, handler: Any, body: dict[str, Any]) -> None:
        """A question to the client, then, when that was answered, the result."""
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        question = {"jsonrpc": "2.0", "id": "q1", "method": "roots/list"}
        handler.wfile.write(f": hello\n\ndata: {json.dumps(question)}\n\n".encode())
        handler.wfile.flush()
        self.release.wait(30)
        text = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": {"done": True}}, indent=1)
        handler.wfile.write(("".join(f"data: {line}\n" for line in text.split("\n")) + "\n").encode())
        handler.close_connection = True


@pytest.fixture
def script() -> Iterator[Script]:
    found = Script()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.release.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join()


async def test_questions_of_the_server_and_their_answers_pass(script: Script) -> None:
    async with wire(script.url, "t") as client:
        await client.say(HELLO)
        await client.hear()
        await client.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}})
        question = await client.hear()
        assert question == {"jsonrpc": "2.0", "id": "q1", "method": "roots/list"}
        await client.say({"jsonrpc": "2.0", "id": "q1", "result": {"roots": []}})
        script.release.set()
        assert await client.hear() == {"jsonrpc": "2.0", "id": 1, "result": {"done": True}}
    assert [name for name, _, _ in script.heard] == ["initialize", "tools/call", "answer", "DELETE"]
    assert {session for _, session, _ in script.heard[1:]} == {"s1"}


async def test_a_lost_session_is_opened_again_and_the_refused_request_repeated(script: Script) -> None:
    script.release.set()
    async with wire(script.url, "t") as client:
        await client.say(HELLO)
        await client.hear()
        script.known.clear()
        await client.say({"jsonrpc": "2.0", "id": 5, "method": "tools/list"})
        assert (await client.hear())["method"] == "roots/list"
        assert (await client.hear())["id"] == 5
    names = [(name, session) for name, session, _ in script.heard]
    assert names == [
        ("initialize", None), ("tools/list", "s1"), ("initialize", None), ("notifications/initialized", "s2"),
        ("tools/list", "s2"), ("DELETE", "s2"),
    ]  # fmt: skip


async def test_an_answer_without_a_result_is_an_error_for_the_request(script: Script) -> None:
    async with wire(script.url, "t") as client:
        await client.say(HELLO)
        await client.hear()
        answer = await client.ask("broken", id_=9)
        assert (answer["id"], "HTTP 500" in answer["error"]["message"]) == (9, True)


async def test_a_modern_cancel_closes_the_stream_and_says_nothing(script: Script) -> None:
    script.known.add(None)  # type: ignore[arg-type]
    async with wire(script.url, "t") as client:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "_meta": ENVELOPE}}
        await client.say(call)
        assert (await client.hear())["method"] == "roots/list"
        cancel = {"requestId": 1, "_meta": ENVELOPE}
        await client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
        await client.bridge.finish(5)
        assert client.arrived.empty()
    assert [name for name, _, _ in script.heard] == ["tools/call"]


def connect(place: Path, *arguments: str, stdin: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "callgate", "connect", *arguments],
        input=stdin,
        env={"PATH": "/usr/bin:/bin", "HOME": str(place), **env},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_as_a_program_it_speaks_lines_and_ends_with_its_input(gateway: Running, token: str, tmp_path: Path) -> None:
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    lines = "".join(json.dumps(one) + "\n" for one in (HELLO, READY, listing))
    done = connect(tmp_path, "--url", gateway.url, stdin=lines, env={"CALLGATE_TOKEN": token})
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["hello", 2]


def test_without_a_token_or_with_an_odd_url_it_says_what_to_do(tmp_path: Path) -> None:
    done = connect(tmp_path, stdin="", env={})
    assert (done.returncode, "CALLGATE_TOKEN" in done.stderr) == (1, True)
    done = connect(tmp_path, "nowhere", stdin="", env={"CALLGATE_TOKEN": "t"})
    assert (done.returncode, "http" in done.stderr) == (1, True)
