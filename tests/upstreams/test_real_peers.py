"""Real servers of both eras over every transport: SDK 1.30, SDK 2.3 and the TypeScript reference server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.model.upstream import Stdio, Upstream
from callgate.upstreams.exchange import Answered, Ask, Event, Exchange, Notice, Peer, Sent
from callgate.upstreams.pool import Upstreams
from tests.peers.environments import SERVERS, node, program, python
from tests.peers.processes import Process, fixture_server
from tests.upstreams.scripted import ASKING, Programs, at, events, peer, pooled, value
from tests.upstreams.scripted import program as child

pytestmark = pytest.mark.peers
EVERYTHING = "@modelcontextprotocol/server-everything"
EVERYTHING_MODES = {"streamableHttp": "http", "sse": "sse"}


def call(name: str, **arguments: Any) -> Sent:
    params = json.dumps({"name": name, "arguments": arguments}).encode()
    return Sent("tools/call", params, name=name, progress=True, log_level="debug")


def texts(result: Any) -> str:
    return " ".join(block.get("text", "") for block in result["content"])


async def answered(exchange: Exchange, replies: dict[str, bytes]) -> tuple[Any, list[Event]]:
    """The result, answering the questions that come."""
    found: list[Event] = []
    async with asyncio.timeout(60):
        async for event in exchange:
            found.append(event)
            if isinstance(event, Ask):
                await exchange.answer(event.id, b'{"result":' + replies[event.method] + b"}")
    end = found[-1]
    assert isinstance(end, Answered), end
    return json.loads(end.raw), found


REPLIES = {
    "sampling/createMessage": b'{"role":"assistant","content":{"type":"text","text":"sampled"},"model":"m"}',
    "elicitation/create": b'{"action":"accept","content":{"name":"Ana","username":"ana","email":"a@b.test"}}',
    "roots/list": b'{"roots":[{"uri":"file:///work","name":"w"}]}',
}


@pytest.fixture(scope="module", params=["both", "modern", "legacy"])
def fixture(request: pytest.FixtureRequest) -> Iterator[tuple[str, Process, str]]:
    with fixture_server(request.param) as server:
        yield request.param, server, server.wait_ready()


def era_of(variant: str) -> str:
    return "legacy" if variant == "legacy" else "modern"


async def test_the_fixtures_over_http_are_probed_listed_and_called(fixture: tuple[str, Process, str]) -> None:
    variant, _, url = fixture
    async with pooled() as upstreams:
        found = await upstreams.discovery(at(url))
        assert found.era == era_of(variant)
        assert {item.kind for item in found.items} == {"tool", "prompt", "resource", "template"}
        assert found.instructions
        assert not found.unlisted
        result = await value(await upstreams.start(at(url), peer(), call("test_simple_text")))
        assert texts(result)


async def test_progress_and_logs_of_the_fixtures_arrive(fixture: tuple[str, Process, str]) -> None:
    _, _, url = fixture
    async with pooled() as upstreams:
        found = await events(await upstreams.start(at(url), peer(), call("test_tool_with_progress")))
        progress = [json.loads(event.raw) for event in found if isinstance(event, Notice)]
        assert [note["params"]["progress"] for note in progress if note["method"].endswith("progress")] == [0, 50, 100]
        found = await events(await upstreams.start(at(url), peer(), call("test_tool_with_logging")))
        logs = [event for event in found if isinstance(event, Notice) and event.method == "notifications/message"]
        assert len(logs) == 3


@pytest.mark.parametrize("tool", ["test_sampling", "test_elicitation"])
async def test_the_legacy_fixture_asks_and_is_answered(tool: str) -> None:
    with fixture_server("legacy") as server:
        url = server.wait_ready()
        async with pooled() as upstreams:
            exchange = await upstreams.start(at(url), peer(capabilities=ASKING), call(tool, prompt="p", message="m"))
            result, found = await answered(exchange, REPLIES)
            assert any(isinstance(event, Ask) for event in found)
            assert not result.get("isError"), result


async def test_roots_that_a_server_asks_for_on_its_get_stream_are_given() -> None:
    with fixture_server("legacy") as server:
        url = server.wait_ready()
        async with pooled() as upstreams:
            sent = call("test_input_required_result_list_roots")
            result, found = await answered(await upstreams.start(at(url), peer(capabilities=ASKING), sent), REPLIES)
            assert [event.method for event in found if isinstance(event, Ask)] == ["roots/list"]
            assert not result.get("isError"), result


async def test_the_modern_fixture_asks_by_input_required() -> None:
    with fixture_server("modern") as server:
        url = server.wait_ready()
        async with pooled() as upstreams:
            who = peer(session=None, capabilities=ASKING)
            sent = call("test_input_required_result_elicitation")
            result = await value(await upstreams.start(at(url), who, sent))
            assert result["resultType"] == "input_required"
            assert result["inputRequests"]


async def test_a_stream_that_the_sdk_closes_on_purpose_is_taken_up_again() -> None:
    with fixture_server("both") as server:
        url = server.wait_ready()
        async with pooled() as upstreams:
            upstreams._eras[("up1", "", 0)] = "legacy"
            exchange = await upstreams.start(at(url), peer(), call("test_reconnection"))
            assert exchange.era == "legacy"
            assert texts(await value(exchange))


async def test_a_cancelled_call_of_a_fixture_ends_and_the_next_one_works(fixture: tuple[str, Process, str]) -> None:
    _, _, url = fixture
    async with pooled() as upstreams:
        exchange = await upstreams.start(at(url), peer(), call("pause", seconds=60))
        async with asyncio.timeout(20):
            await exchange.cancel()
        assert texts(await value(await upstreams.start(at(url), peer(), call("test_simple_text"))))


@pytest.mark.parametrize("variant", ["both", "modern", "legacy"])
async def test_changes_of_the_fixtures_lists_are_heard(variant: str) -> None:
    with fixture_server(variant) as server:
        url = server.wait_ready()
        heard: asyncio.Queue[str] = asyncio.Queue()
        async with pooled() as upstreams:
            await upstreams.discovery(at(url))
            watching = asyncio.create_task(
                upstreams.watch(at(url), lambda method, _: heard.put_nowait(method)), name="watch"
            )
            try:
                async with asyncio.timeout(30):
                    if variant != "legacy":
                        assert await heard.get() == "notifications/subscriptions/acknowledged"
                    await value(await upstreams.start(at(url), peer(), call("test_trigger_tool_change")))
                    assert await heard.get() == "notifications/tools/list_changed"
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)


async def test_a_restarted_server_is_used_again_and_its_sessions_opened_anew() -> None:
    with fixture_server("legacy") as server:
        url = server.wait_ready()
        port = int(url.split(":")[2].split("/")[0])
        async with pooled() as upstreams:
            await value(await upstreams.start(at(url), peer(), call("test_simple_text")))
            server.kill()
            with fixture_server("legacy", port) as again:
                again.wait_ready()
                end = None
                for _ in range(2):  # the first may meet the closed keep-alive connection; it is not repeated
                    found = await events(await upstreams.start(at(url), peer(), call("test_simple_text")))
                    end = found[-1]
                assert isinstance(end, Answered)


# -- stdio ---------------------------------------------------------------------------------------------------------

STDIO = {
    "both": ("py-mcp2", "fixture.py", ("--transport", "stdio")),
    "modern": ("py-mcp2", "fixture.py", ("--transport", "stdio", "--era", "modern")),
    "legacy": ("py-mcp1", "fixture_legacy.py", ("--transport", "stdio")),
}


def stdio(variant: str) -> Programs:
    environment, name, arguments = STDIO[variant]
    return Programs(str(python(environment)), str(SERVERS / name), *arguments)


@pytest.mark.parametrize("variant", STDIO)
async def test_the_fixtures_over_stdio_are_probed_listed_and_called(variant: str) -> None:
    async with pooled(stdio(variant)) as upstreams:
        found = await upstreams.discovery(child())
        assert found.era == era_of(variant)
        assert {item.kind for item in found.items} == {"tool", "prompt", "resource", "template"}
        result = await value(await upstreams.start(child(), peer(), call("test_simple_text")))
        assert texts(result)
        found_events = await events(await upstreams.start(child(), peer(), call("test_tool_with_progress")))
        methods = [event.method for event in found_events if isinstance(event, Notice)]
        assert methods.count("notifications/progress") == 3


@pytest.mark.parametrize("tool", ["test_sampling", "test_elicitation", "test_input_required_result_list_roots"])
async def test_a_legacy_child_asks_and_is_answered(tool: str) -> None:
    async with pooled(stdio("legacy")) as upstreams:
        sent = call(tool, prompt="p", message="m")
        result, found = await answered(await upstreams.start(child(), peer(capabilities=ASKING), sent), REPLIES)
        assert any(isinstance(event, Ask) for event in found)
        assert not result.get("isError"), result


async def test_two_clients_of_a_person_share_a_modern_child_and_each_declares_its_own_capabilities() -> None:
    programs = stdio("modern")
    async with pooled(programs) as upstreams:
        sent = call("test_input_required_result_capabilities")
        able = await value(await upstreams.start(child(), peer("ana", None, ASKING), sent))
        bare = await value(await upstreams.start(child(), peer("ana", None), sent))
        assert len(programs.started) == 1
        assert able != bare


@pytest.mark.parametrize("variant", ["modern", "legacy"])
async def test_two_people_never_share_a_child(variant: str) -> None:
    programs = stdio(variant)
    async with pooled(programs) as upstreams:
        for person in ("ana", "ben"):
            await value(await upstreams.start(child(), peer(person, None), call("test_simple_text")))
        assert len(programs.started) == 2


@pytest.mark.parametrize("variant", ["modern", "legacy"])
async def test_changes_of_a_childs_lists_are_heard(variant: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with pooled(stdio(variant)) as upstreams:
        who = await upstreams.own_peer(child())
        watching = asyncio.create_task(upstreams.watch(child(), lambda method, _: heard.put_nowait(method)))
        try:
            async with asyncio.timeout(30):
                if variant == "modern":
                    assert await heard.get() == "notifications/subscriptions/acknowledged"
                else:
                    await upstreams.discovery(child())
                await value(await upstreams.start(child(), who, call("test_trigger_tool_change")))
                assert await heard.get() == "notifications/tools/list_changed"
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


# -- the TypeScript reference server ---------------------------------------------------------------------------------


@asynccontextmanager
async def everything(mode: str, free_port: int) -> AsyncIterator[tuple[Upstreams, Upstream]]:
    command = (str(node()), str(program(EVERYTHING)), mode)
    if mode == "stdio":
        async with pooled(Programs(*command)) as upstreams:
            yield upstreams, child()
        return
    with Process(command, env={"PORT": str(free_port), "PATH": "/usr/bin:/bin"}) as server:
        server.wait_line(lambda line: str(free_port) in line)
        path = "mcp" if mode == "streamableHttp" else "sse"
        async with pooled() as upstreams:
            yield upstreams, at(f"http://127.0.0.1:{free_port}/{path}", kind=EVERYTHING_MODES[mode])


@pytest.mark.parametrize("mode", ["stdio", "sse", "streamableHttp"])
async def test_the_reference_server_works_in_every_mode(mode: str, unused_tcp_port: int) -> None:
    async with everything(mode, unused_tcp_port) as (upstreams, upstream):
        found = await upstreams.discovery(upstream)
        assert found.era == "legacy"
        tools = {item.name for item in found.items if item.kind == "tool"}
        assert {"echo", "get-sum"} <= tools
        result = await value(await upstreams.start(upstream, peer(), call("echo", message="grüß")))
        assert "grüß" in texts(result)
        result, asked = await answered(
            await upstreams.start(
                upstream, peer(capabilities=ASKING), call("trigger-sampling-request", prompt="p", maxTokens=5)
            ),
            REPLIES,
        )
        assert "sampled" in json.dumps(result)
        assert any(isinstance(event, Ask) and event.method == "sampling/createMessage" for event in asked)
        long = call("trigger-long-running-operation", duration=1, steps=3)
        notices = await events(await upstreams.start(upstream, peer(), long))
        assert [event.method for event in notices[:-1] if isinstance(event, Notice)].count(
            "notifications/progress"
        ) == 3


async def test_conversations_with_the_reference_server_over_stdio_are_apart() -> None:
    programs = Programs(str(node()), str(program(EVERYTHING)), "stdio")
    async with pooled(programs) as upstreams:
        peers: list[Peer] = [peer("ana", "1"), peer("ana", "2"), peer("ben", "1")]
        for who in (*peers, *peers):
            await value(await upstreams.start(child(), who, call("echo", message="x")))
        assert len(programs.started) <= len(peers) + 1


async def test_a_program_that_does_not_exist_is_unavailable() -> None:
    class Missing(Programs):
        async def spawn(self, upstream: Upstream, variables: dict[str, str]) -> Any:
            raise Refused("upstream_unavailable", "no such program")

    async with pooled(Missing("none")) as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(child(stdio=Stdio("none")), peer(), call("echo"))
        assert caught.value.code == "upstream_unavailable"
