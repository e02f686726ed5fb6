"""The machine as a conversation: events in, effects out. The picture in the module's docstring, line by line."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate import clock
from callgate.call import gathering, inspect, pipeline
from callgate.call import model as m
from callgate.call.model import InputsGiven, Request
from callgate.errors import Refused
from callgate.model.rule import Match, Rule
from callgate.upstreams.exchange import Answered, Ask, Ended, Failed, Notice, Piece
from callgate.wire import eras, jsonrpc
from tests.call.world import FILES as FILES_UPSTREAM
from tests.call.world import call, definition, kinds, request, snapshot

FINAL = (m.Finish, m.Refuse, m.Abort)


def forwarded(asked: Request | None = None) -> pipeline.Call:
    """A call whose upstream is at work."""
    machine = call(asked)
    assert kinds(machine.start()) == ["RecordIntent"]
    assert kinds(machine.on(m.IntentDurable())) == ["Forward"]
    return machine


def outcome_of(effects: m.Effects) -> str:
    return next(effect.event.outcome for effect in effects if isinstance(effect, m.RecordOutcome))


def test_a_large_result_streams_and_its_last_bytes_wait_for_the_record() -> None:
    machine = forwarded()
    pieces = [b"%04d" % number + b"x" * 65532 for number in range(80)]  # 5 MB
    written = b""
    for piece in pieces:
        for effect in machine.on(Piece(piece)):
            assert isinstance(effect, m.Write)
            written += effect.data
    assert written == b"".join(pieces[:-1])
    assert kinds(machine.on(Ended())) == ["RecordOutcome"]
    (finish,) = machine.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    assert written + finish.raw == b"".join(pieces)


@pytest.mark.parametrize("before", [0, 1])
def test_a_large_question_is_gathered_and_its_state_is_sealed(before: int) -> None:
    machine = forwarded()
    value = jsonrpc.encoded(
        {
            "inputRequests": {"a": {"method": "elicitation/create", "params": {"message": "m" * 400_000}}},
            "resultType": "input_required",
            "requestState": "theirs",
        }
    )
    pieces = [value[:1], value[1:300_000], value[300_000:]] if before else [value[:300_000], value[300_000:]]
    for number, piece in enumerate(pieces):
        assert machine.on(Piece(piece, number >= before)) == ()
    assert outcome_of(machine.on(Ended())) == "input_required"
    (finish,) = machine.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    result = json.loads(finish.raw)
    assert result["requestState"] != "theirs"
    assert b"theirs" not in finish.raw
    assert len(result["inputRequests"]["a"]["params"]["message"]) == 400_000


def test_a_question_after_a_large_part_of_a_result_breaks_it_off_and_is_recorded() -> None:
    machine = forwarded()
    assert machine.on(Piece(b"{" + b" " * 10)) == ()
    assert kinds(machine.on(Piece(b" " * 10))) == ["Write"]
    effects = machine.on(Piece(b'"requestState":"theirs"}', True))
    assert kinds(effects) == ["CancelUpstream", "RecordOutcome"]
    assert outcome_of(effects) == "upstream_failed"
    assert kinds(machine.on(m.OutcomeDurable())) == ["Abort"]


def test_a_question_without_end_is_refused_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_WHOLE", 100)
    machine = forwarded()
    assert machine.on(Piece(b"x" * 60, True)) == ()
    assert outcome_of(machine.on(Piece(b"x" * 60))) == "upstream_failed"
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.code == "upstream_too_large"


def test_a_cancel_stops_the_upstream_and_is_recorded() -> None:
    machine = forwarded()
    effects = machine.on(m.Cancelled())
    assert kinds(effects) == ["CancelUpstream", "RecordOutcome"]
    assert outcome_of(effects) == "cancelled"
    assert machine.on(Answered("result", b"{}")) == ()
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)


def test_a_cancel_before_the_record_never_reaches_the_upstream() -> None:
    machine = call()
    machine.start()
    assert kinds(machine.on(m.Cancelled())) == ["RecordOutcome"]
    assert machine.on(m.IntentDurable()) == ()


def test_the_usual_call_is_recorded_before_and_after() -> None:
    machine = forwarded()
    effects = machine.on(Answered("result", b'{"content":[]}'))
    assert kinds(effects) == ["RecordOutcome"]
    assert outcome_of(effects) == "result"
    assert machine.on(m.OutcomeDurable()) == (m.Finish("result", b'{"content":[]}'),)
    assert machine.on(m.OutcomeDurable()) == ()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answered("result", b'{"content":[],"isError":true}'), "tool_error"),
        (Answered("error", b'{"code":-1,"message":"no"}'), "rpc_error"),
        (Answered("result", b"[]"), "upstream_failed"),
        (Answered("result", b'{"isError":1}'), "result"),
        (Answered("error", b'"no"'), "upstream_failed"),
        (Failed("upstream_timeout", "late"), "upstream_failed"),
    ],
)
def test_each_kind_of_answer_is_recorded_as_what_it_is(answer: object, outcome: str) -> None:
    machine = forwarded()
    assert outcome_of(machine.on(answer)) == outcome
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, FINAL)


def test_a_start_that_fails_is_a_refusal_on_record() -> None:
    machine = forwarded()
    effects = machine.on(m.StartFailed(Refused("upstream_unavailable")))
    assert outcome_of(effects) == "upstream_failed"
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert machine.on(m.StartFailed(Refused("internal"))) == ()


def test_an_upstream_that_stops_in_the_middle_breaks_the_answer_off() -> None:
    machine = forwarded()
    machine.on(Piece(b"a" * 10))
    machine.on(Piece(b"b" * 10))
    machine.on(Failed("upstream_broke_off"))
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Abort)


@pytest.mark.parametrize("status", ["pending_review", "drift_detected", "blocked", "removed"])
def test_a_tool_that_is_not_trusted_is_refused_and_recorded(status: str) -> None:
    tool = definition(FILES_UPSTREAM, "odd", status=status)
    machine = call(request(name="files__odd"), snapshot(tool))
    effects = machine.start()
    assert kinds(effects) == ["RecordIntent", "RecordOutcome"]
    assert outcome_of(effects) == "refused"
    assert isinstance(effects[0], m.RecordIntent)
    assert (effects[0].event.definition, effects[0].event.decision) == (tool.id, "deny")
    assert machine.on(m.IntentDurable()) == ()
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.code == "tool_not_trusted"


def test_a_known_tool_is_on_record_by_its_id_even_when_it_is_refused_for_another_reason() -> None:
    caller = msgspec.structs.replace(request().caller, agent="bot", allowed_upstreams=("mail*",))
    for asked in (request(params={"requestState": "forged"}), request(caller=caller)):
        (intent, _) = call(asked).start()
        assert isinstance(intent, m.RecordIntent)
        assert (intent.event.definition, intent.event.unknown_name) == ("def_files_tool_read", "")


def test_a_deny_rule_stops_a_trusted_tool_and_names_itself() -> None:
    rule = Rule(id="no-reads", title="No reads", effect="deny", match=Match(tool=("read",)))
    machine = call(known=snapshot(rules=(rule,)))
    effects = machine.start()
    intent = effects[0]
    assert isinstance(intent, m.RecordIntent)
    assert (intent.event.decision, intent.event.rule, intent.event.ruleset) == ("deny", "no-reads", 7)
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert "No reads" in last.refused.sentence


def test_an_exception_in_a_stage_is_a_recorded_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "resolve", explode)
    machine = call()
    assert kinds(machine.start()) == ["RecordIntent", "RecordOutcome"]
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.code == "internal"


def test_an_exception_after_forwarding_stops_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError

    machine = forwarded()
    monkeypatch.setattr(inspect, "result_outcome", explode)
    assert kinds(machine.on(Answered("result", b"{}"))) == ["CancelUpstream", "RecordOutcome"]


@pytest.mark.parametrize("phase", ["recording", "forwarded", "streaming", "closing"])
def test_what_is_not_on_record_is_not_let_through(phase: str) -> None:
    machine = call()
    machine.start()
    if phase != "recording":
        machine.on(m.IntentDurable())
    if phase == "streaming":
        machine.on(Piece(b"x"))
        machine.on(Piece(b"y"))
    if phase == "closing":
        machine.on(Answered("result", b"{}"))
    effects = machine.on(m.RecordFailed())
    assert isinstance(effects[-1], m.Abort if phase == "streaming" else m.Refuse)
    assert machine.on(m.OutcomeDurable()) == ()


@pytest.mark.parametrize(
    ("events", "recorded"),
    [([], True), ([m.IntentDurable()], True), ([m.IntentDurable(), Answered("result", b"{}")], False)],
)
def test_a_driver_that_cannot_go_on_leaves_no_call_open(events: list[object], recorded: bool) -> None:
    machine = call()
    machine.start()
    for event in events:
        machine.on(event)
    left = machine.given_up()
    assert (left is not None and left.event.outcome == "unknown") is recorded
    assert machine.given_up() is None
    assert machine.on(m.OutcomeDurable()) == ()


def test_progress_comes_back_under_the_clients_own_token() -> None:
    machine = forwarded(request(progress_token=b'"mine"'))
    raw = jsonrpc.notification("notifications/progress", b'{"progressToken":5,"progress":1,"x":2}')
    (relay,) = machine.on(Notice("notifications/progress", raw))
    assert isinstance(relay, m.Relay)
    assert json.loads(relay.params) == {"progressToken": "mine", "progress": 1, "x": 2}


def test_notices_after_the_end_are_dropped() -> None:
    machine = forwarded(request(progress_token=b"1"))
    machine.on(Answered("result", b"{}"))
    raw = jsonrpc.notification("notifications/progress", b'{"progressToken":5,"progress":1}')
    assert machine.on(Notice("notifications/progress", raw)) == ()
    assert machine.on(Piece(b"x")) == ()
    assert machine.on(Ended()) == ()
    assert machine.on(Failed("upstream_timeout")) == ()
    assert machine.on(Ask(b"1", "roots/list", b"")) == ()
    assert machine.on(m.Cancelled()) == ()


# -- questions -------------------------------------------------------------------------------------------------------


def ask(machine: pipeline.Call, id_: bytes, method: str = "roots/list") -> m.InputRequest:
    """The question that reaches a handshake-era client."""
    (asked,) = machine.on(Ask(id_, method, b""))
    assert isinstance(asked, m.AskClient)
    (question,) = asked.requests
    return question


def test_a_live_question_goes_to_a_handshake_client_and_its_answer_back() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    question = ask(machine, b"7")
    assert (question.method, question.params) == ("roots/list", b"{}")
    replies = {question.key: b'{"result":{"roots":[]}}'}
    assert machine.on(InputsGiven(replies)) == (m.AnswerUpstream(b"7", b'{"result":{"roots":[]}}'),)
    assert machine.on(InputsGiven(replies)) == ()


def test_questions_put_at_the_same_time_get_their_own_answers_in_any_order() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    first, second = ask(machine, b"7"), ask(machine, b"8", "elicitation/create")
    assert first.key != second.key
    assert machine.on(InputsGiven({second.key: b'{"result":2}'})) == (m.AnswerUpstream(b"8", b'{"result":2}'),)
    assert machine.on(InputsGiven({first.key: b'{"result":1}'})) == (m.AnswerUpstream(b"7", b'{"result":1}'),)


def test_a_second_answer_is_not_taken_for_the_answer_to_the_next_question() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    first = ask(machine, b"7")
    machine.on(InputsGiven({first.key: b'{"result":1}'}))
    ask(machine, b"8")
    assert machine.on(InputsGiven({first.key: b'{"result":1}'})) == ()


@pytest.mark.parametrize("era", [eras.MODERN, eras.LEGACY])
def test_a_client_is_not_asked_for_what_it_did_not_declare(era: str) -> None:
    machine = forwarded(request(era=era, capabilities=b'{"roots":{}}'))
    (answer,) = machine.on(Ask(b"7", "sampling/createMessage", b"{}"))
    assert isinstance(answer, m.AnswerUpstream)
    assert json.loads(answer.reply)["error"]["code"] == -32601
    raw = b'{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage"}}}'
    assert outcome_of(machine.on(Answered("result", raw))) == "upstream_failed"


def test_a_question_of_an_unknown_kind_is_a_handshake_clients_to_judge() -> None:
    assert ask(forwarded(request(era=eras.LEGACY)), b"7", "odd/question").method == "odd/question"
    (answer,) = forwarded().on(Ask(b"7", "odd/question", b"{}"))
    assert isinstance(answer, m.AnswerUpstream)


def test_a_lost_peer_ends_a_call_only_while_it_is_being_asked() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    assert machine.on(m.PeerLost()) == ()
    machine.on(Ask(b"7", "roots/list", b""))
    assert outcome_of(machine.on(m.PeerLost())) == "abandoned"


def suspended(params: bytes = b'{"message":"sure?"}', method: str = "elicitation/create") -> dict[str, Any]:
    """The result that asks a modern client."""
    machine = forwarded()
    effects = machine.on(Ask(b'"a"', method, params))
    assert kinds(effects) == ["Suspend", "RecordOutcome"]
    assert outcome_of(effects) == "input_required"
    (finish,) = machine.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    result: dict[str, Any] = json.loads(finish.raw)
    assert result["resultType"] == "input_required"
    return result


def retry(asked: dict[str, Any], **answers: object) -> pipeline.Call:
    return call(request(id="cal_2", params={"requestState": asked["requestState"], "inputResponses": answers}))


def test_a_live_question_suspends_the_call_of_a_modern_client_and_a_retry_resumes_it() -> None:
    result = suspended()
    (key,) = result["inputRequests"]
    assert result["inputRequests"][key]["method"] == "elicitation/create"
    again = retry(result, **{key: {"action": "accept", "content": {}}})
    (intent,) = again.start()
    assert isinstance(intent, m.RecordIntent)
    assert intent.event.continues == "cal_1"
    (resume,) = again.on(m.IntentDurable())
    assert isinstance(resume, m.Resume)
    assert (resume.waiting.exchange, resume.waiting.ask_id, resume.waiting.replica) == ("cal_1", '"a"', "rep_here")
    assert json.loads(resume.reply) == {"result": {"action": "accept", "content": {}}}


def test_a_retry_without_the_answer_is_asked_again_and_disturbs_nothing() -> None:
    result = suspended()
    again = retry(result, other={"action": "accept"})
    effects = again.start()
    assert kinds(effects) == ["RecordIntent", "RecordOutcome"]
    assert outcome_of(effects) == "input_required"
    assert again.on(m.IntentDurable()) == ()
    (finish,) = again.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    assert json.loads(finish.raw) == result


def test_a_long_question_is_not_put_twice_but_answered_with_an_error() -> None:
    again = retry(suspended(jsonrpc.encoded({"message": "x" * 5000})))
    again.start()
    (resume,) = again.on(m.IntentDurable())
    assert isinstance(resume, m.Resume)
    assert json.loads(resume.reply).keys() == {"error"}


def test_arguments_without_a_canonical_form_have_to_come_back_as_they_were() -> None:
    odd = {"arguments": msgspec.Raw(b'{"a":1,"a":2}')}
    asked = request()
    machine = forwarded(msgspec.structs.replace(asked, params={**asked.params, **odd}))
    machine.on(Ask(b"7", "roots/list", b""))
    (finish,) = machine.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    state = {"requestState": jsonrpc.members(finish.raw)["requestState"]}
    for arguments, outcome in ((b'{"a":1,"a":2}', "input_required"), (b'{"a":2}', "refused")):
        params = {**asked.params, **state, "arguments": msgspec.Raw(arguments)}
        again = call(msgspec.structs.replace(asked, params=params))
        assert outcome_of(again.start()) == outcome


def modern_state(upstream_state: str = "theirs") -> str:
    machine = forwarded()
    raw = jsonrpc.encoded({"resultType": "input_required", "requestState": upstream_state, "inputRequests": {}})
    assert outcome_of(machine.on(Answered("result", raw))) == "input_required"
    (finish,) = machine.on(m.OutcomeDurable())
    assert isinstance(finish, m.Finish)
    return str(json.loads(finish.raw)["requestState"])


def test_a_modern_upstreams_state_is_sealed_and_given_back_to_it() -> None:
    sealed = modern_state()
    assert "theirs" not in sealed
    machine = call(request(params={"requestState": sealed, "inputResponses": {}}))
    machine.start()
    (forward,) = machine.on(m.IntentDurable())
    assert isinstance(forward, m.Forward)
    assert json.loads(forward.target.params)["requestState"] == "theirs"


def test_a_modern_result_without_state_passes_as_it_is() -> None:
    machine = forwarded()
    raw = b'{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}'
    machine.on(Answered("result", raw))
    assert machine.on(m.OutcomeDurable()) == (m.Finish("result", raw),)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: {"requestState": sealed[:-2] + "AA"},
        lambda sealed: {"requestState": 17},
        lambda sealed: {"requestState": sealed, "arguments": {"other": True}},
    ],
)
def test_a_forged_or_foreign_state_is_refused(spoil: Callable[[str], dict[str, object]]) -> None:
    machine = call(request(params=spoil(modern_state())))
    assert kinds(machine.start()) == ["RecordIntent", "RecordOutcome"]
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)
    assert last.refused.code == "invalid_params"


def test_an_expired_state_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = modern_state()
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + 3600)
    machine = call(request(params={"requestState": sealed}))
    machine.start()
    (last,) = machine.on(m.OutcomeDurable())
    assert isinstance(last, m.Refuse)


def test_the_rounds_of_a_modern_upstream_are_run_for_a_handshake_client() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    raw = jsonrpc.encoded(
        {
            "resultType": "input_required",
            "requestState": "s1",
            "inputRequests": {"a": {"method": "elicitation/create", "params": {}}, "b": {"method": "roots/list"}},
        }
    )
    (asked,) = machine.on(Answered("result", raw))
    assert isinstance(asked, m.AskClient)
    first, second = (question.key for question in asked.requests)
    assert machine.on(InputsGiven({first: b'{"error":{"code":-1}}'})) == ()
    assert machine.on(InputsGiven({first: b'{"result":{"action":"accept"}}'})) == ()
    (forward,) = machine.on(InputsGiven({second: b'{"result":{"roots":[]}}'}))
    assert isinstance(forward, m.Forward)
    params = json.loads(forward.target.params)
    assert params["inputResponses"] == {"a": {"action": "cancel"}, "b": {"roots": []}}
    assert params["requestState"] == "s1"
    machine.on(Answered("result", b'{"resultType":"complete","content":[]}'))
    assert kinds(machine.on(m.OutcomeDurable())) == ["Finish"]


def test_a_question_that_the_client_does_not_answer_ends_the_call() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    raw = b'{"resultType":"input_required","inputRequests":{"b":{"method":"roots/list"}}}'
    (asked,) = machine.on(Answered("result", raw))
    assert isinstance(asked, m.AskClient)
    effects = machine.on(InputsGiven({asked.requests[0].key: b'{"error":{"code":-1}}'}))
    assert outcome_of(effects) == "upstream_failed"


def test_rounds_without_questions_end_at_ten() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    raw = b'{"resultType":"input_required","requestState":"again"}'
    for _ in range(10):
        assert kinds(machine.on(Answered("result", raw))) == ["Forward"]
    assert outcome_of(machine.on(Answered("result", raw))) == "upstream_failed"


def test_a_question_without_a_method_is_an_invalid_answer() -> None:
    machine = forwarded(request(era=eras.LEGACY))
    raw = b'{"resultType":"input_required","inputRequests":{"b":{}}}'
    assert outcome_of(machine.on(Answered("result", raw))) == "upstream_failed"


# -- whatever happens ------------------------------------------------------------------------------------------------

EVENTS = st.sampled_from(
    [
        m.IntentDurable(),
        m.OutcomeDurable(),
        m.RecordFailed(),
        m.Cancelled(),
        m.PeerLost(),
        m.StartFailed(Refused("upstream_unavailable")),
        InputsGiven({"1": b'{"result":{}}'}),
        InputsGiven({"2": b'{"error":{}}', "3": b"{}"}),
        Notice("notifications/progress", b'{"params":{"progressToken":1,"progress":1}}'),
        Ask(b"1", "roots/list", b"{}"),
        Answered("result", b'{"content":[]}'),
        Answered("result", b'{"resultType":"input_required","requestState":"s"}'),
        Answered("error", b'{"code":1,"message":""}'),
        Piece(b"x" * 10),
        Ended(),
        Failed("upstream_timeout"),
        object(),
    ]
)


@given(st.lists(EVENTS, max_size=25), st.sampled_from([eras.MODERN, eras.LEGACY]), st.booleans())
def test_no_order_of_events_breaks_the_promises(events: list[object], era: str, trusted: bool) -> None:
    tool = definition(FILES_UPSTREAM, "odd", status="trusted" if trusted else "pending_review")
    machine = call(request(name="files__odd", era=era, progress_token=b"1"), snapshot(tool))
    intent = outcome = failed = False
    finals = 0
    effects = list(machine.start())
    assert isinstance(effects[0], m.RecordIntent)
    for event in events:
        intent = intent or isinstance(event, m.IntentDurable)
        failed = failed or isinstance(event, m.RecordFailed)
        recorded = any(isinstance(effect, m.RecordOutcome) for effect in effects)
        outcome = outcome or (recorded and isinstance(event, m.OutcomeDurable))
        fresh = machine.on(event)
        for effect in fresh:
            assert trusted or not isinstance(effect, m.Forward | m.Resume)
            assert intent or not isinstance(effect, m.Forward | m.Resume | m.Write | m.Relay)
            assert outcome or not isinstance(effect, m.Finish)
            finals += isinstance(effect, FINAL)
            assert not isinstance(effect, FINAL) or outcome or failed
        effects += fresh
    assert finals <= 1
