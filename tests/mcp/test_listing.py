"""Lists as one caller sees them, and what the gateway says of itself."""

import json
from unittest import mock

import msgspec
import pytest

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.snapshot import Delta, Snapshot, apply
from callgate.mcp import hello, listing
from callgate.mcp.sessions import Sessions
from callgate.model.rule import Match, Rule
from callgate.model.upstream import UpstreamState
from callgate.wire import eras
from tests.call.world import ANA, FILES, MAIL, PlainSealer, definition, snapshot

SEALER = PlainSealer()


def names(known: Snapshot, scope: str | None = None, kind: str = "tool") -> list[str]:
    return [entry.public for entry in listing.entries(known, ANA, scope, kind)]


def test_only_callable_tools_are_listed() -> None:
    hidden = [
        definition(FILES, name, status=name) for name in ("pending_review", "drift_detected", "blocked", "removed")
    ]
    assert names(snapshot(*hidden)) == ["files__read", "mail__send"]
    assert names(snapshot(*hidden), "files") == ["read"]


def test_a_tool_that_a_rule_denies_outright_is_not_listed() -> None:
    rule = Rule(id="x", title="X", effect="deny", match=Match(tool=("read",)))
    assert names(snapshot(rules=(rule,))) == ["mail__send"]


def test_prompts_and_resources_are_listed_whatever_their_review_says_unless_blocked() -> None:
    pending = definition(FILES, "later", kind="prompt", status="pending_review")
    blocked = definition(FILES, "never", kind="prompt", status="blocked")
    assert names(snapshot(pending, blocked), None, "prompt") == ["files__greet", "files__later"]


def test_a_quarantined_prompt_is_not_listed() -> None:
    odd = msgspec.structs.replace(definition(FILES, "odd", kind="prompt"), quarantined="it is not valid UTF-8")
    assert names(snapshot(odd), None, "prompt") == ["files__greet"]


def test_the_second_owner_of_a_uri_is_wrapped() -> None:
    double = definition(MAIL, "file:///notes", kind="resource")
    assert names(snapshot(double), None, "resource") == ["file:///notes", "gw+mail:file:///notes"]


def test_a_resource_that_looks_wrapped_and_one_behind_a_quarantined_owner_are_wrapped() -> None:
    hidden = msgspec.structs.replace(definition(FILES, "x://a", kind="resource"), quarantined="it is not valid UTF-8")
    more = [definition(MAIL, uri, kind="resource") for uri in ("x://a", "ui://gw+files/v", "gw+files:file:///notes")]
    assert names(snapshot(hidden, *more), None, "resource") == [
        "file:///notes", "gw+mail:gw+files:file:///notes", "gw+mail:x://a", "ui://gw+mail/gw+files/v",
    ]  # fmt: skip


def test_the_interface_of_a_tool_is_named_as_it_can_be_read() -> None:
    tools = [definition(one, "show", _meta={"ui": {"resourceUri": "ui://v", "x": 1}, "y": 2}) for one in (FILES, MAIL)]
    known = snapshot(*tools, *(definition(one, "ui://v", kind="resource") for one in (FILES, MAIL)))
    listed = listing.entries(known, ANA, None, "tool")
    page = json.loads(listing.page(listed, listing.open_cursor("", SEALER, ANA, "tool", None), SEALER, b"tools"))
    metas = {tool["name"]: tool.get("_meta") for tool in page["tools"]}
    assert metas["files__show"] == {"ui": {"resourceUri": "ui://v", "x": 1}, "y": 2}
    assert metas["mail__show"] == {"ui": {"resourceUri": "ui://gw+mail/v", "x": 1}, "y": 2}
    alone = snapshot(*tools, definition(MAIL, "ui://v", kind="resource"))
    assert listing.digest(listed) != listing.digest(listing.entries(alone, ANA, None, "tool"))
    (own,) = [entry for entry in listing.entries(known, ANA, "mail", "tool") if entry.public == "show"]
    assert own.apps == ()


def test_a_page_keeps_raw_definitions_but_for_the_name() -> None:
    odd = definition(FILES, "odd", big=9007199254740993, _meta={"a": None})
    listed = listing.entries(snapshot(odd), ANA, None, "tool")
    cursor = listing.open_cursor("", SEALER, ANA, "tool", None)
    page = json.loads(listing.page(listed, cursor, SEALER, b"tools"))
    assert page["tools"][0] == {"name": "files__odd", "big": 9007199254740993, "_meta": {"a": None}}
    assert "nextCursor" not in page


