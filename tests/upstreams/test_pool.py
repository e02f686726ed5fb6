"""Which era, which conversation, and what an upstream offers: the pool against servers the test scripts."""

import asyncio
import json
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.upstreams import opening, pool
from callgate.upstreams.exchange import Sent
from callgate.upstreams.place import Place
from tests.upstreams.scripted import (
    MODERN_INFO,
    Answering,
    Asked,
    Handler,
    Legacy,
    Scripted,
    at,
    last,
    modern,
    peer,
    pooled,
    value,
)

CALL = Sent("tools/call", b'{"name":"t"}', name="t")


async def ok(asked: Asked, answering: Answering) -> None:
    await answering.result(asked, {})


def error(asked: Asked, code: int, **data: Any) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": asked.rpc["id"], "error": {"code": code, "message": "", "data": data}}
    ).encode()


# -- the era -----------------------------------------------------------------------------------------------------------


def probed(status: int, body: bytes | None = None, **rpc: Any) -> Handler:
    """A handshake-era server that answers the probe in its own way."""
    legacy = Legacy(ok)

    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") == "server/discover":
            await answering.whole(body if body is not None else error(asked, **rpc), status)
        else:
            await legacy(asked, answering)

    return handle


@pytest.mark.parametrize(
    "handle",
    [
        probed(400, b"Bad Request: no session"),
        probed(404, b""),
        probed(405, b""),
        probed(500, b"<h1>oops</h1>"),
        probed(200, code=-32601),
        probed(200, code=-32602),
        probed(400, code=-32022, supported=["2025-11-25"]),
        probed(200, b'{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-11-25"]}}'),
        probed(200, b'{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":7}}'),
        probed(200, b'{"jsonrpc":"2.0","id":1,"result":{}}'),
        probed(202, b""),
        probed(200, b"[]"),
    ],
)
async def test_whatever_is_no_modern_answer_falls_back_to_the_handshake(handle: Handler) -> None:
    async with Scripted(handle).running() as server, pooled() as upstreams:
        exchange = await upstreams.start(at(server.url), peer(), CALL)
        assert exchange.era == "legacy"
        await value(exchange)
        await value(await upstreams.start(at(server.url), peer("ben"), CALL))
        assert len(server.seen("server/discover")) == 1


async def test_a_server_that_speaks_only_unknown_modern_revisions_is_refused_without_a_handshake() -> None:
    async with Scripted(probed(400, code=-32022, supported=["2031-01-01"])).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(at(server.url), peer(), CALL)
        assert caught.value.code == "upstream_invalid"
        assert not server.seen("initialize")


async def test_a_refused_credential_is_not_taken_for_the_other_era() -> None:
    async with Scripted(probed(401, b"")).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(at(server.url), peer(credential=("Authorization", "x")), CALL)
        assert "refused our credential" in caught.value.detail
        assert not server.seen("initialize")


async def test_a_server_that_hangs_on_the_probe_gets_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PROBE_SECONDS", 0.3)
    legacy = Legacy(ok)

    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") == "server/discover":
            await asyncio.Event().wait()
        await legacy(asked, answering)

    async with Scripted(handle).running() as server, pooled() as upstreams:
        assert (await upstreams.start(at(server.url), peer(), CALL)).era == "legacy"


async def test_a_server_that_hangs_on_both_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(opening, "HANDSHAKE_SECONDS", 0.2)

    async def handle(asked: Asked, answering: Answering) -> None:
        await asyncio.Event().wait()

    async with Scripted(handle).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(at(server.url), peer(), CALL)
        assert caught.value.code == "upstream_timeout"


@pytest.mark.parametrize("answer", [{"protocolVersion": "1999-01-01"}, {}, None])
async def test_a_handshake_without_a_known_revision_is_refused(answer: Any) -> None:
    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") != "initialize":
            await answering.whole(b"", 404)
        elif answer is None:
            await answering.whole(error(asked, -32603))
        else:
            await answering.result(asked, answer)

    async with Scripted(handle).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.start(at(server.url), peer(), CALL)
        assert caught.value.code == "upstream_invalid"


async def test_a_legacy_upstream_that_turned_modern_is_probed_again() -> None:
    legacy = Legacy(ok)
    async with Scripted(legacy).running() as server, pooled() as upstreams:
        await value(await upstreams.start(at(server.url), peer(), CALL))

        async def replaced(asked: Asked, answering: Answering) -> None:
            if asked.rpc.get("method") == "initialize":
                await answering.whole(error(asked, -32601), 404)
            elif asked.headers.get("mcp-protocol-version") == "2026-07-28":
                await modern(ok)(asked, answering)
            else:
                await answering.whole(b"", 404)

        server.handle = replaced
        exchange = await upstreams.start(at(server.url), peer(), CALL)
        assert await value(exchange) == {}
        assert (await upstreams.start(at(server.url), peer(), CALL)).era == "modern"


