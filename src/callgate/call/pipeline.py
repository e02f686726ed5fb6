"""The whole path of a governed request on one screen, as a sans-I/O machine: events in, effects out.

    start ── resolve · decide (· park) ──► RecordIntent ──► IntentDurable ──► Forward ──► pieces, notices, questions
                        │ refused                                              │ result, error, failure, cancel
                        └──────────────► RecordOutcome ◄───────────────────────┘
                                               └──► OutcomeDurable ──► Finish or Refuse

Fail closed: the upstream is asked only after the intent is durable; what completes an answer is let go only after the
outcome is durable; the one broad `except` of the call path is here and ends in an audited refusal.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from callgate import clock
from callgate.call import decide as rules
from callgate.call import inspect, limit, links, notices, record, redact, rounds, scopes, state, tasks, verdict
from callgate.call.asking import Asking
from callgate.call.connecting import CONNECTING, FORWARDED, TICKET, Connecting, went_there
from callgate.call.gathering import Gathering
from callgate.call.limiting import Limiting
from callgate.call.model import (
    Abort,
    Cancelled,
    CancelUpstream,
    Effects,
    Finish,
    Forward,
    IntentDurable,
    NoteTask,
    OutcomeDurable,
    PeerLost,
    RecordFailed,
    RecordIntent,
    RecordOutcome,
    Refuse,
    Request,
    Resume,
    Target,
    Waiting,
)
from callgate.call.parking import WAITING, Parking
from callgate.call.place import Place
from callgate.call.resolve import Untrusted, catalogued, resolve
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.approval import CANCELLED
from callgate.model.rule import Rule
from callgate.policy.compile import CompiledRules
from callgate.policy.results import Verdict
from callgate.upstreams.exchange import Answered, Ended, Notice
from callgate.wire import eras, jsonrpc

HEAVY = 64 * 1024  # bytes from which a look into a value would hold other calls up
NEW, RECORDING, CLOSING, DONE = "new", "recording", "closing", "done"


class _Arrived(msgspec.Struct, frozen=True):
    """The first event of every call."""


class Call(Parking, Limiting, Connecting, Asking, Gathering):
    """One governed request from its arrival to the durable record of its end."""

    def __init__(self, request: Request, snapshot: Snapshot, place: Place) -> None:
        Parking.__init__(self)
        Limiting.__init__(self)
        Connecting.__init__(self)
        Asking.__init__(self)
        Gathering.__init__(self)
        self.request = request
        self.phase = NEW
        self._snapshot = snapshot
        self._place = place
        self._target: Target | None = None
        self._decision = record.UNDECIDED
        self._waiting: Waiting | None = None
        self._task: tasks.Task | None = None  # that the request is about
        self._reply = b""
        self._again: Finish | None = None  # the question that this leg did not answer
        self._last: Finish | Refuse | Abort | None = None
        self._sent_at = 0
        self._verdict: Verdict | None = None

    @property
    def target(self) -> Target | None:
        """Where it goes, once `start` has resolved that (also where it was refused then)."""
        return self._target

    def killed_by(self, kills: CompiledRules) -> bool:
        """Whether one of these kill switches names it."""
        return self._target is not None and rules.decide(kills, self.request, self._target).effect == "deny"

    def heavy(self, event: object = None) -> bool:
        """Whether the next step looks through so much that it belongs off the event loop: into large arguments at the
        start, or into a large answer."""
        if event is None:
            return self.request.size > HEAVY and self._snapshot.rules.conditional
        return self._gathers and (isinstance(event, Ended) or (isinstance(event, Answered) and len(event.raw) > HEAVY))

    @property
    def sent(self) -> bool:
        """Whether the upstream may have heard of it."""
        return self._sent_at > 0

    def start(self) -> Effects:
        """Judge the request; the first effects are always records."""
        return self.on(_Arrived())

    def on(self, event: object) -> Effects:
        """What to do now that this has happened. Events after the end are ignored."""
        handler = self._HANDLERS.get(type(event))
        if handler is None or self.phase == DONE:
            return ()
        try:
            return handler(self, event)
        except Refused as refused:
            return self._fail(refused)
        except Exception:  # the one broad except of the call path: an audited refusal, never an open call
            return self._fail(Refused("internal"))

    # -- before the upstream ----------------------------------------------------------------------------------------

    def _start(self, _: object) -> Effects:
        try:
            self._continue_earlier_leg()
            self._judge()
        except Refused as refused:
            known = self._target or catalogued(self._snapshot, self.request)
            self._target = refused.target if isinstance(refused, Untrusted) else known  # for the record alone
            return (*self._record_start(), *self._close("refused", Refuse(refused), refused.code))
        if self._again is not None:
            return (*self._record_start(), *self._close("input_required", self._again))
        return self._file() if self._task is None and self._needs_approval else self._record_start()

    def _judge(self) -> None:
        """Where the request goes and what the rules say of it. Raises `Refused`."""
        self._decision = record.UNDECIDED
        self._target = self._resolved()
        scopes.check(self.request.caller, self._target)
        self._decision = self._over_limit(rules.decide(self._snapshot.rules, self.request, self._target))
        if self._task is None or self.request.method != tasks.CANCEL:  # which only stops what runs
            rules.refuse_denied(self._decision)
        self._gathers = (
            tasks.whole(self.request) or bool(self._decision.results) or redact.concerns_answer(self._decision)
            or limit.by_result(self._decision.limits)
        )  # fmt: skip
        self._target = redact.arguments(self._decision, self._target, self.request.caller.tenant, self._place.mac)

    def _resolved(self) -> Target:
        if self.request.method in tasks.METHODS:
            target, self._task = tasks.target(self._snapshot, self.request, self._place.tasks)
            return target
        return tasks.without_wish(self._snapshot, self.request, resolve(self._snapshot, self.request))

    def _record_start(self) -> Effects:
        before = self._waiting or self._task
        earlier = before.call if before else None
        place = self._place
        event = record.intent(
            self.request, self._target, self._decision, place.replica, place.mac, earlier or None
        )  # fmt: skip
        if self._approval is not None:
            event = msgspec.structs.replace(event, approval=self._approval.id, args_hash=self._approval.args_hash)
        self.phase, self._on_record = RECORDING, True
        return (RecordIntent(event), *self._kept())

    def _continue_earlier_leg(self) -> None:
        """A modern retry: check the sealed state and put the upstream's own one in its place."""
        given = self.request.params.get("requestState")
        if given is None or self.request.method not in eras.INPUT_METHODS:
            return
        params = dict(self.request.params)
        del params["requestState"]
        waiting = state.unseal(self._place.sealer, jsonrpc.text(given) or "")
        state.check(waiting, self.request)
        if waiting.upstream_state is not None:
            params["requestState"] = msgspec.Raw(jsonrpc.encoded(waiting.upstream_state))
        elif waiting.connecting:
            reply = jsonrpc.members(params.pop("inputResponses", msgspec.Raw(b""))).get(TICKET, b"")
            self._page_shown = waiting.page_shown or went_there(reply)
            self._page_declined = not self._page_shown
        elif waiting.leg:
            params.pop("inputResponses", None)  # nothing was asked
        if waiting.exchange is not None:
            answer = jsonrpc.members(params.pop("inputResponses", msgspec.Raw(b""))).get(rounds.MODERN_KEY)
            if answer is None and waiting.question is not None:
                asked = rounds.input_required((waiting.question,), jsonrpc.text(given) or "")
                self._again = Finish("result", asked)
            method = waiting.question.method if waiting.question is not None else ""
            self._reply = jsonrpc.joined({"result": answer}) if answer else rounds.unanswered(method)
        self._waiting, self._leg, self._granted = waiting, waiting.leg, waiting.granted
        self.request = msgspec.structs.replace(self.request, params=params)

    def _recorded(self, _: object) -> Effects:
        if self.phase != RECORDING:
            return ()
        return self._go_on()

    def _go_on(self) -> Effects:
        """The next gate on the way to the upstream: an approval, the limits, or nothing more."""
        if self._approval is not None and self._needs_approval:
            return self._parked(self._approval)
        return self._leg_due() or self._limits_due() or self._send()

    def _send(self) -> Effects:
        """Send it. The first moment at which the upstream hears of the call."""
        assert self._target is not None  # noqa: S101  set by `_judge`
        self.phase = FORWARDED
        self._sent_at = clock.now_us()
        if self._waiting is not None and self._waiting.exchange is not None:
            return (Resume(self._target, self._waiting, self._reply),)
        return (Forward(self._target),)

    # -- while the upstream works -----------------------------------------------------------------------------------

    def _notice(self, event: Notice) -> Effects:
        relay = notices.relayed(self.request, event.method, event.raw)
        if relay is None or self.phase != FORWARDED:
            return ()
        if relay.method == tasks.STATUS and self._task is None:
            return ()  # of a task that the client does not know yet
        return (msgspec.structs.replace(relay, params=self._named(relay.params)),)

    def _shown(self, raw: bytes) -> bytes:
        """A value of the upstream as the rules let the agent see it."""
        return redact.answer(self._decision, raw, self.request.caller.tenant, self._place.mac)

    def _named(self, params: bytes) -> bytes:
        """Params of a message of the upstream, with no id of a task but the public one."""
        params = self._shown(params)
        if self._task is None:
            return tasks.unrelated(params)
        return tasks.renamed(params, self._task.own, self.request.name)

    def _wait(self, **more: Any) -> Waiting:
        caller = self.request.caller
        upstream = self._target.upstream.id if self._target else ""
        return Waiting(
            tenant=caller.tenant,
            person=caller.person,
            digest=state.digest(self.request),
            expires=clock.now() + state.LIFETIME,
            upstream=upstream,
            call=self.request.id,
            granted=self._granted,
            **more,
        )

    # -- the end ----------------------------------------------------------------------------------------------------

    def _answered(self, event: Answered) -> Effects:
        if self.phase != FORWARDED:
            return ()
        self._written = len(event.raw)
        assert self._target is not None  # noqa: S101  set before anything is forwarded
        if event.kind == "error":
            inspect.check_error(event.raw)
            doubts = inspect.doubts(self.request, self._target, event.raw)
            raw = self._judged(self._shown(event.raw), verdict.of_error(self._decision.results))
            return (*doubts, *self._close("rpc_error", Finish("error", raw)))
        if self._task is not None:
            kind, value = tasks.answered(self._snapshot, self.request, self._target, self._task, event.raw)
            return self._close(kind, Finish("result", self._judged_task(self._shown(value))))
        kind = inspect.result_outcome(event.raw)
        if kind == "input_required":
            return self._input_required(event.raw)
        whole, event = event.raw, msgspec.structs.replace(event, raw=self._shown(event.raw))
        if kind == "task" or tasks.asked_for(self.request):
            own = tasks.created(self.request, self._snapshot.states.get(self._target.upstream.id), event.raw, kind)
            if own is not None:
                return self._task_made(self._target, own, event.raw)
        charges = self._charges(event.raw)
        try:
            raw = self._judged(event.raw, self._decision.results)
            raw = redact.fitted(self._target, whole, raw)
        except Refused as refused:
            return (*charges, *self._withhold(refused))
        value = links.rewritten(self._snapshot, self.request, self._target.upstream, raw)
        doubts = inspect.doubts(self.request, self._target, event.raw) if kind == "tool_error" else ()
        return (*doubts, *charges, *self._close(kind, Finish("result", value)))

    def _judged(self, raw: bytes, rules: tuple[Rule, ...]) -> bytes:
        """An answer as the rules on answers let it through. Raises `Refused`."""
        if not rules or self._target is None:
            return raw
        self._verdict = found = verdict.verdict(rules, self.request, self._target, raw, self._place.mac)
        if found.effect == "deny":
            raise verdict.withheld(found)
        return found.raw

    def _judged_task(self, value: bytes) -> bytes:
        """An answer about a task: what the tool said in the end is judged as in a usual call."""
        results = self._decision.results
        if not results or self.request.method == tasks.RESULT:
            return self._judged(value, results)
        fields = jsonrpc.members(value)
        if "result" not in fields:
            return self._judged(value, verdict.of_error(results))
        return jsonrpc.joined({**fields, "result": self._judged(bytes(fields["result"]), results)})

    def _task_made(self, target: Target, own: str, raw: bytes) -> Effects:
        public = tasks.seal(self._place.tasks, tasks.made(self.request, target, own, self._place.replica))
        listed = self.request.era == eras.LEGACY  # the later revision has no lists of tasks
        note = (NoteTask(public, tasks.lifetime(raw)),) if listed else ()
        return (*note, *self._close("task", Finish("result", tasks.renamed(raw, own, public))))

    def _cancelled(self, _: object) -> Effects:
        if self.phase in WAITING:
            return self._give_up(CANCELLED, "cancelled", Refused("cancelled"))
        if self.phase not in (RECORDING, FORWARDED, CONNECTING):
            return ()
        stop = (CancelUpstream(),) if self.phase == FORWARDED else ()
        return (*self._freed(CANCELLED), *stop, *self._close("cancelled", Refuse(Refused("cancelled")), "cancelled"))

    def _peer_lost(self, _: object) -> Effects:
        """A handshake-era client may come back to cancel; the upstream goes on, but nobody can be asked any more. What
        waits for an approval ends, and the approval stays: the repeat of the call finds it."""
        if self.phase in (*WAITING, CONNECTING):
            return self._end_parked("abandoned", Refused("cancelled"))
        if self._questions.open and self.phase == FORWARDED:
            return (CancelUpstream(), *self._close("abandoned", Refuse(Refused("cancelled")), "cancelled"))
        return ()

    def _fail(self, refused: Refused) -> Effects:
        """End a call that went wrong: before the upstream as a refusal, after it as a failure."""
        if self.phase in (CLOSING, DONE):
            self.phase = DONE
            return (Abort(refused),)
        if not self._on_record:
            self._decision = record.UNDECIDED
            return (*self._record_start(), *self._close("refused", Refuse(refused), refused.code))
        last = Abort(refused) if self._begun else Refuse(refused)
        if self._verdict is not None and self._verdict.effect == "deny":
            return self._withhold(refused)
        stop = (CancelUpstream(),) if self.phase == FORWARDED else ()
        return (*stop, *self._close("upstream_failed", last, refused.code))

    def _withhold(self, refused: Refused) -> Effects:
        """End a call whose answer the agent does not get: the upstream has done what was asked."""
        return self._close("withheld", Refuse(refused), refused.code)

    def _close(self, outcome: str, last: Finish | Refuse | Abort, code: str = "") -> Effects:
        self.phase = CLOSING
        self._last = last
        event = record.outcome(self.request, outcome, code, self._written, self._sent_at)
        if self._cost:
            event = msgspec.structs.replace(event, cost=self._cost)
        if self._verdict is not None:
            named, seen = self._verdict.rule, self._verdict.seen
            event = msgspec.structs.replace(
                event, verdict=self._verdict.effect, verdict_rule=named.id if named else None, result_seen=seen
            )
        return (RecordOutcome(event),)

    def _released(self, _: object) -> Effects:
        if self.phase != CLOSING or self._last is None:
            return ()
        self.phase = DONE
        return (self._last,)

    def _record_failed(self, _: object) -> Effects:
        """Nothing is let through that is not on record; what was already begun is broken off."""
        stop = (CancelUpstream(),) if self.phase == FORWARDED else ()
        self.phase = DONE
        refused = Refused("not_recorded")
        return (*stop, Abort(refused) if self._begun else Refuse(refused))

    def given_up(self) -> RecordOutcome | None:
        """The driver cannot go on: what is left to record, if anything. Nothing follows."""
        unfinished = self.phase in (RECORDING, FORWARDED, CONNECTING) or (self.phase in WAITING and self._on_record)
        self.phase = DONE
        if not unfinished:
            return None
        return RecordOutcome(record.outcome(self.request, "unknown", "internal", self._written, self._sent_at))

    _HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Effects]]] = {
        **Parking.HANDLERS,
        **Limiting.HANDLERS,
        **Connecting.HANDLERS,
        **Asking.HANDLERS,
        **Gathering.HANDLERS,
        _Arrived: _start,
        IntentDurable: _recorded,
        OutcomeDurable: _released,
        RecordFailed: _record_failed,
        Cancelled: _cancelled,
        PeerLost: _peer_lost,
        Notice: _notice,
        Answered: _answered,
    }
