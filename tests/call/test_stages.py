"""identify, admit, authorize, forward, inspect, notices and record: one behaviour at a time."""

import json

import msgspec
import pytest

from callgate.call.admit import Slots
from callgate.call.authorize import authorize, authorize_again
from callgate.call.forward import sent
from callgate.call.identify import bearer, belongs, identify
from callgate.call.inspect import result_outcome, streamed_outcome
from callgate.call.model import Relay, Target
from callgate.call.notices import relayed
from callgate.call.record import UNDECIDED, intent, outcome
from callgate.credentials.granted import Opened
from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.event import Intent, Outcome
from callgate.model.upstream import Upstream
from callgate.wire import eras, jsonrpc
from tests.call.world import ANA, FILES, READ, definition, mac, request


class Known:
    """Identities that know one token at a glance and another one when asked."""

    def peek(self, token: str) -> Caller | None:
        return ANA if token == "at-a-glance" else None

    async def lookup(self, token: str) -> Caller:
        if token != "when-asked":
            raise Refused("invalid_token")
        return ANA

    async def again(self, caller: Caller) -> Caller:
        return caller

    async def settled(self) -> None:
        return


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer   ", "abc"])
def test_without_a_bearer_token_nobody_is_known(header: str | None) -> None:
    with pytest.raises(Refused) as caught:
        bearer(header)
    assert caught.value.kind.http == 401


@pytest.mark.parametrize("token", ["at-a-glance", "when-asked"])
async def test_a_known_token_is_its_caller(token: str) -> None:
    assert await identify(Known(), f"bearer {token}", "default") is ANA


async def test_a_token_of_another_tenant_is_worth_nothing() -> None:
    with pytest.raises(Refused) as caught:
        await identify(Known(), "Bearer at-a-glance", "other")
    assert caught.value.code == "invalid_token"
    with pytest.raises(Refused):
        await identify(Known(), "Bearer nobody", "default")
    assert belongs(ANA, "default") is ANA


def test_a_person_has_so_many_calls_in_flight_and_no_more() -> None:
    slots = Slots(2)
    slots.take(ANA)
    slots.take(ANA)
    with pytest.raises(Refused) as caught:
        slots.take(ANA)
    assert caught.value.code == "too_many_calls"
    slots.take(msgspec.structs.replace(ANA, person="per_bob"))
    assert slots.total == 3
    slots.give_back(ANA)
    slots.take(ANA)
    slots.give_back(ANA)
    slots.give_back(ANA)
    assert slots.total == 1


