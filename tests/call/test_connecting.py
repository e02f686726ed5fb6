"""The machine while somebody connects an account, and where an upstream refuses a credential."""

import json
from typing import Any

import msgspec
import pytest

from callgate.call import model as m
from callgate.call.connecting import TICKET
from callgate.call.pipeline import DONE, Call
from callgate.errors import Refused
from callgate.model.rule import Match, Rule
from callgate.upstreams.exchange import Answered, Failed
from callgate.wire import eras
from tests.call.world import ANA, FILES, MAIL, call, kinds, request, snapshot

PERSONAL = msgspec.structs.replace(FILES, auth_mode="on_behalf_of")
KNOWN = snapshot(upstreams=(PERSONAL, MAIL))
PAGES = b'{"elicitation":{"url":{}}}'
LACKING = m.StartFailed(Refused("connection_required", "Your account at files is not connected yet."))
REFUSED = m.StartFailed(Refused("credential_refused", "It refused our credential.", {"challenge": "Bearer"}))


def sent(era: str = eras.MODERN, capabilities: bytes = PAGES, known: Any = KNOWN) -> Call:
    """A call that was forwarded."""
    machine = call(request(era=era, capabilities=capabilities), known)
    assert kinds(machine.start()) == ["RecordIntent"]
    assert kinds(machine.on(m.IntentDurable())) == ["Forward"]
    return machine


def ended(machine: Call, effects: m.Effects) -> tuple[str, str]:
    """The outcome on record, and the code that the client is told."""
    (record,) = [effect for effect in effects if isinstance(effect, m.RecordOutcome)]
    (last,) = machine.on(m.OutcomeDurable())
    assert machine.phase == DONE
    return record.event.outcome, last.refused.code if isinstance(last, m.Refuse) else "finished"


def test_a_handshake_client_is_shown_the_page_and_the_call_goes_on() -> None:
    machine = sent(eras.LEGACY)
    asked, waits = machine.on(LACKING)
    assert isinstance(asked, m.AskClient)
    assert json.loads(asked.requests[0].params)["mode"] == "url"
    assert kinds((waits,)) == ["AwaitConnection"]
    assert machine.on(m.InputsGiven({TICKET: b'{"result":{"action":"accept"}}'})) == ()
    assert kinds(machine.on(m.Connected(KNOWN, ANA))) == ["Forward"]
    assert ended(machine, machine.on(Answered("result", b'{"content":[]}'))) == ("result", "finished")


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_who_will_not_go_there_gets_the_link_as_words(action: str) -> None:
    machine = sent(eras.LEGACY)
    machine.on(LACKING)
    effects = machine.on(m.InputsGiven({TICKET: b'{"result":{"action":"%b"}}' % action.encode()}))
    assert ended(machine, effects) == ("refused", "connection_required")
    assert machine.on(m.Connected(KNOWN, ANA)) == ()


def test_a_client_without_pages_gets_the_link_at_once() -> None:
    machine = sent(capabilities=b'{"elicitation":{"form":{}}}')
    assert ended(machine, machine.on(LACKING)) == ("refused", "connection_required")


def test_a_modern_client_is_sent_to_the_page_and_comes_back() -> None:
    machine = sent()
    (record,) = machine.on(LACKING)
    assert isinstance(record, m.RecordOutcome)
    assert (record.event.outcome, record.event.code) == ("input_required", "connection_required")
    (finish,) = machine.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    asked = json.loads(finish.raw)
    again = {"requestState": asked["requestState"], "inputResponses": {TICKET: {"action": "accept"}}}
    later = call(request(capabilities=PAGES, params=again), KNOWN)
    assert kinds(later.start()) == ["RecordIntent"]
    assert kinds(later.on(m.IntentDurable())) == ["Forward"]
    assert kinds(later.on(LACKING)) == ["AwaitConnection"], "who went there is waited for"
    assert kinds(later.on(m.HoldOver())) == ["RecordOutcome"]


def test_a_handshake_client_that_waited_long_enough_gets_the_link() -> None:
    machine = sent(eras.LEGACY)
    machine.on(LACKING)
    assert ended(machine, machine.on(m.HoldOver())) == ("refused", "connection_required")


@pytest.mark.parametrize(("effect", "code"), [("deny", "denied_by_rule"), ("require_approval", "approval_pending")])
def test_rules_are_asked_again_when_the_account_is_there(effect: Any, code: str) -> None:
    machine = sent(eras.LEGACY)
    machine.on(LACKING)
    rule = Rule("late", "Came meanwhile", effect, Match(tool=("read",)))
    later = snapshot(rules=(rule,), upstreams=(PERSONAL, MAIL))
    assert ended(machine, machine.on(m.Connected(later, ANA))) == ("refused", code)


def test_a_refused_credential_is_replaced_once() -> None:
    machine = sent()
    (again,) = machine.on(REFUSED)
    assert isinstance(again, m.Forward)
    assert again.challenge == "Bearer"
    assert ended(machine, machine.on(Failed("credential_refused", "It refused.", False, "Bearer"))) == (
        "upstream_failed", "credential_refused",
    )  # fmt: skip


def test_where_no_credential_is_sent_none_can_be_replaced() -> None:
    machine = sent(known=snapshot())
    assert ended(machine, machine.on(REFUSED))[1] == "upstream_unavailable"


def test_what_comes_after_the_end_changes_nothing() -> None:
    machine = sent()
    ended(machine, machine.on(m.StartFailed(Refused("upstream_unavailable"))))
    for event in (LACKING, REFUSED, m.Connected(KNOWN, ANA), m.HoldOver()):
        assert machine.on(event) == ()
