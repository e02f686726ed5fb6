"""HTTP+SSE of 2024-11-05 towards upstreams, against servers whose every byte the test decides."""

import asyncio
import json
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.upstreams.exchange import Answered, Failed, Sent
from tests.upstreams.scripted import Answering, Asked, Scripted, at, last, peer, pooled, value

CALL = Sent("tools/call", b'{"name":"t"}', name="t")


class OldServer:
    """One stream; POSTs are answered on it."""

    def __init__(self, endpoint: str = "/post?s=1", status: int = 202) -> None:
        self.endpoint = endpoint
        self.status = status
        self.stream: Answering | None = None
        self.hung_up = asyncio.Event()

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        if asked.method == "GET":
            self.stream = answering
            await answering.stream()
            await answering.chunk(b"event: endpoint\r\ndata: %b\r\n\r\n" % self.endpoint.encode())
            await answering.until_gone()
            self.hung_up.set()
            return
        method = asked.rpc.get("method")
        call = method == "tools/call"
        await answering.whole(b"Accepted", self.status if call else 202, "text/plain")
        if method == "initialize":
            await self.say(asked, {"protocolVersion": "2024-11-05", "capabilities": {}})
        elif call and self.status < 400:
            await self.answer(asked)

    async def answer(self, asked: Asked) -> None:
        await self.say(asked, {"content": [], "x": 1.0})

    async def say(self, asked: Asked, result: Any) -> None:
        assert self.stream is not None
        await self.stream.event({"jsonrpc": "2.0", "id": asked.rpc["id"], "result": result})


def sse(server: Scripted, **more: Any) -> Upstream:
    return at(server.url, kind="sse", **more)


async def test_calls_are_posted_to_the_named_endpoint_and_answered_on_the_stream() -> None:
    old = OldServer()
    who = peer(credential=("X-Key", "k"))
    async with Scripted(old).running() as server:
        async with pooled() as upstreams:
            for _ in range(2):
                assert await value(await upstreams.start(sse(server), who, CALL)) == {"content": [], "x": 1.0}
            assert len(server.seen("GET")) == 1
            assert {one.path for one in server.asked if one.method == "POST"} == {"/post?s=1"}
            assert {one.headers["x-key"] for one in server.asked} == {"k"}
        async with asyncio.timeout(10):
            await old.hung_up.wait()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9/post", "//example.test/post", "ftp://x/", "http://u@x/"])
async def test_an_endpoint_elsewhere_is_refused_and_gets_nothing(endpoint: str) -> None:
    async with Scripted(OldServer(endpoint)).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(sse(server), peer(), CALL)
        assert caught.value.code == "upstream_invalid"
        assert [one.method for one in server.asked] == ["GET"]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (200, "text/html", "upstream_invalid"),
        (405, "text/event-stream", "upstream_invalid"),
        (401, "application/json", "credential_refused"),
        (403, "application/json", "upstream_unavailable"),
    ],
)
async def test_a_server_without_a_stream_is_refused_with_the_reason(status: int, kind: str, code: str) -> None:
    async def handle(asked: Asked, answering: Answering) -> None:
        await answering.whole(b"secret", status, kind)

    async with Scripted(handle).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(sse(server), peer(), CALL)
        assert caught.value.code == code
        assert "secret" not in caught.value.detail


async def test_a_stream_that_breaks_fails_its_calls_and_the_next_call_opens_another() -> None:
    class Breaking(OldServer):
        async def answer(self, asked: Asked) -> None:
            if len(server.seen("tools/call")) == 1:
                assert self.stream is not None
                self.stream.abort()
            else:
                await super().answer(asked)

    async with Scripted(Breaking()).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(sse(server), peer(), CALL))
        assert isinstance(end, Failed)
        assert (end.code, end.may_have_run) == ("upstream_broke_off", True)
        assert isinstance(await last(await upstreams.start(sse(server), peer(), CALL)), Answered)
        assert len(server.seen("tools/call")) == 2


async def test_an_answer_over_the_cap_is_refused() -> None:
    class Huge(OldServer):
        async def answer(self, asked: Asked) -> None:
            await self.say(asked, {"x": "y" * 2_000_000})

    async with Scripted(Huge()).running() as server, pooled(cap=1_000_000) as upstreams:
        end = await last(await upstreams.start(sse(server), peer(), CALL))
        assert isinstance(end, Failed)
        assert end.code == "upstream_too_large"


async def test_a_message_that_the_server_does_not_take_fails_the_call() -> None:
    async with Scripted(OldServer(status=500)).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(sse(server), peer(), CALL))
        assert isinstance(end, Failed)
        assert end.code == "upstream_unavailable"


async def test_a_silent_server_is_given_up() -> None:
    class Silent(OldServer):
        async def answer(self, asked: Asked) -> None:
            """Say nothing."""

    async with Scripted(Silent()).running() as server, pooled() as upstreams:
        end = await last(await upstreams.start(sse(server, timeout_s=0.3), peer(), CALL))
        assert isinstance(end, Failed)
        assert end.code == "upstream_timeout"
        cancelled = await server.until("notifications/cancelled")
        assert json.loads(cancelled.body)["params"]["requestId"] == server.seen("tools/call")[0].rpc["id"]
