"""HTTP+SSE upstreams behind OAuth: the stream's challenge leads to the provider, and a stream outlives its token."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.connections.test_on_behalf import ACCOUNTS, approve, connect
from tests.support.openid import Provider, open_provider, subject_of
from tests.support.running import Running, running
from tests.support.signing_in import account, ask
from tests.upstreams.scripted import Answering, Asked, Scripted

ABOUT = "/somewhere/else"


class Old:
    """A guarded server of 2024-11-05: one stream, an endpoint for messages; each request needs a token."""

    def __init__(self, provider: Provider) -> None:
        self.issuer, self.keys = provider.issuer, provider.keys()
        self.streams: list[Answering] = []
        self.subjects: list[str] = []
        self.refused: list[str] = []
        self.distrusted: set[str] = set()
        self.server = Scripted(self)

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        if asked.path == ABOUT:
            about = {"resource": self.server.url, "authorization_servers": [self.issuer]}
            await answering.whole(json.dumps({**about, "scopes_supported": ["openid", "offline_access"]}).encode())
            return
        given = asked.headers.get("authorization", "")
        who = subject_of(given, self.keys, self.server.url) if given not in self.distrusted else None
        if asked.method == "POST" and asked.path != "/post":
            await answering.whole(b"", 405)
        elif who is None:
            self.refused.append(asked.method)
            origin = self.server.url.removesuffix("/mcp")
            await answering.whole(
                b"", 401, "text/plain", f'WWW-Authenticate: Bearer resource_metadata="{origin}{ABOUT}"'
            )
        elif asked.method == "GET":
            self.streams.append(answering)
            await answering.stream()
            await answering.chunk(b"event: endpoint\r\ndata: /post\r\n\r\n")
            await answering.until_gone()
        else:
            await answering.whole(b"", 202)
            await self.answer(asked, who)

    async def answer(self, asked: Asked, who: str) -> None:
        method = asked.rpc["method"]
        result = {
            "initialize": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}},
            "tools/list": {"tools": [{"name": "list_orders", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": f"for {who}"}]},
        }.get(method, {})
        if method == "tools/call":
            self.subjects.append(who)
        if "id" in asked.rpc:
            await self.streams[-1].event({"jsonrpc": "2.0", "id": asked.rpc["id"], "result": result})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with open_provider(ACCOUNTS) as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("old") / "data") as found:
        yield found


@pytest.fixture
async def old(provider: Provider) -> AsyncIterator[Old]:
    found = Old(provider)
    async with found.server.running():
        yield found


async def test_a_stream_outlives_the_token_that_opened_it(run: Running, provider: Provider, old: Old) -> None:
    def words(token: str) -> str:
        return ask(run.url, token, "tools/call", {"name": "shop__list_orders", "arguments": {}}).text

    def connected() -> str:
        run.add_upstream("shop", old.server.url, transport="sse", auth={"mode": "on_behalf_of"})
        ana = account(run, "ana@acme.test")
        assert provider.issuer.removeprefix("http://") in ana.get("/connections/shop").words
        assert "is connected" in connect(ana, provider, "vendor-ana").words
        approve(run)
        token: str = run.operator.post("/tokens", {"person": "ana@acme.test"})["token"]
        assert "for vendor-ana" in words(token)
        return token

    token = await asyncio.to_thread(connected)
    old.distrusted |= {one.headers.get("authorization", "") for one in old.server.asked}
    old.refused.clear()
    streams, calls = len(old.streams), len(old.subjects)
    for _ in range(3):
        assert "for vendor-ana" in await asyncio.to_thread(words, token)
    assert old.refused == ["POST"], "refused once, and replaced within the call"
    assert len(old.streams) == streams
    assert len(old.subjects) == calls + 3