def test_pages_follow_each_other_to_the_end() -> None:
    known = snapshot(*(definition(FILES, f"t{number:03}") for number in range(25)))
    listed = listing.entries(known, ANA, None, "tool")
    seen: list[str] = []
    text: str | None = None
    with mock.patch.object(listing, "PAGE_ITEMS", 10):
        for _ in range(3):
            cursor = listing.open_cursor(text, SEALER, ANA, "tool", None)
            page = json.loads(listing.page(listed, cursor, SEALER, b"tools"))
            seen += [tool["name"] for tool in page["tools"]]
            text = page.get("nextCursor")
    assert text is None
    assert seen == [entry.public for entry in listed]


@pytest.mark.parametrize(("kind", "scope"), [("prompt", None), ("tool", "files")])
def test_a_cursor_of_another_list_is_refused(kind: str, scope: str | None) -> None:
    cursor = listing.open_cursor(None, SEALER, ANA, "tool", None)
    text = SEALER.seal(msgspec.msgpack.encode(cursor))
    listing.open_cursor(text, SEALER, ANA, "tool", None)
    with pytest.raises(Refused):
        listing.open_cursor(text, SEALER, ANA, kind, scope)
    with pytest.raises(Refused):
        listing.open_cursor("forged", SEALER, ANA, "tool", None)


def test_the_digest_changes_with_what_is_seen() -> None:
    before = listing.digest(listing.entries(snapshot(), ANA, None, "tool"))
    after = listing.digest(listing.entries(snapshot(definition(FILES, "new")), ANA, None, "tool"))
    assert before != after
    assert before == listing.digest(listing.entries(snapshot(), ANA, None, "tool"))


def with_states() -> Snapshot:
    files = b'{"tools":{},"prompts":{},"resources":{"subscribe":true},"logging":{},"extensions":{"x":{"a":1}}}'
    mail = b'{"tools":{},"resources":{},"completions":{},"extensions":{"y":{}}}'
    states = (
        UpstreamState(FILES.id, "ok", capabilities=files, instructions="Read first."),
        UpstreamState(MAIL.id, "ok", capabilities=mail, instructions="Then send."),
    )
    return apply(snapshot(), Delta(revisions={}, states=states))


def test_capabilities_are_what_the_visible_upstreams_offer() -> None:
    joined = json.loads(hello.discover_result(with_states(), ANA, None))
    assert joined["capabilities"] == {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"listChanged": True, "subscribe": True},
        "logging": {},
        "completions": {},
        "extensions": {"x": {"a": 1}, "y": {}},
    }
    assert joined["supportedVersions"] == ["2026-07-28"]
    assert joined["instructions"] == "## files\nRead first.\n\n## mail\nThen send."
    mail = json.loads(hello.initialize_result(with_states(), ANA, "mail", "2025-06-18"))
    assert mail["capabilities"]["resources"] == {"listChanged": True, "subscribe": False}
    assert (mail["instructions"], mail["protocolVersion"]) == ("Then send.", "2025-06-18")
    assert "instructions" not in json.loads(hello.discover_result(snapshot(), ANA, None))


@pytest.mark.parametrize(("wanted", "given"), [(v, v) for v in eras.LEGACY_VERSIONS] + [("2099-01-01", "2025-11-25")])
def test_a_handshake_is_answered_in_the_clients_revision_or_our_latest(wanted: str, given: str) -> None:
    assert hello.negotiated(wanted) == given


def test_a_session_belongs_to_its_person_and_ends() -> None:
    sessions = Sessions(SEALER)
    session, token = sessions.mint(ANA, "2025-11-25", b"{}", "x" * 500)
    assert len(session.client) == 100
    assert sessions.open(token, ANA) == session
    for stranger in (msgspec.structs.replace(ANA, person="per_bob"), msgspec.structs.replace(ANA, tenant="other")):
        with pytest.raises(Refused):
            sessions.open(token, stranger)
    sessions.end(session.id)
    with pytest.raises(Refused):
        sessions.open(token, ANA)


def test_a_session_is_unsealed_once_and_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Counting(PlainSealer):
        def open(self, text: str) -> bytes | None:
            opened.append(text)
            return super().open(text)

    sessions = Sessions(Counting())
    session, token = sessions.mint(ANA, "2025-11-25", b"{}", "x")
    for _ in range(3):
        assert sessions.open(token, ANA) == session
    assert opened == [token]
    monkeypatch.setattr(clock, "now", lambda: session.expires + 1)
    with pytest.raises(Refused):
        sessions.open(token, ANA)
