"""The machine while it waits for reviewers: what lets a call go on, what ends it, and that nothing else does."""

import json
from typing import Any

import msgspec
import pytest

from callgate.call import model as m
from callgate.call.pipeline import DONE, Call
from callgate.errors import Refused
from callgate.model.approval import Approval, Ask
from callgate.model.definition import DRIFT_DETECTED
from callgate.model.rule import Limit, Match, Rule
from callgate.upstreams.exchange import Answered
from callgate.wire import eras
from tests.call.world import ANA, FILES, READ, call, definition, kinds, request, snapshot

RULE = Rule("ask", "Ask first", "require_approval", Match(tool=("read",)))
RULED = snapshot(rules=(RULE,))


def approval(asked: Ask, state: str = "pending", **more: Any) -> Approval:
    names = {name for name in Ask.__struct_fields__ if name != "arguments"}
    plain = {name: getattr(asked, name) for name in names}
    return Approval(id="apr_1", state=state, bound=asked.bound, created=1.0, expires=9e9, **plain, **more)


def filed(machine: Call, state: str = "pending") -> tuple[Approval, m.Effects]:
    """Start a call up to what follows the record of its intent."""
    (file,) = machine.start()
    assert isinstance(file, m.FileApproval)
    found = approval(file.ask, state)
    (intent,) = machine.on(m.Filed(found))
    assert isinstance(intent, m.RecordIntent)
    assert (intent.event.decision, intent.event.approval, intent.event.rule) == ("require_approval", "apr_1", "ask")
    assert intent.event.args_hash == file.ask.args_hash != ""
    return found, machine.on(m.IntentDurable())


def decided(found: Approval, state: str, known: Any = RULED, caller: Any = ANA) -> m.Decided:
    return m.Decided(msgspec.structs.replace(found, state=state), known, caller)


def test_a_call_waits_and_goes_on_by_one_claim() -> None:
    machine = call(known=RULED)
    found, effects = filed(machine)
    assert effects == (m.AwaitApproval(found),)
    assert machine.on(decided(found, "pending")) == ()
    (claim,) = machine.on(decided(found, "approved"))
    assert isinstance(claim, m.ClaimApproval)
    assert kinds(machine.on(m.Claimed(True))) == ["Forward"]
    assert kinds(machine.on(Answered("result", b'{"content":[]}'))) == ["RecordOutcome"]
    assert kinds(machine.on(m.OutcomeDurable())) == ["Finish"]


def test_an_approval_from_before_is_used_at_once() -> None:
    machine = call(known=RULED)
    _, effects = filed(machine, "approved")
    assert kinds(effects) == ["ClaimApproval"]


def test_a_claim_that_another_call_won_asks_anew() -> None:
    machine = call(known=RULED)
    _, _ = filed(machine, "approved")
    (again,) = machine.on(m.Claimed(False))
    assert isinstance(again, m.FileApproval)
    second = msgspec.structs.replace(approval(again.ask), id="apr_2")
    assert machine.on(m.Filed(second)) == (m.AwaitApproval(second),)


@pytest.mark.parametrize(("state", "code"), [("denied", "approval_denied"), ("expired", "approval_expired")])
def test_what_is_not_approved_ends(state: str, code: str) -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    (outcome,) = machine.on(decided(found, state))
    assert isinstance(outcome, m.RecordOutcome)
    assert (outcome.event.outcome, outcome.event.code) == ("refused", code)
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.data == {"approval": "apr_1", "rule": "ask", "title": "Ask first"}


def test_a_tool_that_drifted_meanwhile_is_not_called() -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    drifted = msgspec.structs.replace(READ, status=DRIFT_DETECTED, full="f" * 64)
    release, outcome = machine.on(decided(found, "approved", snapshot(drifted, rules=(RULE,))))
    assert isinstance(release, m.ReleaseApproval)
    assert release.state == "void"
    assert isinstance(outcome, m.RecordOutcome)
    assert outcome.event.code == "tool_not_trusted"


def test_a_tool_that_was_approved_anew_meanwhile_needs_a_new_approval() -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    other = msgspec.structs.replace(READ, full="f" * 64, approved_full="f" * 64)
    release, file = machine.on(decided(found, "approved", snapshot(other, rules=(RULE,))))
    assert isinstance(release, m.ReleaseApproval)
    assert isinstance(file, m.FileApproval)
    assert file.ask.bound != found.bound


def test_a_rule_that_was_removed_meanwhile_lets_go() -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    release, forward = machine.on(decided(found, "pending", snapshot()))
    assert isinstance(release, m.ReleaseApproval)
    assert isinstance(forward, m.Forward)


