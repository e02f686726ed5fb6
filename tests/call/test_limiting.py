"""The machine at its last gate: what is counted, what a limit that is reached does, what a call turns out to cost."""

import json
from typing import Any

import msgspec
import pytest

from callgate.call import limit
from callgate.call import model as m
from callgate.call.pipeline import Call
from callgate.errors import Refused
from callgate.model.limit import MILLION
from callgate.model.rule import Limit, Match, Rule
from callgate.upstreams.exchange import Answered, Ended, Piece
from tests.call.test_parking import approval
from tests.call.world import ANA, call, kinds, mac, request, snapshot


def limited(effect: str = "deny", **terms: Any) -> Rule:
    return Rule(
        "few", "Not so many", effect, Match(tool=("read",)), limit=Limit(**{"kind": "rate", "most": 5, **terms})
    )


def gate(machine: Call) -> m.TakeLimits:
    """Start a call up to its last gate."""
    (intent,) = machine.start()
    assert isinstance(intent, m.RecordIntent)
    (take,) = machine.on(m.IntentDurable())
    assert isinstance(take, m.TakeLimits)
    return take


def test_a_call_is_counted_after_it_is_on_record_and_before_it_is_sent() -> None:
    machine = call(known=snapshot(rules=(limited(),)))
    take = gate(machine)
    assert [(one.rule, one.kind, one.most, one.amount) for one in take.takes] == [("few", "rate", 5 * MILLION, MILLION)]
    assert not machine.sent
    assert kinds(machine.on(m.LimitsTaken(take.takes))) == ["Forward"]
    assert machine.sent


def test_a_limit_that_is_reached_refuses_with_the_time_to_wait() -> None:
    machine = call(known=snapshot(rules=(limited(),)))
    gate(machine)
    (outcome,) = machine.on(m.LimitReached("few", 12.4))
    assert isinstance(outcome, m.RecordOutcome)
    assert (outcome.event.outcome, outcome.event.code) == ("refused", "limit_reached")
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.data == {"rule": "few", "title": "Not so many", "retry_after_s": 13}
    assert "again in 13 s" in last.refused.sentence


def test_what_cannot_be_counted_is_refused() -> None:
    machine = call(known=snapshot(rules=(limited(),)))
    gate(machine)
    (outcome,) = machine.on(m.CannotGoOn(Refused("store_unavailable")))
    assert isinstance(outcome, m.RecordOutcome)
    assert outcome.event.code == "store_unavailable"


@pytest.mark.parametrize("event", [m.IntentDurable(), m.Claimed(True), m.OutcomeDurable()])
def test_nothing_else_lets_a_call_through_the_gate(event: object) -> None:
    machine = call(known=snapshot(rules=(limited(),)))
    gate(machine)
    assert machine.on(event) == ()


def test_above_its_limit_a_rule_can_ask_for_an_approval() -> None:
    machine = call(known=snapshot(rules=(limited("require_approval"),)))
    gate(machine)
    (file,) = machine.on(m.LimitReached("few", 1))
    assert isinstance(file, m.FileApproval)
    (claim,) = machine.on(m.Filed(approval(file.ask, "approved")))
    assert isinstance(claim, m.ClaimApproval)
    assert kinds(machine.on(m.Claimed(True))) == ["Forward"]


def test_a_limit_is_taken_before_an_approval_is_used() -> None:
    rules = (limited(), Rule("ask", "Ask", "require_approval"))
    machine = call(known=snapshot(rules=rules))
    (file,) = machine.start()
    assert isinstance(file, m.FileApproval)
    machine.on(m.Filed(approval(file.ask, "approved")))
    (take,) = machine.on(m.IntentDurable())
    assert isinstance(take, m.TakeLimits)
    assert kinds(machine.on(m.LimitsTaken(take.takes))) == ["ClaimApproval"]
    assert kinds(machine.on(m.Claimed(True))) == ["Forward"]


def test_a_deny_needs_no_counting() -> None:
    machine = call(known=snapshot(rules=(limited(), Rule("no", "No", "deny"))))
    assert kinds(machine.start()) == ["RecordIntent", "RecordOutcome"]