async def test_a_failed_opening_is_not_remembered() -> None:
    async def broken(asked: Asked, answering: Answering) -> None:
        await answering.whole(b"", 503)

    async with Scripted(broken).running() as server, pooled() as upstreams:
        for _ in range(2):
            with pytest.raises(Refused):
                await upstreams.start(at(server.url), peer(), CALL)
        server.handle = modern(ok)
        assert await value(await upstreams.start(at(server.url), peer(), CALL)) == {}


# -- conversations -----------------------------------------------------------------------------------------------------


async def test_only_an_open_conversation_of_this_peer_is_warm() -> None:
    async with Scripted(Legacy(ok)).running() as server, pooled() as upstreams:
        upstream = at(server.url)
        assert upstreams.warm(upstream, peer()) is None
        opened = await upstreams.conversation(upstream, peer())
        assert upstreams.warm(upstream, peer()) is opened
        assert upstreams.warm(upstream, peer("ben")) is None
        opened.lost = True
        assert upstreams.warm(upstream, peer()) is None


async def test_a_changed_upstream_gets_new_conversations() -> None:
    async with Scripted(Legacy(ok)).running() as server, pooled() as upstreams:
        for revision in (1, 2):
            await value(await upstreams.start(at(server.url, revision=revision), peer(), CALL))
        assert len(server.seen("initialize")) == 2


async def test_sessions_of_one_upstream_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_SESSIONS", 2)
    async with Scripted(Legacy(ok)).running() as server, pooled() as upstreams:
        for name in "abc":
            await value(await upstreams.start(at(server.url), peer(name), CALL))
        assert server.seen("DELETE")[0].headers["mcp-session-id"] == "s1"


async def test_notifications_go_to_open_conversations_alone() -> None:
    body = b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}'
    async with Scripted(Legacy(ok)).running() as server, pooled() as upstreams:
        await upstreams.notify(at(server.url), peer(), body, "notifications/roots/list_changed")
        assert not server.asked
        await value(await upstreams.start(at(server.url), peer(), CALL))
        await upstreams.notify(at(server.url), peer(), body, "notifications/roots/list_changed")
        assert server.seen("notifications/roots/list_changed")


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://127.0.0.1:1/", "ftp://x/", "http://u:p@x/"])
async def test_an_address_that_may_not_be_reached_is_refused(url: str) -> None:
    async with pooled() as upstreams:
        private = url.startswith("http://127")
        upstream = at(url)
        if private:
            upstream = type(upstream)(id="up1", tenant="default", name="u", kind="http", url=url)
        with pytest.raises(Refused) as caught:
            await upstreams.start(upstream, peer(), CALL)
        assert caught.value.code == "upstream_unavailable"


def test_a_place_shows_no_credential() -> None:
    async def opened() -> Place:
        async with pooled() as upstreams:
            return upstreams.place(at("http://127.0.0.1:1/mcp"), ("Authorization", "Bearer sesame"))

    assert "sesame" not in repr(asyncio.run(opened()))


# -- what an upstream offers -------------------------------------------------------------------------------------------

CAPABILITIES: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}}


def listing(answers: dict[str, Any]) -> Handler:
    """A modern server with these answers by method: results, or bytes for a whole body."""

    async def call(asked: Asked, answering: Answering) -> None:
        found = answers.get(asked.rpc["method"], {})
        if callable(found):
            found = found(asked)
        if isinstance(found, bytes):
            await answering.whole(found)
        else:
            await answering.result(asked, {"resultType": "complete", **found})

    async def handle(asked: Asked, answering: Answering) -> None:
        if asked.rpc.get("method") == "server/discover":
            about = {
                "instructions": "Do.",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "n", "version": "1"}},
            }
            await answering.result(asked, {**MODERN_INFO, "capabilities": CAPABILITIES, **about})
        else:
            await call(asked, answering)

    return handle


