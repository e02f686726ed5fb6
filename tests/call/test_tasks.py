"""Tasks: the public id says where a task lives and to whom it belongs, and every use of it is a call like another."""

import json
from typing import Any

import msgspec
import pytest

from callgate.call import model as m
from callgate.call import tasks
from callgate.call.model import Request
from callgate.call.pipeline import Call
from callgate.errors import Refused
from callgate.fleet.snapshot import Delta, Snapshot, apply
from callgate.model.rule import Match, Rule
from callgate.model.upstream import UpstreamState
from callgate.upstreams.exchange import Answered, Ask, Ended, Notice, Piece
from callgate.wire import eras, jsonrpc
from tests.call.world import ANA, FILES, MAIL, PLACE, READ, kinds, request, snapshot

CORE = b'{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}'
EXTENSION = b'{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}'
DECLARED = b'{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}'
WISH = {"arguments": {}, "task": {"ttl": 60_000}}
RELATED = "io.modelcontextprotocol/related-task"


def known(era: str = eras.MODERN, capabilities: bytes | None = None, **more: Any) -> Snapshot:
    given = capabilities or (EXTENSION if era == eras.MODERN else CORE)
    state = UpstreamState(FILES.id, "ok", era=era, capabilities=given)
    return apply(snapshot(*more.pop("more", ()), **more), Delta(revisions={}, states=(state,)))


def asked(era: str, **fields: Any) -> Request:
    if era == eras.MODERN:
        return request(capabilities=DECLARED, **fields)
    return request(era=era, session="s1", **{"params": WISH, **fields})


def answered(asking: Request, view: Snapshot, result: Any) -> tuple[m.Effects, m.Effects]:
    """What the answer leads to, and what its record lets go."""
    machine = Call(asking, view, PLACE)
    assert kinds(machine.start()) == ["RecordIntent"]
    assert kinds(machine.on(m.IntentDurable())) == ["Forward"]
    effects = machine.on(Answered("result", jsonrpc.encoded(result)))
    return effects, machine.on(m.OutcomeDurable())


def value(effects: m.Effects) -> Any:
    (finish,) = effects
    assert isinstance(finish, m.Finish), finish
    return json.loads(finish.raw)


def made(era: str = eras.MODERN, view: Snapshot | None = None) -> str:
    """The public id of a task that `files__read` made."""
    result = {"resultType": "task", "taskId": "own"} if era == eras.MODERN else {"task": {"taskId": "own"}}
    _, end = answered(asked(era), view or known(era), result)
    given = value(end)
    return str(given["taskId"] if era == eras.MODERN else given["task"]["taskId"])


def about(method: str, public: str, era: str = eras.MODERN, **fields: Any) -> Request:
    values = {"id": "cal_2", "params": {"taskId": public}, "capabilities": DECLARED, **fields}
    asking = request(method, public, era=era, **values)
    del asking.params["name"]
    return asking


def outcome(effects: m.Effects) -> str:
    return next(effect.event.outcome for effect in effects if isinstance(effect, m.RecordOutcome))


def refusal(asking: Request, view: Snapshot) -> str:
    machine = Call(asking, view, PLACE)
    assert kinds(machine.start()) == ["RecordIntent", "RecordOutcome"]
    (end,) = machine.on(m.OutcomeDurable())
    assert isinstance(end, m.Refuse)
    return end.refused.code


def test_a_modern_task_is_recorded_and_its_id_is_sealed() -> None:
    result = {"resultType": "task", "taskId": "own", "status": "working", "x": 1}
    effects, end = answered(asked(eras.MODERN), known(), result)
    assert outcome(effects) == "task"
    given = value(end)
    task = tasks.opened(PLACE.tasks, given.pop("taskId"), ANA, eras.MODERN)
    assert given == {"resultType": "task", "status": "working", "x": 1}
    assert (task.own, task.upstream, task.definition, task.call) == ("own", FILES.id, READ.id, "cal_1")
    assert (task.session, task.home) == ("", "")


