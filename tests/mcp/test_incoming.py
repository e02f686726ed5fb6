"""The ladder a POST climbs: media types, JSON, era, headers against body, session."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from callgate.errors import Refused
from callgate.mcp import incoming
from callgate.mcp.incoming import Posted, read_post
from callgate.mcp.sessions import Sessions
from callgate.settings import Settings
from callgate.wire import eras, jsonrpc
from tests.call.world import ANA, PlainSealer

SETTINGS = Settings()
SESSIONS = Sessions(PlainSealer())
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
ENVELOPE = {eras.VERSION_KEY: "2026-07-28", eras.CAPABILITIES_KEY: {}}
MODERN = {**JSON, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "a"}


def post(body: object, given: dict[str, str]) -> Posted:
    raw = body if isinstance(body, bytes) else jsonrpc.encoded(body)
    return read_post(raw, given, ANA, SESSIONS, SETTINGS)


def asked(method: str = "tools/call", meta: object = ENVELOPE, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "a", "_meta": meta, **params}}


def code(body: object, given: dict[str, str]) -> str:
    with pytest.raises(Refused) as caught:
        post(body, given)
    return caught.value.code


def test_a_modern_request_is_read_with_its_envelope() -> None:
    posted = post(asked(), MODERN)
    assert (posted.era, posted.version, posted.capabilities, posted.session) == (eras.MODERN, "2026-07-28", b"{}", None)
    assert (posted.id, posted.method, posted.may_stream) == (b"1", "tools/call", True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mcp-method": "tools/list"}, "header_mismatch"),
        ({"mcp-name": "b"}, "header_mismatch"),
        ({"mcp-name": "=?base64?!!?="}, "header_mismatch"),
        ({"mcp-protocol-version": "2099-01-01"}, "header_mismatch"),
        ({"content-type": "text/plain"}, "unsupported_media_type"),
        ({"content-type": ""}, "unsupported_media_type"),
        ({"accept": "text/html"}, "not_acceptable"),
    ],
)
def test_headers_that_do_not_fit_are_refused(change: dict[str, str], expected: str) -> None:
    assert code(asked(), {**MODERN, **change}) == expected


@pytest.mark.parametrize("missing", ["mcp-method", "mcp-name", "mcp-protocol-version"])
def test_missing_routing_headers_are_refused(missing: str) -> None:
    given = {name: value for name, value in MODERN.items() if name != missing}
    assert code(asked(), given) == "header_mismatch"


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({}, "invalid_params"),
        ({eras.VERSION_KEY: "2026-07-28"}, "invalid_params"),
        ({eras.VERSION_KEY: 1, eras.CAPABILITIES_KEY: {}}, "invalid_params"),
        ({eras.VERSION_KEY: "2026-07-28", eras.CAPABILITIES_KEY: []}, "invalid_params"),
        ([], "invalid_params"),
    ],
)
def test_an_envelope_that_is_not_whole_is_refused(meta: object, expected: str) -> None:
    assert code(asked(meta=meta), MODERN) == expected


def test_an_unknown_version_names_those_we_speak() -> None:
    given = {**MODERN, "mcp-protocol-version": "v9"}
    with pytest.raises(Refused) as caught:
        post(asked(meta={**ENVELOPE, eras.VERSION_KEY: "v9"}), given)
    assert caught.value.code == "unsupported_version"
    assert caught.value.data == {
        "supported": list(eras.MODERN_VERSIONS),
        "requested": "v9",
    }


def test_a_rejection_knows_the_id_it_answers() -> None:
    with pytest.raises(incoming.Rejected) as caught:
        post(asked(meta={}), MODERN)
    assert caught.value.id == b"1"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "parse_error"),
        (b"{", "parse_error"),
        (b"[]", "invalid_request"),
        (b"[" * 200 + b"]" * 200, "body_too_deep"),
        ({"jsonrpc": "1.0", "id": 1, "method": "a"}, "invalid_request"),
        ({"jsonrpc": "2.0", "id": None, "method": "a", "params": []}, "invalid_request"),
        ({"jsonrpc": "2.0", "id": 1}, "invalid_request"),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}, "invalid_params"),
    ],
)
def test_malformed_messages_are_refused_by_name(body: object, expected: str) -> None:
    assert code(body, JSON) == expected


def test_a_handshake_client_needs_no_version_header() -> None:
    posted = post({"jsonrpc": "2.0", "id": "x", "method": "ping"}, JSON)
    assert (posted.era, posted.version, posted.id) == (eras.LEGACY, eras.DEFAULT_LEGACY, b'"x"')


def test_a_session_brings_its_revision_and_capabilities() -> None:
    _, token = SESSIONS.mint(ANA, "2025-06-18", b'{"roots":{}}', "test")
    posted = post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, {**JSON, "mcp-session-id": token})
    assert (posted.version, posted.capabilities) == ("2025-06-18", b'{"roots":{}}')
    assert code({"jsonrpc": "2.0", "id": 1, "method": "ping"}, {**JSON, "mcp-session-id": token + "A"}) == (
        "session_not_found"
    )


def test_an_unknown_handshake_version_is_refused() -> None:
    given = {**JSON, "mcp-protocol-version": "1999-01-01"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "1999-01-01"}}
    assert code(body, given) == "unsupported_version"


def test_modern_clients_send_notifications_but_no_responses() -> None:
    note = post({"jsonrpc": "2.0", "method": "notifications/x"}, MODERN)
    assert note.message.is_notification
    assert code({"jsonrpc": "2.0", "id": 1, "result": {}}, MODERN) == "invalid_request"


@pytest.mark.parametrize("name", [b"mcp-name", b"host", b"authorization", b"origin", b"content-type"])
def test_duplicated_deciding_headers_are_refused(name: bytes) -> None:
    with pytest.raises(Refused) as caught:
        incoming.header_map({"headers": [(name, b"a"), (name, b"b")]})
    assert caught.value.code == "header_mismatch"


def test_a_list_may_come_in_several_headers() -> None:
    given = incoming.header_map({"headers": [(b"accept", b"a"), (b"x", b"1"), (b"accept", b"b"), (b"x", b"2")]})
    assert given == {"accept": "a, b", "x": "2"}
    assert incoming.header_map({"headers": [(b"x", b"1"), (b"x", b"2")]})["accept"] == "*/*"


async def read(messages: list[MutableMapping[str, Any]], given: dict[str, str], limit: int = 10) -> bytes:
    waiting = iter(messages)

    async def receive() -> MutableMapping[str, Any]:
        for message in waiting:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return await incoming.read_body(receive, given, limit)


async def test_a_body_is_read_to_its_end() -> None:
    parts = [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request", "body": b"c"}]
    assert await read(parts, {}) == b"abc"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("messages", "given", "expected"),
    [
        ([], {"content-length": "11"}, "body_too_large"),
        ([{"type": "http.request", "body": b"x" * 11}], {}, "body_too_large"),
        ([{"type": "http.disconnect"}], {}, "invalid_request"),
        ([], {}, "invalid_request"),
    ],
)
async def test_a_body_that_is_too_much_or_never_comes_is_refused(
    messages: Any, given: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "BODY_SECONDS", 0.01)
    with pytest.raises(Refused) as caught:
        await read(messages, given)
    assert caught.value.code == expected