def test_a_rule_that_was_changed_meanwhile_wants_a_new_approval() -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    changed = snapshot(rules=(msgspec.structs.replace(RULE, revision=9),))
    assert kinds(machine.on(decided(found, "approved", changed))) == ["ReleaseApproval", "FileApproval"]


def test_a_deny_that_came_meanwhile_refuses_what_was_approved() -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    denied = snapshot(rules=(RULE, Rule("no", "No", "deny")))
    assert kinds(machine.on(decided(found, "approved", denied))) == ["ReleaseApproval", "RecordOutcome"]


def test_a_person_who_left_meanwhile_is_not_served() -> None:
    machine = call(known=RULED)
    filed(machine)
    release, outcome = machine.on(m.CannotGoOn(Refused("person_inactive")))
    assert isinstance(release, m.ReleaseApproval)
    assert isinstance(outcome, m.RecordOutcome)
    assert outcome.event.code == "person_inactive"


def test_a_person_who_changed_teams_is_judged_as_they_are() -> None:
    rule = msgspec.structs.replace(RULE, match=Match(unless=Match(team=("sre",))))
    known = snapshot(rules=(rule,))
    machine = call(known=known)
    found, _ = filed(machine)
    now = msgspec.structs.replace(ANA, teams=("sre",))
    assert kinds(machine.on(decided(found, "pending", known, now))) == ["ReleaseApproval", "Forward"]


def test_a_cancel_gives_the_approval_back() -> None:
    machine = call(known=RULED)
    filed(machine)
    release, outcome = machine.on(m.Cancelled())
    assert isinstance(release, m.ReleaseApproval)
    assert release.state == "cancelled"
    assert isinstance(outcome, m.RecordOutcome)
    assert outcome.event.outcome == "cancelled"


def test_a_client_that_is_lost_leaves_the_approval_for_its_repeat() -> None:
    machine = call(request(era=eras.LEGACY), RULED)
    filed(machine)
    assert kinds(machine.on(m.PeerLost())) == ["RecordOutcome"]


@pytest.mark.parametrize("event", [m.IntentDurable(), m.StartFailed(Refused("internal")), m.InputsGiven({"1": b""})])
def test_nothing_but_a_claim_lets_a_parked_call_go(event: object) -> None:
    machine = call(known=RULED)
    filed(machine)
    assert machine.on(event) == ()


def test_what_cannot_be_filed_is_refused_on_record() -> None:
    machine = call(known=RULED)
    machine.start()
    intent, outcome = machine.on(m.CannotGoOn(Refused("store_unavailable")))
    assert isinstance(intent, m.RecordIntent)
    assert isinstance(outcome, m.RecordOutcome)
    assert outcome.event.code == "store_unavailable"
    machine.on(m.OutcomeDurable())
    assert machine.phase == DONE


def leg_of(machine: Call) -> dict[str, Any]:
    """The result that sends a modern client on another round."""
    (outcome,) = machine.on(m.HoldOver())
    assert isinstance(outcome, m.RecordOutcome)
    assert (outcome.event.outcome, outcome.event.code) == ("input_required", "approval_pending")
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Finish)
    result: dict[str, Any] = json.loads(last.raw)
    return result


def test_a_modern_client_goes_round_nine_times_and_then_is_told() -> None:
    params: dict[str, Any] = {}
    for _ in range(8):
        machine = call(request(params=params), RULED)
        filed(machine)
        leg = leg_of(machine)
        assert leg["resultType"] == "input_required"
        assert "inputRequests" not in leg
        params = {"requestState": leg["requestState"], "inputResponses": {}}
    machine = call(request(params=params), RULED)
    filed(machine)
    machine.on(m.HoldOver())
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.code == "approval_pending"
    assert "apr_1" in last.refused.sentence


def test_a_leg_goes_on_where_the_one_before_ended_and_forwards_what_was_asked_first() -> None:
    machine = call(request(params={"arguments": {"path": "a"}}), RULED)
    first, _ = filed(machine)
    leg = leg_of(machine)
    params = {"arguments": {"path": "a"}, "requestState": leg["requestState"], "inputResponses": {}}
    later = call(request(params=params), RULED)
    second, effects = filed(later, "approved")
    assert second.bound == first.bound
    assert kinds(effects) == ["ClaimApproval"]
    (forward,) = later.on(m.Claimed(True))
    assert isinstance(forward, m.Forward)
    assert json.loads(forward.target.params) == {"name": "read", "arguments": {"path": "a"}}


def test_a_handshake_era_client_is_told_to_call_again() -> None:
    machine = call(request(era=eras.LEGACY), RULED)
    filed(machine)
    machine.on(m.HoldOver())
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert "same arguments" in last.refused.sentence