def test_a_handshake_task_remembers_its_conversation_and_is_noted() -> None:
    meta = {RELATED: {"taskId": "own"}, "y": 1}
    effects, end = answered(
        asked(eras.LEGACY), known(eras.LEGACY), {"task": {"taskId": "own", "ttl": 5000}, "_meta": meta}
    )
    note, record = effects
    assert isinstance(note, m.NoteTask)
    assert isinstance(record, m.RecordOutcome)
    given = value(end)
    assert given == {"task": {"taskId": note.id, "ttl": 5000}, "_meta": {RELATED: {"taskId": note.id}, "y": 1}}
    assert note.seconds == 5.0
    task = tasks.opened(PLACE.tasks, note.id, ANA, eras.LEGACY)
    assert (task.session, task.home) == ("s1", "rep_here")


def test_a_task_of_a_program_belongs_to_its_replica() -> None:
    local = msgspec.structs.replace(FILES, kind="stdio")
    view = known(upstreams=(local, MAIL))
    assert tasks.opened(PLACE.tasks, made(view=view), ANA, eras.MODERN).home == "rep_here"


@pytest.mark.parametrize(
    ("asking", "view", "result"),
    [
        (request(), known(), {"resultType": "task", "taskId": "own"}),
        (asked(eras.MODERN), known(capabilities=b"{}"), {"resultType": "task", "taskId": "own"}),
        (asked(eras.MODERN), known(eras.LEGACY), {"resultType": "task", "taskId": "own"}),
        (asked(eras.MODERN), known(), {"resultType": "task"}),
        (asked(eras.MODERN), known(), {"resultType": "task", "taskId": 7}),
        (asked(eras.LEGACY), known(eras.LEGACY), {"resultType": "task", "taskId": "own"}),
        (asked(eras.LEGACY), known(eras.LEGACY), {"task": {"taskId": ""}}),
        (asked(eras.LEGACY), known(eras.LEGACY), {"task": 7}),
    ],
)
def test_a_task_that_was_not_asked_for_or_not_offered_is_no_answer(
    asking: Request, view: Snapshot, result: Any
) -> None:
    effects, end = answered(asking, view, result)
    assert outcome(effects) == "upstream_failed"
    (refused,) = end
    assert isinstance(refused, m.Refuse)
    assert refused.refused.code == "upstream_invalid"


def test_a_result_that_only_looks_like_a_task_is_a_result() -> None:
    result = {"task": {"taskId": "own"}, "content": []}
    for asking, view in (
        (request(era=eras.LEGACY), known(eras.LEGACY)),
        (asked(eras.LEGACY), known(capabilities=b"{}")),
    ):
        effects, end = answered(asking, view, result)
        assert outcome(effects) == "result"
        assert value(end) == result


@pytest.mark.parametrize(
    ("era", "view", "kept"),
    [
        (eras.LEGACY, known(eras.LEGACY), True),
        (eras.LEGACY, known(eras.LEGACY, b'{"tasks":{"list":{}}}'), False),
        (eras.LEGACY, known(eras.LEGACY, b'{"tasks":7}'), False),
        (eras.LEGACY, known(eras.MODERN), False),
        (eras.LEGACY, snapshot(), False),
        (eras.MODERN, known(eras.LEGACY), False),
        (eras.MODERN, known(eras.MODERN), True),
    ],
)
def test_the_wish_for_a_task_goes_only_where_it_was_offered(era: str, view: Snapshot, kept: bool) -> None:
    machine = Call(request(era=era, params=WISH), view, PLACE)
    machine.start()
    (forward,) = machine.on(m.IntentDurable())
    assert isinstance(forward, m.Forward)
    assert ("task" in json.loads(forward.target.params)) is kept


def test_a_request_about_a_task_goes_to_its_upstream_and_goes_on_with_its_call() -> None:
    asking = about("tasks/get", made())
    machine = Call(asking, known(), PLACE)
    (intent,) = machine.start()
    assert isinstance(intent, m.RecordIntent)
    assert (intent.event.method, intent.event.definition, intent.event.continues) == ("tasks/get", READ.id, "cal_1")
    assert intent.event.unknown_name == ""
    (forward,) = machine.on(m.IntentDurable())
    assert isinstance(forward, m.Forward)
    assert (forward.target.upstream, forward.target.name) == (FILES, "own")
    assert json.loads(forward.target.params) == {"taskId": "own"}


