"""One contract, two edges: what the fast path answers the ordinary edge answers too, whatever the bytes look like."""

import json
import socket
from collections.abc import Iterator

import pytest

from callgate.mcp.door import read_head
from tests.support.running import Running, running
from tests.support.shop import Shop, open_shop

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
FAST, ORDINARY = "keep-alive", "keep-alive, x-ordinary"


class Line:
    """One raw connection to the gateway."""

    def __init__(self, run: Running, token: str) -> None:
        host, _, port = run.url.removeprefix("http://").partition(":")
        self.host = f"{host}:{port}"
        self.token = token
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.rest = b""

    def request(self, tool: str = "shop__list_orders", id_: object = 1, connection: str = FAST, **more: str) -> bytes:
        body = json.dumps(
            {
                "jsonrpc": "2.0",
                "id": id_,
                "method": "tools/call",
                "params": {"name": tool, "arguments": {}, "_meta": META},
            }
        ).encode()
        headers = {
            "Host": self.host,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
            "Connection": connection,
            "Content-Length": str(len(body)),
            **more,
        }
        head = "POST /mcp HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return head.encode() + b"\r\n" + body

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with a Content-Length."""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers["content-length"])
        while len(self.rest) < size:
            self.rest += self._more()
        body, self.rest = self.rest[:size], self.rest[size:]
        return int(first.split()[1]), headers, body

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        assert data, "the gateway closed the connection"
        return data

    def ask(self, **fields: object) -> tuple[int, dict[str, object]]:
        self.socket.sendall(self.request(**fields))  # type: ignore[arg-type]
        status, _, body = self.answer()
        return status, json.loads(body)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found


@pytest.fixture(scope="module")
def run(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("edges") / "data") as found:
        found.add_upstream("shop", shop.url)
        for tool in found.operator.get("/tools")["items"]:
            if tool["name"] != "shop__refund_order":
                found.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found


@pytest.fixture(scope="module")
def token(run: Running) -> str:
    return run.person("ana@acme.test", "member")[1]


@pytest.fixture
def line(run: Running, token: str) -> Iterator[Line]:
    found = Line(run, token)
    yield found
    found.socket.close()


@pytest.mark.parametrize("tool", ["shop__list_orders", "shop__refund_order", "shop__nothing"])
def test_both_edges_give_the_same_answer(line: Line, tool: str) -> None:
    line.ask(tool="shop__list_orders")  # the first call opens the conversation on the ordinary edge
    fast = line.ask(tool=tool, connection=FAST)
    assert fast == line.ask(tool=tool, connection=ORDINARY)


@pytest.mark.parametrize("id_", [1, "one", 9007199254740993, ""])
def test_ids_keep_their_type_on_both_edges(line: Line, id_: object) -> None:
    for connection in (FAST, ORDINARY):
        assert line.ask(id_=id_, connection=connection)[1]["id"] == id_


def test_pipelined_requests_are_answered_in_order(line: Line) -> None:
    line.socket.sendall(b"".join(line.request(id_=number) for number in range(20)))
    assert [json.loads(line.answer()[2])["id"] for _ in range(20)] == list(range(20))


def test_edges_take_turns_on_one_connection(line: Line) -> None:
    line.socket.sendall(
        b"".join(line.request(id_=number, connection=FAST if number % 2 else ORDINARY) for number in range(10))
    )
    assert [json.loads(line.answer()[2])["id"] for _ in range(10)] == list(range(10))


def test_a_request_may_come_byte_by_byte(line: Line) -> None:
    for byte in line.request(id_="slow"):
        line.socket.sendall(bytes((byte,)))
    assert json.loads(line.answer()[2])["id"] == "slow"


def test_a_foreign_or_revoked_token_is_refused_on_a_warm_connection(run: Running, line: Line) -> None:
    assert line.ask()[0] == 200
    _, second = run.person("bob@acme.test", "member")
    other = Line(run, second)
    assert other.ask()[0] == 200
    run.operator.post("/people/bob@acme.test/deactivate")
    other.socket.sendall(other.request())
    assert other.answer()[0] == 401
    other.socket.close()
    line.token = "cgt_" + "x" * 43
    line.socket.sendall(line.request())
    status, headers, _ = line.answer()
    assert status == 401
    assert "resource_metadata=" in headers["www-authenticate"]


def test_a_wrong_host_or_origin_is_refused_on_both_edges(line: Line) -> None:
    for connection in (FAST, ORDINARY):
        assert line.ask(connection=connection, Host="evil.test")[0] == 421
        assert line.ask(connection=connection, Origin="https://evil.test")[0] == 403


def test_headers_that_do_not_say_what_the_body_says_are_refused(line: Line) -> None:
    for name, value in (
        ("Mcp-Name", "shop__other"),
        ("Mcp-Method", "tools/list"),
        ("MCP-Protocol-Version", "2099-01-01"),
    ):
        status, answer = line.ask(**{name: value})
        assert (status, answer["error"]["code"]) == (400, -32020)  # type: ignore[index]


def test_a_head_without_end_is_refused(line: Line) -> None:
    line.socket.sendall(b"POST /mcp HTTP/1.1\r\n" + b"X-Filler: " + b"a" * 70_000)
    assert line.answer()[0] == 431


def test_a_client_that_goes_away_leaves_nothing_behind(run: Running, token: str, shop: Shop) -> None:
    for _ in range(20):
        gone = Line(run, token)
        gone.socket.sendall(gone.request())
        gone.socket.close()
    line = Line(run, token)
    assert line.ask()[0] == 200
    line.socket.close()


def test_every_call_that_the_upstream_saw_is_on_record(run: Running, token: str, shop: Shop) -> None:
    line = Line(run, token)
    before, seen = shop.calls, {event["id"] for event in events(run)}
    for number in range(30):
        line.ask(id_=number)
    fresh = [event for event in events(run) if event["id"] not in seen]
    assert shop.calls - before == 30
    assert sum(event["outcome"] == "result" for event in fresh) >= 30
    line.socket.close()


def events(run: Running) -> list[dict[str, object]]:
    """Every recorded call."""
    found: list[dict[str, object]] = []
    after = None
    while True:
        query = "?limit=500" + (f"&after={after}" if after else "")
        page = run.operator.get(f"/audit/events{query}")
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


HEAD = b"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def test_a_plain_head_is_read() -> None:
    head = read_head(HEAD)
    assert head is not None
    assert (head.path, head.length, head.size) == ("/mcp", 2, len(HEAD) - 2)


@pytest.mark.parametrize(
    "odd",
    [
        HEAD.replace(b"POST", b"GET"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b"Host: a", b"Host : a"),
        HEAD.replace(b"Host: a", b"Host: a\r\n folded"),
        HEAD.replace(b"Host: a", b"Host: a\r\nHost: b"),
        HEAD.replace(b"Host: a", b"Host: \xff"),
        HEAD.replace(b"Host: a", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"Host: a", b"Expect: 100-continue"),
        HEAD.replace(b"Host: a", b"Connection: close"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: +2"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: 2, 2"),
        HEAD.replace(b"Content-Length: 2", b"X: y"),
        HEAD.replace(b"/mcp", b"/m cp"),
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_the_ordinary_edge(odd: bytes) -> None:
    assert read_head(odd) is None
