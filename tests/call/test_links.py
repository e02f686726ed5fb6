"""Links in results and definitions name what the client can read, and nothing else is touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.call import links
from callgate.call.resolve import resolve
from callgate.fleet.snapshot import Snapshot
from callgate.wire import jsonrpc
from tests.call.world import FILES, MAIL, definition, request, snapshot

LISTED = definition(MAIL, "mail://inbox", kind="resource")


def rewritten(value: Any, *, method: str = "tools/call", scope: str | None = None) -> Any:
    """What a client gets of a value that the upstream `mail` said."""
    return json.loads(links.rewritten(snapshot(LISTED), request(method, scope=scope), MAIL, jsonrpc.encoded(value)))


def link(uri: str) -> dict[str, Any]:
    return {"type": "resource_link", "uri": uri, "name": "n", "x": 1}


def embedded(uri: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "text": "t"}, "annotations": {}}


@pytest.mark.parametrize(
    ("own", "as_link", "as_embedded"),
    [
        ("mail://inbox", "mail://inbox", "mail://inbox"),
        ("mail://7/body", "mail://7/body", "mail://7/body"),
        ("https://a.test/x", "https://a.test/x", "https://a.test/x"),
        ("file:///notes", "gw+mail:file:///notes", "gw+mail:file:///notes"),
        ("mail://outbox", "gw+mail:mail://outbox", "mail://outbox"),
        ("ui://view/1", "ui://gw+mail/view/1", "ui://view/1"),
        ("gw+files:file:///notes", "gw+mail:gw+files:file:///notes", "gw+mail:gw+files:file:///notes"),
    ],
)
def test_a_link_leads_to_the_upstream_that_named_it(own: str, as_link: str, as_embedded: str) -> None:
    value = {"content": [{"type": "text", "text": own}, link(own), embedded(own)], "structuredContent": {"uri": own}}
    content = [value["content"][0], link(as_link), embedded(as_embedded)]  # type: ignore[index]
    assert rewritten(value) == {**value, "content": content}
    messages = {"messages": [{"role": "user", "content": link(own)}, {"role": "user", "content": [embedded(own)]}]}
    found = rewritten(messages, method="prompts/get")["messages"]
    assert [found[0]["content"], found[1]["content"][0]] == [link(as_link), embedded(as_embedded)]
    read = rewritten({"contents": [{"uri": own, "text": "t"}]}, method="resources/read")
    assert read == {"contents": [{"uri": as_link, "text": "t"}]}
    if as_link != own and not own.startswith("gw+"):
        assert resolve(snapshot(LISTED), request("resources/read", as_link)).upstream is MAIL


def test_on_the_endpoint_of_one_upstream_nothing_changes() -> None:
    raw = jsonrpc.encoded({"content": [link("file:///notes")]})
    assert links.rewritten(snapshot(), request(scope="mail"), MAIL, raw) is raw


@pytest.mark.parametrize(
    "value",
    [
        {"content": [{"type": "text", "text": '"uri"'}]},
        {"content": "uri", "uri": 1},
        {"content": [1, None, {"type": "resource_link", "uri": 7}, {"type": 1}], "uri": ""},
        {"content": [{"type": "resource", "resource": 7}], "uri": ""},
        {"uri": "file:///notes"},
    ],
)
def test_what_is_no_link_stays_byte_for_byte(value: Any) -> None:
    raw = b" " + jsonrpc.encoded(value)
    assert links.rewritten(snapshot(), request(), MAIL, raw) is raw


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["uri", "type", "resource", "content", "messages"]), inner, max_size=3)
    ),
    max_leaves=15,
)


@given(_JSON, st.sampled_from(["tools/call", "prompts/get", "resources/read", "completion/complete"]))
def test_no_shape_of_a_result_is_an_error(value: Any, method: str) -> None:
    raw = jsonrpc.encoded({"content": value, "messages": value, "contents": value})
    json.loads(links.rewritten(snapshot(), request(method), MAIL, raw))


def test_the_number_of_links_that_are_looked_up_is_bounded() -> None:
    found = rewritten({"content": [link("mail://inbox")] * 300})["content"]
    assert [one["uri"] for one in found[:2]] == ["mail://inbox"] * 2
    assert found[-1]["uri"] == "gw+mail:mail://inbox"


def apps(known: Snapshot, uri: str) -> str:
    return links.public_app(known, [FILES, MAIL], MAIL, uri)


def test_the_interface_of_a_tool_keeps_its_uri_only_where_its_own_upstream_lists_it() -> None:
    view = [definition(one, "ui://view", kind="resource") for one in (FILES, MAIL)]
    assert apps(snapshot(view[1]), "ui://view") == "ui://view"
    assert apps(snapshot(*view), "ui://view") == "ui://gw+mail/view"
    assert apps(snapshot(), "ui://view") == "ui://gw+mail/view"
    assert apps(snapshot(definition(MAIL, "ui://gw+files/v", kind="resource")), "ui://gw+files/v") == (
        "ui://gw+mail/gw+files/v"
    )


@pytest.mark.parametrize(
    ("meta", "uris"),
    [
        ({"ui": {"resourceUri": "ui://a"}}, ("ui://a",)),
        ({"ui/resourceUri": "ui://b", "ui": {"resourceUri": "ui://a"}}, ("ui://a", "ui://b")),
        ({"ui": {"resourceUri": 7}}, ()),
        ({"ui": "resourceUri"}, ()),
        ({}, ()),
        (None, ()),
    ],
)
def test_the_interfaces_of_a_tool_are_found_in_both_spellings(meta: Any, uris: tuple[str, ...]) -> None:
    raw = jsonrpc.encoded({"name": "t", "_meta": meta, "resourceUri": "ui://other"})
    assert links.app_uris(raw) == uris
    fields = jsonrpc.members(raw)
    if uris:
        links.with_apps(fields, {"ui://a": "ui://x", "ui://b": "ui://y"})
        expected = json.dumps(meta).replace("ui://a", "ui://x").replace("ui://b", "ui://y")
        assert json.loads(bytes(fields["_meta"])) == json.loads(expected)