async def test_discovery_reads_all_pages_of_all_lists_as_they_are() -> None:
    def tools(asked: Asked) -> dict[str, Any]:
        page = int(asked.rpc["params"].get("cursor", "0") or 0)
        more = {"nextCursor": str(page + 1)} if page < 3 else {"nextCursor": None}
        return {"tools": [{"name": f"t{page}", "x": 1.0, "y": None}], **more}

    answers = {
        "tools/list": tools,
        "prompts/list": {"prompts": [{"name": "p"}]},
        "resources/list": {"resources": [{"uri": "a://b"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "a://{b}"}]},
    }
    async with Scripted(listing(answers)).running() as server, pooled() as upstreams:
        found = await upstreams.discovery(at(server.url))
        assert [(item.kind, item.name) for item in found.items] == [
            *[("tool", f"t{page}") for page in range(4)],
            ("prompt", "p"),
            ("resource", "a://b"),
            ("template", "a://{b}"),
        ]
        assert found.items[0].raw == b'{"name": "t0", "x": 1.0, "y": null}'
        assert (found.server_name, found.server_version, found.instructions) == ("n", "1", "Do.")
        assert json.loads(found.capabilities) == CAPABILITIES
        sent = server.seen("tools/list")[0].rpc["params"]["_meta"]
        assert set(sent["io.modelcontextprotocol/clientCapabilities"]) == {"sampling", "elicitation", "roots"}


NO_LIST = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32603,"message":"secret"}}'


async def test_a_list_that_fails_is_named_and_hurts_no_other() -> None:
    answers = {
        "tools/list": {"tools": [{"name": "t"}]},
        "prompts/list": lambda asked: NO_LIST % asked.id,
        "resources/list": {"resources": [{"name": "no uri"}]},
        "resources/templates/list": lambda asked: (NO_LIST % asked.id).replace(b"-32603", b"-32601"),
    }
    async with Scripted(listing(answers)).running() as server, pooled() as upstreams:
        found = await upstreams.discovery(at(server.url))
        assert [item.name for item in found.items] == ["t"]
        assert set(found.unlisted) == {"prompt", "resource"}
        assert "secret" not in str(found.unlisted)


@pytest.mark.parametrize(
    "tools",
    [
        lambda asked: NO_LIST % asked.id,
        lambda asked: {"tools": [{"name": "t"}], "nextCursor": "same"},
        lambda asked: {"tools": [{"name": "t"}], "nextCursor": f"{asked.rpc['id']}"},
        lambda asked: {"tools": {"name": "t"}},
        lambda asked: {"tools": ["t"]},
        lambda asked: {"tools": [{"name": ""}]},
        lambda asked: {"tools": [{"name": 7}]},
        lambda asked: b'{"jsonrpc":"2.0","id":%b,"result":[]}' % asked.id,
        lambda asked: b"oops",
    ],
)
async def test_a_tools_list_that_fails_makes_the_whole_look_an_error(
    tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callgate.upstreams.facts.MAX_PAGES", 5)
    async with Scripted(listing({"tools/list": tools})).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.discovery(at(server.url))
        assert caught.value.code.startswith("upstream_") or caught.value.code == "invalid_params"
        assert "secret" not in caught.value.detail


async def test_a_list_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callgate.upstreams.facts.PAGE_SECONDS", 0.2)

    async def hang(asked: Asked, answering: Answering) -> None:
        await asyncio.Event().wait()

    async with Scripted(modern(hang)).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.discovery(at(server.url))
        assert caught.value.code == "upstream_timeout"


async def test_too_many_items_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callgate.upstreams.facts.MAX_ITEMS", 3)
    many = {"tools": [{"name": f"t{number}"} for number in range(4)]}
    async with Scripted(listing({"tools/list": many})).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.discovery(at(server.url))
        assert caught.value.code == "upstream_too_large"


@pytest.mark.parametrize("stateless", [True, False])
async def test_discovery_hears_what_a_restarted_legacy_server_says_now(stateless: bool) -> None:
    async def tools(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"tools": []})

    legacy = Legacy(tools, stateless=stateless, instructions="one")
    async with Scripted(legacy).running() as server, pooled() as upstreams:
        assert (await upstreams.discovery(at(server.url))).instructions == "one"
        legacy.sessions.clear()
        legacy.instructions = "two"
        assert (await upstreams.discovery(at(server.url))).instructions == "two"


async def test_discovery_notices_that_a_modern_server_has_become_another() -> None:
    async with Scripted(listing({"tools/list": {"tools": []}})).running() as server, pooled() as upstreams:
        assert (await upstreams.discovery(at(server.url))).era == "modern"

        async def tools(asked: Asked, answering: Answering) -> None:
            await answering.result(asked, {"tools": []})

        server.handle = Legacy(tools)
        assert (await upstreams.discovery(at(server.url))).era == "legacy"


async def test_discovery_asks_a_modern_server_that_a_client_has_opened_before() -> None:
    answers = {"tools/list": {"tools": [{"name": "t"}]}}
    async with Scripted(listing(answers)).running() as server, pooled() as upstreams:
        await upstreams.conversation(at(server.url), peer(session=None))
        assert "t" in [item.name for item in (await upstreams.discovery(at(server.url))).items]


