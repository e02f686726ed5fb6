"""The MCP endpoint under random bytes: envelopes, headers, chunking, clients that stop or read slowly.

A seeded short run stands in `make test`, minutes of it in `make soak`. Whatever comes: every answer is HTTP, none is a
500, the gateway goes on serving, and nothing is left behind.
"""

import json
import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.running import Running, running
from tests.support.shop import open_shop

SEED = 20261123
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
METHODS = (
    "tools/call", "tools/list", "prompts/get", "resources/read", "initialize", "ping", "server/discover",
    "completion/complete", "logging/setLevel", "resources/subscribe", "notifications/cancelled", "tasks/get", "x/y", "",
)  # fmt: skip
ODD: tuple[object, ...] = (
    "",
    "\0",
    "\ud800",
    "A" * 300,
    "=?base64?!?=",
    "shop__list_orders",
    "../..",
    '"',
    0,
    -1,
    1e308,
    None,
    True,
    [],
    {},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with open_shop() as shop, running(tmp_path_factory.mktemp("fuzz") / "data") as found:
        found.add_upstream("shop", shop.url)
        for tool in found.operator.get("/tools")["items"]:
            found.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found


def envelope(rng: random.Random) -> bytes:
    """A message that is valid, or nearly."""
    name = rng.choice(("shop__list_orders", *ODD))
    params: object = {"name": name, "arguments": {"a": rng.choice(ODD)}, "_meta": rng.choice((META, {}, None, 7))}
    message = {
        "jsonrpc": "2.0",
        "id": rng.choice((1, "a", None, 1.5, [])),
        "method": rng.choice(METHODS),
        "params": params,
    }
    for key in list(message):
        if rng.random() < 0.1:
            message[key] = rng.choice(ODD)
        elif rng.random() < 0.05:
            del message[key]
    body = json.dumps(message).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        at = rng.randrange(len(body))
        body = body[:at] + rng.randbytes(rng.randrange(6)) + body[at + rng.randrange(4) :]
    return body if rng.random() < 0.95 else b"[" * rng.randrange(5000)


def request(rng: random.Random, host: str, token: str) -> bytes:
    """A request that is valid, or nearly."""
    body = envelope(rng)
    headers = [
        ("Host", host), ("Authorization", f"Bearer {token}"), ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"), ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", rng.choice(METHODS)), ("Mcp-Name", "shop__list_orders"),
        ("Mcp-Session-Id", "forged"), ("Content-Length", str(len(body) + rng.choice((0, 0, 0, 0, 1, -1)))),
    ]  # fmt: skip
    headers = [pair for pair in headers if rng.random() > 0.12]
    if rng.random() < 0.2:
        headers.append(
            rng.choice((("Transfer-Encoding", "chunked"), ("Content-Length", "5"), ("Host", "b"), ("X", "\x01")))
        )
    line = (
        rng.choice(("POST", "POST", "POST", "GET", "DELETE", "PUT"))
        + " "
        + rng.choice(("/mcp", "/mcp/u/shop", "/mcp/u/x"))
    )
    head = f"{line} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    raw = head.encode("latin-1", "replace") + body
    return raw if rng.random() < 0.9 else rng.randbytes(200)


def one(rng: random.Random, run: Running, token: str) -> bytes:
    """Send one request in some chunking, perhaps leave early; what came back within a moment."""
    host, _, port = run.url.removeprefix("http://").partition(":")
    raw = request(rng, f"{host}:{port}", token)
    with socket.create_connection((host, int(port)), timeout=10) as line:
        try:
            for at in range(0, len(raw), size := rng.choice((len(raw), len(raw), 7, 100)) or 1):
                line.sendall(raw[at : at + size])
            if rng.random() < 0.2:
                return b""
            line.shutdown(socket.SHUT_WR)
            line.settimeout(2)
            return line.recv(1 if rng.random() < 0.1 else 65536)
        except OSError:
            return b""


def fuzz(run: Running, seed: int, seconds: float, at_least: int) -> int:
    """Fuzz for a time; how many answers came."""
    token = run.person("ana@acme.test", "member")[1]
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    answers = sent = 0
    while sent < at_least or time.monotonic() < end:
        answer = one(rng, run, token)
        sent += 1
        answers += bool(answer)
        assert answer[:8] in (b"", b"H", b"HTTP/1.1"), (seed, sent, answer[:200])
        assert not answer.startswith(b"HTTP/1.1 500"), (seed, sent, answer[:500])
    return answers


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  counting is all that is wanted


def test_random_requests_leave_the_gateway_as_it_was(run: Running) -> None:
    fuzz(run, SEED, 0, 50)
    before = descriptors()
    assert fuzz(run, SEED + 1, 0, 600) > 100
    still_serves(run)
    end = time.monotonic() + 40
    while descriptors() > before + 10 and time.monotonic() < end:
        time.sleep(0.2)
    assert descriptors() <= before + 10


@pytest.mark.soak
def test_minutes_of_random_requests_leave_the_gateway_as_it_was(run: Running) -> None:
    fuzz(run, int.from_bytes(os.urandom(4), "big"), 180, 1000)
    still_serves(run)


def still_serves(run: Running) -> None:
    assert run.operator.get("/upstreams")["items"]
    token = run.person("bob@acme.test", "member")[1]
    assert one_good(run, token) == 200


def one_good(run: Running, token: str) -> int:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    host, _, port = run.url.removeprefix("http://").partition(":")
    head = f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return int(line.recv(65536).split()[1])


def test_the_fuzz_is_the_same_each_time() -> None:
    first, second = (request(random.Random(SEED), "h", "t") for _ in range(2))
    assert first == second