def test_a_handshake_request_goes_to_the_conversation_that_made_the_task() -> None:
    machine = Call(about("tasks/result", made(eras.LEGACY), eras.LEGACY, session="s2"), known(eras.LEGACY), PLACE)
    machine.start()
    (forward,) = machine.on(m.IntentDurable())
    assert isinstance(forward, m.Forward)
    assert (forward.target.session, forward.target.home) == ("s1", "rep_here")


def test_an_id_of_somebody_else_or_of_the_other_era_or_forged_is_unknown() -> None:
    public = made()
    bob = msgspec.structs.replace(ANA, person="per_bob")
    limited = msgspec.structs.replace(ANA, agent="bot", allowed_upstreams=("mail*",))
    assert refusal(about("tasks/get", public, caller=bob), known()) == "unknown_task"
    assert refusal(about("tasks/get", public, caller=limited), known()) == "unknown_task"
    assert refusal(about("tasks/get", public, scope="mail"), known()) == "unknown_task"
    assert refusal(about("tasks/get", public, eras.LEGACY), known()) == "unknown_task"
    assert refusal(about("tasks/get", "own"), known()) == "unknown_task"
    assert refusal(about("tasks/get", public[:-4] + "AAAA"), known()) == "unknown_task"
    assert refusal(about("tasks/get", public, capabilities=b"{}"), known()) == "missing_client_capability"
    assert refusal(about("tasks/get", public), known(upstreams=(MAIL,))) == "unknown_task"


@pytest.mark.parametrize("status", ["drift_detected", "blocked", "removed"])
def test_what_a_tool_gave_is_out_of_reach_once_it_is_not_trusted_but_it_can_be_stopped(status: str) -> None:
    public = made()
    view = known(more=(msgspec.structs.replace(READ, status=status),))
    assert refusal(about("tasks/get", public), view) == "tool_not_trusted"
    assert refusal(about("tasks/update", public), view) == "tool_not_trusted"
    assert kinds(Call(about("tasks/cancel", public), view, PLACE).start()) == ["RecordIntent"]


def test_a_rule_that_came_later_holds_for_the_task_too_but_for_its_end() -> None:
    public = made()
    rules = (Rule(id="no", title="No", effect="deny", match=Match(tool=("read",))),)
    assert refusal(about("tasks/get", public), known(rules=rules)) == "denied_by_rule"
    assert kinds(Call(about("tasks/cancel", public), known(rules=rules), PLACE).start()) == ["RecordIntent"]


def test_an_approval_is_asked_for_once() -> None:
    public = made()
    rules = (Rule(id="ask", title="Ask", effect="require_approval", match=Match(tool=("read",))),)
    assert kinds(Call(about("tasks/get", public), known(rules=rules), PLACE).start()) == ["RecordIntent"]


ELICIT = {"method": "elicitation/create", "params": {}}


@pytest.mark.parametrize(
    ("said", "recorded"),
    [
        ({"status": "working"}, "result"),
        ({"status": "cancelled"}, "result"),
        ({"status": "completed", "result": {"content": []}}, "result"),
        ({"status": "completed", "result": {"content": [], "isError": True}}, "tool_error"),
        ({"status": "failed", "error": {"code": 1, "message": "x"}}, "rpc_error"),
        ({"status": "input_required", "inputRequests": {"a": ELICIT}}, "input_required"),
        ({"status": "input_required", "inputRequests": {"a": {**ELICIT, "method": "roots/list"}}}, "upstream_failed"),
        ({"status": "completed"}, "upstream_failed"),
        ({"status": "completed", "result": 7}, "upstream_failed"),
        ({"status": "completed", "result": {"resultType": "task", "taskId": "other"}}, "upstream_failed"),
    ],
)
def test_what_a_look_at_a_task_finds_is_recorded_as_what_it_is(said: dict[str, Any], recorded: str) -> None:
    public = made()
    effects, end = answered(about("tasks/get", public), known(), {"resultType": "complete", "taskId": "own", **said})
    assert outcome(effects) == recorded
    if recorded != "upstream_failed":
        assert value(end) == {"resultType": "complete", **said, "taskId": public}