def test_progress_rises_and_without_a_token_there_is_a_comment() -> None:
    quiet = call(known=RULED)
    filed(quiet)
    assert quiet.on(m.StillWaiting(1)) == (m.KeepAlive(),)
    machine = call(request(progress_token=b"7"), RULED)
    filed(machine)
    said = []
    for count in (1, 2):
        (relay,) = machine.on(m.StillWaiting(count))
        assert isinstance(relay, m.Relay)
        params = json.loads(relay.params)
        assert params["progressToken"] == 7
        said.append(params["progress"])
    assert 0 < said[0] < said[1] < 1


@pytest.mark.parametrize("order", ['{"a":1,"b":[2]}', '{ "b": [2],\n"a": 1 }'])
def test_the_same_arguments_in_another_spelling_are_the_same_call(order: str) -> None:
    machine = call(request(params={"arguments": msgspec.Raw(order.encode())}), RULED)
    usual = call(request(params={"arguments": {"a": 1, "b": [2]}}), RULED)
    assert filed(machine)[0].bound == filed(usual)[0].bound


@pytest.mark.parametrize(
    "other",
    [
        request(params={"arguments": {"a": 2}}),
        request(params={"arguments": {"a": 1}}, caller=msgspec.structs.replace(ANA, person="per_bo")),
        request(params={"arguments": {"a": 1}}, caller=msgspec.structs.replace(ANA, agent="bot")),
        request(params={"arguments": {"a": 1}}, caller=msgspec.structs.replace(ANA, tenant="other")),
        request(name="files__write", params={"name": "files__write", "arguments": {"a": 1}}),
    ],
)
def test_an_approval_is_good_for_nothing_else(other: m.Request) -> None:
    every = (msgspec.structs.replace(RULE, match=Match()),)
    known = snapshot(definition(FILES, "write"), rules=every)
    (mine,) = call(request(params={"arguments": {"a": 1}}), known).start()
    (theirs,) = call(other, known).start()
    assert isinstance(mine, m.FileApproval)
    assert isinstance(theirs, m.FileApproval)
    assert mine.ask.bound != theirs.ask.bound


@pytest.mark.parametrize(
    "event",
    [
        m.Filed(approval(call(known=RULED).start()[0].ask)),  # type: ignore[union-attr]
        m.Claimed(True),
        m.StillWaiting(1),
        m.HoldOver(),
        m.CannotGoOn(Refused("internal")),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_comes_too_late_or_too_early_changes_nothing(event: object) -> None:
    machine = call()
    machine.start()
    assert machine.on(event) == ()
    machine.on(m.IntentDurable())
    assert machine.on(event) == ()
    assert machine.phase == "forwarded"


def test_an_approval_that_was_withdrawn_is_asked_for_anew() -> None:
    machine = call(known=RULED)
    found, _ = filed(machine)
    assert kinds(machine.on(decided(found, "cancelled"))) == ["FileApproval"]


def test_a_cancel_before_it_is_filed_is_on_record() -> None:
    machine = call(known=RULED)
    machine.start()
    assert kinds(machine.on(m.Cancelled())) == ["RecordIntent", "RecordOutcome"]


def test_a_gateway_that_gives_up_leaves_no_parked_call_open_on_the_record() -> None:
    machine = call(known=RULED)
    filed(machine)
    left = machine.given_up()
    assert left is not None
    assert left.event.outcome == "unknown"


def test_an_approved_call_goes_on_in_legs_once_each_and_is_counted_once() -> None:
    rules = (RULE, Rule("few", "Few", "deny", limit=Limit("rate", 5)))
    known = snapshot(rules=rules)
    machine = call(known=known)
    (file,) = machine.start()
    assert isinstance(file, m.FileApproval)
    machine.on(m.Filed(approval(file.ask, "approved")))
    (take,) = machine.on(m.IntentDurable())
    assert isinstance(take, m.TakeLimits)
    machine.on(m.LimitsTaken(take.takes))
    machine.on(m.Claimed(True))
    machine.on(Answered("result", b'{"resultType":"input_required","inputRequests":{},"requestState":"theirs"}'))
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Finish)
    params = {"requestState": json.loads(last.raw)["requestState"], "inputResponses": {}}

    def leg() -> Call:
        """The same state, brought once more."""
        found = call(request(params=params), known)
        assert kinds(found.start()) == ["RecordIntent"]
        (claim,) = found.on(m.IntentDurable())
        assert isinstance(claim, m.ClaimLeg)
        return found

    first, again = leg(), leg()
    (forward,) = first.on(m.Claimed(True))
    assert isinstance(forward, m.Forward)
    assert json.loads(forward.target.params)["requestState"] == "theirs"
    assert kinds(again.on(m.Claimed(False))) == ["FileApproval"]