@pytest.mark.parametrize(
    ("terms", "raw", "cost"),
    [
        ({}, b'{"structuredContent":{"usage":{"cost":0.25}}}', 250_000),
        ({}, b'{"structuredContent":{"usage":{"cost":-3}}}', 0),
        ({}, b'{"structuredContent":{"usage":{"cost":"much"}}}', 2 * MILLION),
        ({}, b'{"structuredContent":{"usage":{"cost":true}}}', 2 * MILLION),
        ({}, b'{"structuredContent":{"usage":{"cost":1e300}}}', 10**9 * MILLION),
        ({}, b'{"structuredContent":{"usage":{"cost":1e400}}}', 10**9 * MILLION),
        ({}, b'{"structuredContent":[]}', 2 * MILLION),
        ({"field": "content.0.cost"}, b'{"content":[{"cost":3}]}', 3 * MILLION),
    ],
)
def test_a_call_costs_what_its_result_says(terms: dict[str, Any], raw: bytes, cost: int) -> None:
    rule = limited(**{"kind": "cost", "cost": 2, "field": "structuredContent.usage.cost", **terms})
    machine = call(known=snapshot(rules=(rule,)))
    take = gate(machine)
    assert take.takes[0].amount == 0
    machine.on(m.LimitsTaken(take.takes))
    *charges, outcome = machine.on(Answered("result", raw))
    assert charges == ([m.Charge(take.takes[0], cost)] if cost else [])
    assert isinstance(outcome, m.RecordOutcome)
    assert outcome.event.cost == cost


def test_a_large_result_is_looked_at_for_its_cost() -> None:
    rule = limited(kind="cost", field="n")
    machine = call(known=snapshot(rules=(rule,)))
    machine.on(m.LimitsTaken(gate(machine).takes))
    assert machine.on(Piece(b'{"n":', False)) == ()
    assert machine.on(Piece(b"7}", False)) == ()
    charge, _ = machine.on(Ended())
    assert isinstance(charge, m.Charge)
    assert charge.amount == 7 * MILLION


PER = [
    (("person",), {"caller": msgspec.structs.replace(ANA, person="per_bo")}),
    (("agent",), {"caller": msgspec.structs.replace(ANA, agent="bot")}),
    (("client",), {"caller": msgspec.structs.replace(ANA, client="cursor")}),
]


@pytest.mark.parametrize(("per", "other"), PER)
def test_a_limit_counts_by_what_it_names_and_by_nothing_else(per: tuple[str, ...], other: dict[str, Any]) -> None:
    def key(per: tuple[str, ...], asked: m.Request) -> str:
        machine = call(asked, snapshot(rules=(limited(per=per),)))
        return gate(machine).takes[0].key

    usual, changed = request(), request(**other)
    assert key(per, usual) != key(per, changed)
    assert key((), usual) == key((), changed)
    assert key(per, usual) != key((), usual)


def test_a_key_says_nothing() -> None:
    machine = call(known=snapshot(rules=(limited(per=("person",)),)))
    assert json.dumps(ANA.person) not in gate(machine).takes[0].key
    assert limit.takes((Rule("r", "T", "deny"),), request(), machine.target, mac) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"kind": "concurrency", "most": 3}, "allows 3 of these calls at once"),
        ({"kind": "cost", "most": 2.5, "window_s": 60}, "allows 2.5 of costs in 60 s"),
    ],
)
def test_each_kind_of_limit_says_what_it_allows(terms: dict[str, Any], says: str) -> None:
    assert says in limit.reached(limited(**terms), 3).sentence
    own = msgspec.structs.replace(limited(**terms), message="Wait for the evening.")
    assert limit.reached(own, 3).sentence == "Wait for the evening."
    assert "no more of these calls" in limit.reached(Rule("r", "T", "deny"), 3).sentence
    assert limit.cost(Rule("r", "T", "deny"), b"{}") == 0


def test_a_limit_of_a_task_is_no_second_call() -> None:
    machine = call(known=snapshot(rules=(limited(),)))
    take = gate(machine)
    machine.on(m.LimitsTaken(take.takes))
    assert machine.on(m.LimitReached("few", 1)) == ()
    assert machine.on(m.LimitsTaken(take.takes)) == ()