def test_links_in_what_a_task_gave_lead_to_its_upstream() -> None:
    link = {"type": "resource_link", "uri": "x://unlisted", "name": "n"}
    said = {"taskId": "own", "status": "completed", "result": {"content": [link]}}
    result = value(answered(about("tasks/get", made()), known(), said)[1])["result"]
    assert result["content"][0]["uri"] == "gw+files:x://unlisted"


def test_a_handshake_result_names_the_public_id() -> None:
    public = made(eras.LEGACY)
    said = {"content": [], "isError": True, "_meta": {RELATED: {"taskId": "own"}, "z": None}, "taskId": "tool's"}
    effects, end = answered(about("tasks/result", public, eras.LEGACY), known(eras.LEGACY), said)
    assert outcome(effects) == "tool_error"
    assert value(end) == {**said, "_meta": {RELATED: {"taskId": public}, "z": None}}


def test_a_result_in_pieces_is_gathered() -> None:
    public = made(eras.LEGACY)
    machine = Call(about("tasks/result", public, eras.LEGACY), known(eras.LEGACY), PLACE)
    machine.start()
    machine.on(m.IntentDurable())
    raw = jsonrpc.encoded({"content": ["x" * 1000], "_meta": {RELATED: {"taskId": "own"}}})
    assert [machine.on(Piece(raw[at : at + 100])) for at in range(0, len(raw), 100)] == [()] * -(-len(raw) // 100)
    assert outcome(machine.on(Ended())) == "result"
    assert value(machine.on(m.OutcomeDurable()))["_meta"] == {RELATED: {"taskId": public}}


def working(public: str) -> Call:
    machine = Call(about("tasks/result", public, eras.LEGACY), known(eras.LEGACY), PLACE)
    machine.start()
    machine.on(m.IntentDurable())
    return machine


def test_messages_beside_a_task_name_it_as_its_client_does() -> None:
    public = made(eras.LEGACY)
    machine = working(public)
    status = jsonrpc.notification("notifications/tasks/status", b'{"taskId":"own","status":"working"}')
    (relay,) = machine.on(Notice("notifications/tasks/status", status))
    assert isinstance(relay, m.Relay)
    assert json.loads(relay.params) == {"taskId": public, "status": "working"}
    params = jsonrpc.encoded({"message": "?", "_meta": {RELATED: {"taskId": "own"}}})
    (asking,) = machine.on(Ask(b"7", "elicitation/create", params))
    assert isinstance(asking, m.AskClient)
    (question,) = asking.requests
    assert json.loads(question.params)["_meta"] == {RELATED: {"taskId": public}}
    reply = jsonrpc.encoded({"result": {"action": "accept", "_meta": {RELATED: {"taskId": public}}}})
    (told,) = machine.on(m.InputsGiven({question.key: reply}))
    assert isinstance(told, m.AnswerUpstream)
    assert json.loads(told.reply)["result"]["_meta"] == {RELATED: {"taskId": "own"}}


def test_before_a_client_knows_the_task_nothing_names_it() -> None:
    machine = Call(asked(eras.LEGACY), known(eras.LEGACY), PLACE)
    machine.start()
    machine.on(m.IntentDurable())
    status = jsonrpc.notification("notifications/tasks/status", b'{"taskId":"own"}')
    assert machine.on(Notice("notifications/tasks/status", status)) == ()
    params = jsonrpc.encoded({"level": "info", "_meta": {RELATED: {"taskId": "own"}}})
    (relay,) = machine.on(Notice("notifications/message", jsonrpc.notification("notifications/message", params)))
    assert isinstance(relay, m.Relay)
    assert json.loads(relay.params) == {"level": "info"}


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(5000, 5.0), (None, tasks.LONGEST), ("x", tasks.LONGEST), (1e15, tasks.LONGEST), (-5, 1.0)]
)
def test_a_task_stays_in_the_list_for_as_long_as_its_server_keeps_it(ttl: Any, seconds: float) -> None:
    assert tasks.lifetime(jsonrpc.encoded({"task": {"ttl": ttl}})) == seconds


def test_no_capability_of_odd_shape_is_an_offer() -> None:
    for raw in (b"[]", b'{"extensions":["io.modelcontextprotocol/tasks"]}', b'{"x":"io.modelcontextprotocol/tasks"}'):
        assert not tasks.declared(raw)
    with pytest.raises(Refused):
        tasks.check_declared(b"{}")