class Vault:
    """Credentials that count how often they are opened."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []

    def at_hand(self, upstream: Upstream, person: str, *, writes: bool = False) -> Opened | None:
        raise NotImplementedError

    async def open(self, upstream: Upstream, person: str, *, writes: bool = False) -> Opened:
        self.asked.append((upstream.id, person, writes))
        return Opened(("Authorization", f"Bearer {person}"), "account")

    async def again(self, upstream: Upstream, person: str, used: Opened, challenge: dict[str, str]) -> Opened:
        assert used == Opened(("Authorization", f"Bearer {person}"), "account")
        return Opened(("Authorization", f"Bearer {challenge['scope']}"), "account")


async def test_a_credential_is_that_of_the_person_and_in_no_repr() -> None:
    vault = Vault()
    target = Target(FILES, READ, "read", b"{}")
    peer = await authorize(vault, request(), target)
    assert vault.asked == [(FILES.id, request().caller.person, True)], "a tool that does not say that it only reads"
    assert peer.credential == ("Authorization", f"Bearer {request().caller.person}")
    assert peer.account == "account"
    assert "Bearer" not in repr(peer)
    again = await authorize_again(vault, peer, target, 'Bearer error="insufficient_scope", scope="more"')
    assert again.credential == ("Authorization", "Bearer more")


HEADED = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}


@pytest.mark.parametrize(
    ("schema", "arguments", "mirrored"),
    [
        (HEADED, {"region": "eu"}, (("mcp-param-region", "eu"),)),
        (HEADED, {"other": 1}, ()),
        ({"x-mcp-header": "nowhere"}, {"region": "eu"}, ()),
    ],
)
def test_mirrored_headers_are_made_from_the_arguments(schema: object, arguments: object, mirrored: object) -> None:
    tool = definition(FILES, "where", inputSchema=schema)
    asked = request(params={"arguments": arguments}, progress_token=b"1", log_level="info")
    going = sent(asked, Target(FILES, tool, "where", jsonrpc.encoded({"arguments": arguments})))
    assert going.mirrored == mirrored
    assert (going.method, going.name, going.progress, going.log_level) == ("tools/call", "where", True, "info")


def test_an_older_client_that_set_no_level_is_sent_everything() -> None:
    target = Target(FILES, READ, "read", b"{}")
    assert sent(request(era=eras.LEGACY), target).log_level == "debug"
    assert sent(request(era=eras.LEGACY, log_level="error"), target).log_level == "error"
    assert sent(request(era=eras.MODERN), target).log_level is None


def test_without_a_definition_or_schema_nothing_is_mirrored() -> None:
    assert sent(request(), Target(FILES, None, None, b"{}")).mirrored == ()
    odd = msgspec.structs.replace(READ, raw=b'{"description":"x-mcp-header"}')
    assert sent(request(), Target(FILES, odd, None, b"{}")).mirrored == ()
    odd = msgspec.structs.replace(READ, raw=b'{"inputSchema":{"x-mcp-header":"a"}}')
    broken = msgspec.structs.replace(request(), params={"arguments": msgspec.Raw(b"{")})
    assert sent(broken, Target(FILES, odd, None, b"{}")).mirrored == ()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"{}", "result"),
        (b'{"isError":true}', "tool_error"),
        (b'{"isError":false,"resultType":"complete"}', "result"),
        (b'{"resultType":"input_required"}', "input_required"),
        (b'{"isError":"yes"}', "result"),
        (b'{"resultType":1,"isError": true }', "tool_error"),
    ],
)
def test_a_result_is_told_by_its_members(raw: bytes, kind: str) -> None:
    assert result_outcome(raw) == kind


@pytest.mark.parametrize(
    ("more", "expected"),
    [(b"", "result"), (b',"isError":true', "tool_error"), (b',"resultType":"input_required"', "input_required")],
)
def test_a_text_cut_in_the_middle_of_a_character_is_looked_into_all_the_same(more: bytes, expected: str) -> None:
    assert result_outcome(b'{"content":[{"type":"text","text":"cut \\ud83d"}]' + more + b"}") == expected


@pytest.mark.parametrize("raw", [b"[]", b"1", b"{", b"", b'"x"'])
def test_what_is_no_object_is_no_result(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        result_outcome(raw)
    assert caught.value.code == "upstream_invalid"


def test_a_streamed_result_is_told_by_its_tail() -> None:
    assert streamed_outcome(b'..."isError":true}') == "tool_error"
    assert streamed_outcome(b'...\\"isError\\":true"}') == "result"


def log(level: object) -> bytes:
    return jsonrpc.notification("notifications/message", jsonrpc.encoded({"level": level, "data": "x"}))


@pytest.mark.parametrize(
    ("era", "wanted", "level", "passes"),
    [
        (eras.LEGACY, None, "debug", True),
        (eras.LEGACY, "warning", "debug", False),
        (eras.LEGACY, "warning", "error", True),
        (eras.MODERN, None, "error", False),
        (eras.MODERN, "info", "info", True),
        (eras.MODERN, "info", "shout", False),
        (eras.MODERN, "shout", "info", False),
    ],
)
def test_log_messages_pass_as_the_client_asked(era: str, wanted: str | None, level: str, passes: bool) -> None:
    relay = relayed(request(era=era, log_level=wanted), "notifications/message", log(level))
    assert (relay is not None) is passes


def test_other_notices_pass_only_where_the_era_has_them() -> None:
    raw = jsonrpc.notification("notifications/odd", b'{"a":1}')
    assert relayed(request(era=eras.LEGACY), "notifications/odd", raw) == Relay("notifications/odd", b'{"a":1}')
    assert relayed(request(era=eras.MODERN), "notifications/odd", raw) is None
    assert relayed(request(era=eras.LEGACY), "notifications/tools/list_changed", raw) is None
    assert relayed(request(), "notifications/odd", b"{") is None


def test_progress_without_a_token_of_the_client_is_dropped() -> None:
    raw = jsonrpc.notification("notifications/progress", b'{"progressToken":1,"progress":1}')
    assert relayed(request(), "notifications/progress", raw) is None


def test_a_name_outside_the_catalogue_is_recorded_as_a_keyed_hash() -> None:
    name = "CANARY-ssn-123"
    event = intent(request(name=name), None, UNDECIDED, "rep_1", mac)
    assert event.unknown_name == mac("default", name.encode()).hex()
    assert event.unknown_name_length == len(name)
    assert "CANARY" not in json.dumps(msgspec.to_builtins(event))


def test_a_known_tool_is_recorded_by_its_ids() -> None:
    event = intent(request(method="odd/method"), Target(FILES, READ, "read", b"{}"), UNDECIDED, "rep_1", mac)
    assert (event.upstream, event.definition, event.fingerprint) == (FILES.id, READ.id, READ.full)
    assert (event.unknown_name, event.method) == ("", "other")


def test_times_of_an_outcome_are_never_negative() -> None:
    event = outcome(request(at=2**60), "result", size=5, sent_at=2**60)
    assert (event.duration_us, event.upstream_us, event.result_bytes) == (0, 0, 5)


def test_no_audit_field_can_hold_a_payload() -> None:
    texts = {"id", "tenant", "replica", "person", "agent", "client", "token", "method", "upstream", "definition",
             "fingerprint", "decision", "rule", "era", "args_hash", "unknown_name", "continues", "outcome", "code",
             "durability", "shadow", "seen", "approval", "verdict", "verdict_rule", "result_seen"}  # fmt: skip
    for event in (Intent, Outcome):
        for field in msgspec.structs.fields(event):
            assert field.type in (int, float) or field.name in texts, field.name
