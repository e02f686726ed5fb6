"""What rules ask of the upstream, the tool, the address and the clock: in decisions, in explanations, at save."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.definition import DRIFT_DETECTED, TRUSTED, Definition
from callgate.model.rule import Match, Rule, Times
from callgate.model.upstream import Upstream
from callgate.policy.compile import compile_rules
from callgate.policy.details import within
from callgate.policy.evaluate import decide
from callgate.policy.explain import explain
from callgate.policy.facts import Facts
from callgate.policy.model import check
from callgate.policy.trial import decided
from callgate.settings import Settings
from callgate.web.hosts import address

ANA = Caller("default", "per_1", "ana@acme.test", ("member",), ("sre",), None, None, "tok_1")
UPSTREAM = Upstream("ups_1", "default", "files", "http", auth_mode="shared", labels=("pci", "prod"))


def tool(**more: Any) -> Definition:
    raw = more.pop("raw", b'{"name":"read","annotations":{"readOnlyHint":true,"title":"R"}}')
    return Definition(
        id="def_1", tenant="default", upstream="ups_1", kind="tool", name="read", public_name="files__read",
        raw=raw, core="c", full="f", approved_full="f", **{"status": TRUSTED, **more},
    )  # fmt: skip


def facts(**more: Any) -> Facts:
    given = {"definition": tool(), "at": at("2026-11-23T10:00"), "arguments": b"{}", "address": "10.1.2.3", **more}
    return Facts(upstream=UPSTREAM, method="tools/call", **given)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def denies(match: Match, asked: Facts | None = None, caller: Caller = ANA) -> bool:
    """Whether a deny of this match holds; the explanation has to agree."""
    rule = Rule("r", "T", "deny", match)
    found = decided(compile_rules([check(rule)], 1), caller, asked or facts())
    (verdict,) = explain((rule,), caller, asked or facts())
    assert verdict.outcome == ("failed" if found.failed else "matched" if found.effect == "deny" else "missed")
    return found.effect == "deny"


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(auth_mode=("shared",)), True),
        (Match(auth_mode=("on_*", "none")), False),
        (Match(label=("pci",)), True),
        (Match(label=("p*",)), True),
        (Match(label=("dev",)), False),
        (Match(annotation=("readOnlyHint=true",)), True),
        (Match(annotation=("readOnlyHint=false",)), False),
        (Match(annotation=("destructiveHint=true",)), True),  # what an absent hint means
        (Match(annotation=("idempotentHint=true",)), False),
        (Match(annotation=('title="R"',)), True),
        (Match(risk=("none",)), True),
        (Match(risk=("high", "critical")), False),
        (Match(status=("trusted",)), True),
        (Match(network=("10.0.0.0/8",)), True),
        (Match(network=("192.168.0.0/16", "fd00::/8")), False),
        (Match(times=Times(("mon",), "09:00", "17:00")), True),
        (Match(times=Times(("tue",))), False),
        (Match(label=("pci",), network=("192.168.0.0/16",)), False),
        (Match(unless=Match(label=("pci",))), False),
        (Match(unless=Match(label=("dev",))), True),
        (Match(unless=Match(label=("pci",), team=("sre",))), False),
        (Match(unless=Match(label=("pci",), team=("other",))), True),
        (Match(unless=Match(network=("10.0.0.0/8",), role=("member",))), False),
    ],
)
def test_what_a_match_asks(match: Match, holds: bool) -> None:
    assert denies(match) is holds


def test_what_changes_while_the_rules_stay_is_seen_at_once() -> None:
    rules = compile_rules(
        [Rule("r", "T", "deny", Match(risk=("high",))), Rule("s", "S", "deny", Match(status=("drift*",)))], 1
    )
    assert decided(rules, ANA, facts()).effect == "allow"
    assert decided(rules, ANA, facts(definition=tool(risk="high"))).rule == "r"
    assert decided(rules, ANA, facts(definition=tool(status=DRIFT_DETECTED, pinned=b"{}"))).rule == "s"


def test_an_address_that_is_not_known_denies_a_call_and_says_nothing_of_a_list() -> None:
    match = Match(network=("10.0.0.0/8",))
    assert denies(match, facts(address=""))
    assert not denies(match, facts(address="", arguments=None))
    assert denies(match, facts(address="::ffff:10.1.2.3"))


def test_details_without_facts_deny() -> None:
    rules = compile_rules([Rule("r", "T", "allow", Match(label=("pci",)))], 1)
    assert rules.conditional
    assert decide(rules, ANA, "files", "read", "files__read").failed


@pytest.mark.parametrize(
    ("times", "moment", "holds"),
    [
        (Times(since="22:00", until="06:00"), "2026-11-23T23:00", True),
        (Times(since="22:00", until="06:00"), "2026-11-23T05:59", True),
        (Times(since="22:00", until="06:00"), "2026-11-23T06:00", False),
        (Times(("mon",), "22:00", "06:00"), "2026-11-24T05:00", True),  # the morning after Monday
        (Times(("mon",), "22:00", "06:00"), "2026-11-23T05:00", False),  # the morning after Sunday
        (Times(since="00:00", until="24:00"), "2026-11-23T23:59", True),
        (
            Times(since="09:00", until="17:00", zone="Europe/Zurich"),
            "2026-07-01T07:30",
            True,
        ),  # summer: two hours ahead
        (Times(since="09:00", until="17:00", zone="Europe/Zurich"), "2026-12-01T07:30", False),  # winter: one
        (Times(("sun",), zone="Pacific/Auckland"), "2026-11-21T12:00", True),
        (
            Times(since="02:00", until="03:00", zone="Europe/Zurich"),
            "2026-10-25T00:30",
            True,
        ),  # the hour that comes twice
        (Times(since="02:00", until="03:00", zone="Europe/Zurich"), "2026-10-25T01:30", True),
    ],
)
def test_windows_of_the_week(times: Times, moment: str, holds: bool) -> None:
    assert within(times, at(moment)) is holds


@pytest.mark.parametrize(
    ("match", "says"),
    [
        (Match(network=("10.0.0.1/8",)), "host bits"),
        (Match(network=("office",)), "10.1.0.0/16"),
        (Match(times=Times(zone="Europe/Zürich")), "no time zone"),
        (Match(times=Times(zone="../../etc/passwd")), "no time zone"),
        (Match(times=Times(since="9:00")), "08:30"),
        (Match(times=Times(since="25:00")), "08:30"),
        (Match(times=Times(since="08:00", until="08:00")), "the same"),
        (Match(times=Times(days=("monday",))), "mon, tue"),
        (Match(label=("",)), "`match.label`"),
        (Match(unless=Match(network=("x",))), "`match.unless`"),
    ],
)
def test_what_cannot_be_is_refused_at_save(match: Match, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check(Rule("r", "T", "deny", match))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "10.0.0.1", "203.0.113.9"),  # not a proxy that is trusted: anybody could write it
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.7:4711", "198.51.100.7"),  # as Azure's gateways write it
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.7, ::ffff:10.0.0.2", "198.51.100.7"),  # as dual-stack listeners do
        ("10.0.0.1", "nonsense", "nonsense"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
    ],
)
def test_where_a_request_comes_from(peer: str, forwarded: str | None, found: str) -> None:
    assert address(peer, forwarded, Settings(trusted_proxies=("10.0.0.0/8",)).proxies) == found


def test_an_odd_address_is_no_way_around_a_rule() -> None:
    assert denies(Match(network=("10.0.0.0/8",)), facts(address="nonsense"))
    assert msgspec.structs.replace(facts(), address="10.9.9.9") != facts()
