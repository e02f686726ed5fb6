"""Rules that redact, through the machine: on the way there, on the way back, in pieces, in errors and in notices."""

import json

import msgspec
import pytest

from callgate.call import model as m
from callgate.call.pipeline import Call
from callgate.dlp import walk
from callgate.model.rule import Match, Redact, Rule
from callgate.upstreams.exchange import Answered, Ended, Notice, Piece
from callgate.wire import eras
from tests.call.world import PLACE, call, request, snapshot

KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"


def redacting(phase: str = "both", *more: Rule, **spec: object) -> Call:
    rule = Rule("hide", "Hide", "redact", Match(tool=("read",)), redact=Redact(phase, **spec))  # type: ignore[arg-type]
    asked = request(params={"arguments": {"q": f"use {KEY}", "n": 1}}, progress_token=b"1", era=eras.LEGACY)
    return call(asked, snapshot(rules=(rule, *more)))


def sent(machine: Call) -> dict[str, object]:
    (intent,) = machine.start()
    assert isinstance(intent, m.RecordIntent)
    assert intent.event.decision == "redact"
    (forward,) = machine.on(m.IntentDurable())
    assert isinstance(forward, m.Forward)
    assert forward.target.params.count(b'"q"') == 1
    return dict(json.loads(forward.target.params)["arguments"])


def finished(machine: Call) -> bytes:
    last = machine.on(m.OutcomeDurable())[-1]
    assert isinstance(last, m.Finish)
    return last.raw


def result(**members: object) -> bytes:
    return json.dumps({"content": [{"type": "text", "text": f"it is {KEY}"}], **members}).encode()


@pytest.mark.parametrize(
    ("phase", "there", "back"), [("call", False, True), ("result", True, False), ("both", False, False)]
)
def test_each_way_is_redacted_as_the_rule_says(phase: str, there: bool, back: bool) -> None:
    machine = redacting(phase)
    arguments = sent(machine)
    assert (KEY in str(arguments["q"]), arguments["n"]) == (there, 1)
    machine.on(Answered("result", result()))
    assert (KEY in finished(machine).decode()) is back


def test_text_and_structured_content_stay_the_same_value() -> None:
    machine = redacting("result", members=("token", "age"))
    sent(machine)
    structured = {"token": "abc", "age": 41, "fine": [1.0, 9007199254740993]}
    text = [{"type": "text", "text": json.dumps(structured)}]
    machine.on(Answered("result", json.dumps({"content": text, "structuredContent": structured}).encode()))
    shown = json.loads(finished(machine))
    clean = {"token": "[REDACTED:named_member]", "age": 0, "fine": [1.0, 9007199254740993]}
    assert shown["structuredContent"] == json.loads(shown["content"][0]["text"]) == clean


def test_a_member_given_twice_does_not_pass_beside_the_search() -> None:
    machine = redacting()
    twice = msgspec.Raw(b'{"q":"' + KEY.encode() + b'","q":"fine"}')
    machine.request = msgspec.structs.replace(machine.request, params={**machine.request.params, "arguments": twice})
    assert sent(machine) == {"q": "fine"}
    machine.on(Answered("result", b'{"content":[],"a":"' + KEY.encode() + b'","a":1}'))
    assert KEY.encode() not in finished(machine)


def test_a_large_result_is_gathered_before_anything_is_let_go() -> None:
    machine = redacting("result")
    sent(machine)
    whole = result(more="x" * 5000)
    for start in range(0, len(whole), 7):
        assert machine.on(Piece(whole[start : start + 7], special=False)) == ()
    machine.on(Ended())
    assert KEY not in finished(machine).decode()


def test_errors_and_notices_are_redacted_too() -> None:
    machine = redacting("result")
    sent(machine)
    params = json.dumps({"level": "info", "data": f"got {KEY}"}).encode()
    (relay,) = machine.on(Notice("notifications/message", params))
    assert isinstance(relay, m.Relay)
    assert KEY not in relay.params.decode()
    machine.on(Answered("error", json.dumps({"code": 1, "message": f"no {KEY}"}).encode()))
    assert KEY not in finished(machine).decode()


def test_every_rule_that_redacts_applies_whatever_names_the_decision() -> None:
    second = Rule("also", "Also", "redact", redact=Redact("call", members=("n",)))
    arguments = sent(redacting("both", second))
    assert arguments == {"q": "use [REDACTED:github_token]", "n": 0}


def test_what_cannot_be_searched_is_refused_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_DEPTH", 3)
    deep = msgspec.Raw(b'{"q":[[[[[1]]]]]}')
    machine = redacting()
    machine.request = msgspec.structs.replace(machine.request, params={**machine.request.params, "arguments": deep})
    machine.start()
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.code == "rule_failed"
    machine = redacting("result")
    sent(machine)
    effects = machine.on(Answered("result", b'{"content":[[[[[[1]]]]]]}'))
    assert any(isinstance(one, m.RecordOutcome) and one.event.code == "rule_failed" for one in effects)
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)


def test_a_retry_is_compared_with_what_the_client_sent() -> None:
    """The state of a round is bound to the arguments as they came, not as they were forwarded."""
    machine = redacting()
    before = machine.request
    sent(machine)
    assert machine.request == before
    assert PLACE is machine._place