# -- listening ---------------------------------------------------------------------------------------------------------


async def test_a_modern_subscription_hears_updates_and_ends_with_its_follower() -> None:
    gone = asyncio.Event()

    async def listen(asked: Asked, answering: Answering) -> None:
        assert asked.rpc["params"]["notifications"] == {"resourceSubscriptions": ["a://b"]}
        await answering.stream()
        for method in ("subscriptions/acknowledged", "resources/updated"):
            params = {"uri": "a://b", "_meta": {"io.modelcontextprotocol/subscriptionId": asked.rpc["id"]}}
            await answering.event({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params})
        await answering.until_gone()
        gone.set()

    got: asyncio.Queue[bytes] = asyncio.Queue()
    async with Scripted(modern(listen)).running() as server, pooled() as upstreams:
        stop = await upstreams.subscribe(at(server.url), peer(session=None), "a://b", got.put_nowait)
        async with asyncio.timeout(10):
            assert json.loads(await got.get())["uri"] == "a://b"
            await stop()
            await gone.wait()


async def test_a_watch_comes_back_after_a_break_and_rests_where_nothing_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "QUIET_SECONDS", 0.05)
    ways: list[Handler] = []

    async def refuse(asked: Asked, answering: Answering) -> None:
        await answering.whole(error(asked, -32601), 404)

    async def break_off(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        answering.abort()

    async def finish(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"resultType": "complete"})

    async def tell(asked: Asked, answering: Answering) -> None:
        await answering.stream()
        await answering.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await answering.until_gone()

    ways += [refuse, break_off, finish, tell]

    async def listen(asked: Asked, answering: Answering) -> None:
        await ways.pop(0)(asked, answering)

    got: asyncio.Queue[str] = asyncio.Queue()
    async with Scripted(modern(listen)).running() as server, pooled() as upstreams:
        watching = asyncio.create_task(upstreams.watch(at(server.url), lambda method, _: got.put_nowait(method)))
        async with asyncio.timeout(20):
            assert await got.get() == "notifications/tools/list_changed"
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_closing_ends_everything_also_what_is_being_opened() -> None:
    async def hang(asked: Asked, answering: Answering) -> None:
        await asyncio.Event().wait()

    async with Scripted(hang).running() as server, pooled() as upstreams:
        opening_ = asyncio.ensure_future(upstreams.start(at(server.url), peer(), CALL))
        await server.until("server/discover")
        await upstreams.close()
        with pytest.raises(asyncio.CancelledError):
            await opening_


async def test_a_call_on_a_conversation_that_was_reopened_by_another_ends_well() -> None:
    legacy = Legacy(ok)
    async with Scripted(legacy).running() as server, pooled() as upstreams:
        await value(await upstreams.start(at(server.url), peer(), CALL))
        legacy.sessions.clear()
        server.handle = _unreachable
        end = await last(await upstreams.start(at(server.url), peer(), CALL))
        assert getattr(end, "code", "") == "upstream_unavailable"
        assert not getattr(end, "may_have_run", True)


async def _unreachable(asked: Asked, answering: Answering) -> None:
    await answering.whole(b"", 404 if asked.rpc.get("method") == "tools/call" else 503)


# -- whose a conversation is -------------------------------------------------------------------------------------------


async def test_an_account_keeps_its_conversation_when_its_token_is_renewed() -> None:
    legacy = Legacy(ok)
    async with Scripted(legacy).running() as server, pooled() as upstreams:
        for token in ("first", "second"):
            own = peer(person="per_a", credential=("Authorization", f"Bearer {token}"), account="per_a 1.0")
            await last(await upstreams.start(at(server.url), own, CALL))
    seen = [one.headers.get("authorization") for one in server.asked if one.rpc.get("method") == "tools/call"]
    assert seen == ["Bearer first", "Bearer second"]
    assert sum(one.rpc.get("method") == "initialize" for one in server.asked) == 1, "the session was thrown away"


async def test_nothing_of_somebody_who_left_stays_open() -> None:
    async with Scripted(Legacy(ok)).running() as server, pooled() as upstreams:
        upstream = at(server.url)
        for person in ("per_a", "per_b"):
            own = peer(person=person, credential=("Authorization", "Bearer x"), account=f"{person} 1.0")
            await last(await upstreams.start(upstream, own, CALL))
        await upstreams.forget_people(frozenset({"per_a"}))
        left = peer(person="per_a", credential=("Authorization", "Bearer x"), account="per_a 1.0")
        stays = peer(person="per_b", credential=("Authorization", "Bearer x"), account="per_b 1.0")
        assert upstreams.warm(upstream, left) is None
        assert upstreams.warm(upstream, stays) is not None
