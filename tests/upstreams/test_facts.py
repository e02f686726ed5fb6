"""Looking at an upstream: complete, each list apart, and nothing it writes can break more than its own list."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.fingerprints.canonical import fingerprint
from callgate.upstreams import facts
from callgate.upstreams.facts import Facts
from callgate.upstreams.pool import Upstreams
from tests.upstreams.scripted import MODERN_INFO, Answering, Asked, Handler, Legacy, Scripted, at, modern, pooled, reply

Page = Callable[[Asked], object]
LISTS = ("tools", "prompts", "resources")


def fault(asked: Asked, error: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (asked.id, error)


class Refusing:
    """An answer that is a JSON-RPC error."""

    def __init__(self, error: bytes) -> None:
        self.error = error


def serving(pages: dict[str, Page | object], info: dict[str, Any] | None = None) -> Handler:
    """A modern server: what each list method answers, as a value or a function of the request."""

    async def handle(asked: Asked, answering: Answering) -> None:
        method = str(asked.rpc.get("method"))
        if method == "server/discover":
            value: object = {**MODERN_INFO, "capabilities": {name: {} for name in LISTS}, **(info or {})}
        else:
            found = pages.get(method, {})
            value = found(asked) if callable(found) else found
        if isinstance(value, Refusing):
            await answering.whole(fault(asked, value.error))
        else:
            await answering.whole(reply(asked, value))

    return handle


async def look(pages: dict[str, Page | object], info: dict[str, Any] | None = None) -> Facts:
    async with Scripted(serving(pages, info)).running() as server, pooled() as upstreams:
        return await upstreams.discovery(at(server.url))


async def refusal(pages: dict[str, Page | object], info: dict[str, Any] | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        await look(pages, info)
    return caught.value


def tools(*names: str) -> dict[str, object]:
    return {"tools": [{"name": name} for name in names]}


async def test_every_list_is_read_with_the_bytes_as_they_came() -> None:
    found = await look(
        {
            "tools/list": b'{"tools":[ {"name":"a", "x":9007199254740993,"_meta":{"k":null}} ]}',
            "prompts/list": {"prompts": [{"name": "p"}]},
            "resources/list": {"resources": [{"uri": "file:///a", "name": "n"}]},
            "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///{x}", "name": "n"}]},
        },
        {"instructions": "Be kind.", "serverInfo": {"name": "Shop", "version": "2"}},
    )
    assert [(item.kind, item.name) for item in found.items] == [
        ("tool", "a"), ("prompt", "p"), ("resource", "file:///a"), ("template", "file:///{x}"),
    ]  # fmt: skip
    assert found.items[0].raw == b'{"name":"a", "x":9007199254740993,"_meta":{"k":null}}'
    assert (found.era, found.version, found.instructions) == ("modern", "2026-07-28", "Be kind.")
    assert (found.server_name, found.server_version, found.unlisted) == ("Shop", "2", {})
    assert json.loads(found.capabilities) == {"tools": {}, "prompts": {}, "resources": {}}


async def test_all_pages_are_read_and_a_cursor_goes_back_as_it_came() -> None:
    cursors: list[object] = []

    def page(asked: Asked) -> object:
        cursor = asked.rpc["params"].get("cursor")
        cursors.append(cursor)
        following = {None: "ä 1", "ä 1": "2"}.get(cursor)
        return {**tools(f"t{len(cursors)}"), **({"nextCursor": following} if following else {})}

    found = await look({"tools/list": page})
    assert [item.name for item in found.items] == ["t1", "t2", "t3"]
    assert cursors == [None, "ä 1", "2"]


async def test_a_null_cursor_ends_the_list() -> None:
    assert len((await look({"tools/list": {**tools("a"), "nextCursor": None}})).items) == 1


async def test_only_what_is_declared_is_asked_for() -> None:
    async with Scripted(serving({"tools/list": tools("a")}, {"capabilities": {"tools": {}}})).running() as server:
        async with pooled() as upstreams:
            await upstreams.discovery(at(server.url))
        assert not server.seen("prompts/list")
        assert not server.seen("resources/list")


async def test_discovery_always_declares_the_same_full_capabilities() -> None:
    async with Scripted(serving({"tools/list": tools("a")})).running() as server, pooled() as upstreams:
        await upstreams.discovery(at(server.url))
        declared = server.seen("tools/list")[0].rpc["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert set(declared) == {"sampling", "elicitation", "roots"}


async def test_a_list_that_fails_is_named_and_the_others_are_read() -> None:
    found = await look(
        {
            "tools/list": tools("a"),
            "prompts/list": Refusing(b'{"code":-32603,"message":"secret words"}'),
            "resources/list": {"resources": [{"name": "without uri"}]},
            "resources/templates/list": {"resourceTemplates": "none"},
        }
    )
    assert [item.name for item in found.items] == ["a"]
    assert found.unlisted == {
        "prompt": "The server answered `prompts/list` with an error (-32603).",
        "resource": "The server lists a resource without a usable `uri`.",
        "template": "The answer to `resources/templates/list` holds no list.",
    }


async def test_a_server_with_resources_may_know_no_templates() -> None:
    found = await look(
        {
            "prompts/list": {"prompts": []},
            "resources/list": {"resources": [{"uri": "a:b"}]},
            "resources/templates/list": Refusing(b'{"code":-32601,"message":"x"}'),
            "tools/list": tools(),
        }
    )
    assert found.unlisted == {}


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        (Refusing(b'{"code":-32603,"message":"secret words"}'), "upstream_invalid", "(-32603)"),
        (Refusing(b'{"code":"secret words"}'), "upstream_invalid", "without a code"),
        (Refusing('{"code":"ü"}'.encode()), "upstream_invalid", "without a code"),
        (Refusing(b'{"code":12345678901}'), "upstream_invalid", "without a code"),
        (Refusing(b'"secret words"'), "upstream_invalid", "without a code"),
        ([], "upstream_invalid", "no JSON object"),
        ({"tools": {}}, "upstream_invalid", "no list"),
        ({"tools": None}, "upstream_invalid", "no list"),
        ({"tools": [{}]}, "upstream_invalid", "`name`"),
        ({"tools": [{"name": ""}]}, "upstream_invalid", "`name`"),
        ({"tools": [{"name": 7}]}, "upstream_invalid", "`name`"),
        ({"tools": ["a"]}, "upstream_invalid", "`name`"),
        ({"tools": [{"name": "a\0b"}]}, "upstream_invalid", "`name`"),
        (b'{"tools":[{"name":"\\ud800"}]}', "upstream_invalid", "`name`"),
        ({"tools": [], "nextCursor": "round"}, "upstream_invalid", "circle"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_tools_list_that_cannot_be_had_whole_is_an_error_for_all(answer: object, code: str, why: str) -> None:
    refused = await refusal({"tools/list": answer, "prompts/list": {"prompts": [{"name": "p"}]}})
    assert refused.code == code
    assert why in refused.sentence
    assert "secret" not in refused.sentence


@pytest.mark.parametrize(
    ("limit", "value", "code"), [("MAX_ITEMS", 3, "upstream_too_large"), ("MAX_BYTES", 40, "upstream_too_large"),
                                 ("MAX_PAGES", 3, "upstream_invalid")],
)  # fmt: skip
async def test_pages_without_an_end_are_an_error(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, code: str
) -> None:
    monkeypatch.setattr(facts, limit, value)
    count = iter(range(1000))

    def page(asked: Asked) -> object:
        number = next(count)
        return {**tools(f"tool{number}"), "nextCursor": str(number)}

    assert (await refusal({"tools/list": page})).code == code


async def test_a_page_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PAGE_SECONDS", 0.05)
    never = asyncio.Event()

    async def handle(asked: Asked, answering: Answering) -> None:
        await never.wait()

    async with Scripted(modern(handle)).running() as server, pooled() as upstreams:
        with pytest.raises(Refused) as caught:
            await upstreams.discovery(at(server.url))
    assert caught.value.code == "upstream_timeout"
    assert "tools/list" in caught.value.sentence


async def test_a_duplicate_member_reaches_the_fingerprint_as_it_came() -> None:
    found = await look({"tools/list": b'{"tools":[{"name":"a","name":"a","x":1}]}'})
    assert found.items[0].raw == b'{"name":"a","name":"a","x":1}'


@pytest.mark.parametrize("text", [b"cut \\ud83d", b"caf\xe9"])
async def test_text_that_is_no_unicode_spoils_its_own_definition_alone(text: bytes) -> None:
    found = await look({"tools/list": b'{"tools":[{"name":"a","description":"%b"},{"name":"b"}]}' % text})
    seen = {item.name: fingerprint("tool", item.name, item.raw).quarantined for item in found.items}
    assert list(seen) == ["a", "b"]
    assert seen["a"]
    assert not seen["b"]


async def test_what_a_server_says_of_itself_is_bounded_and_harmless() -> None:
    info = {
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "n\0" * 300, "version": 7}},
        "instructions": "a\0b",
    }
    found = await look({"tools/list": tools("a")}, info)
    assert (found.server_name, found.server_version, found.instructions) == ("n" * 200, "", "ab")


@pytest.mark.parametrize("info", [{"serverInfo": "x"}, {"_meta": 7}, {"serverInfo": None}])
async def test_a_server_without_a_proper_name_is_listed_all_the_same(info: dict[str, Any]) -> None:
    assert (await look({"tools/list": tools("a")}, info)).server_name == ""


async def test_capabilities_that_are_no_object_are_an_error() -> None:
    refused = await refusal({}, {"capabilities": ["tools"]})
    assert (refused.code, "capabilities" in refused.sentence) == ("upstream_invalid", True)


async def test_a_handshake_era_server_is_read_the_same_way() -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, tools("a"))

    server_info: Legacy = Legacy(call, "2024-11-05")
    async with Scripted(server_info).running() as server, pooled() as upstreams:
        found = await upstreams.discovery(at(server.url))
        again = await refreshed(upstreams, server)
    assert (found.era, found.version, found.server_name) == ("legacy", "2024-11-05", "x")
    assert again == found


async def refreshed(upstreams: Upstreams, server: Scripted) -> Facts:
    return await upstreams.discovery(at(server.url))


async def test_a_server_that_does_not_say_what_it_offers_is_broken_and_not_empty() -> None:
    async def handle(asked: Asked, answering: Answering) -> None:
        silent = {name: value for name, value in MODERN_INFO.items() if name != "capabilities"}
        await answering.whole(reply(asked, silent))

    async with Scripted(handle).running() as server, pooled() as upstreams:
        with pytest.raises(Refused, match="capabilities") as caught:
            await upstreams.discovery(at(server.url))
    assert caught.value.code == "upstream_invalid"


async def test_an_answer_without_its_list_is_an_error_and_no_empty_list() -> None:
    assert (await refusal({"tools/list": {"resultType": "complete"}})).code == "upstream_invalid"
