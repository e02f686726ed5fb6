"""The ordinary edge's driver: runs one call's machine against the recorder, the upstreams and the client's reply.

Effects are done in order; events come from one inbox. The machine takes one step at a time, so a step that looks
through a large value takes it in a thread. Exchange events are taken only as fast as the client reads
(back-pressure). Fail closed: an intent that is not durable within 5 s ends in a refusal.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from callgate.call import model as m
from callgate.call import tasks
from callgate.call.authorize import authorize, authorize_again
from callgate.call.forward import sent
from callgate.call.pipeline import DONE, Call
from callgate.errors import Refused
from callgate.fleet.counters import Reached
from callgate.mcp.context import MCPContext
from callgate.mcp.hold import Hold
from callgate.mcp.recording import Recording
from callgate.mcp.remote import Begin
from callgate.mcp.reply import Reply
from callgate.model.limit import Take
from callgate.upstreams.exchange import Answered, Ask, Ended, Exchange, Failed, Notice, Peer, Piece
from callgate.wire import jsonrpc

KEEP_ALIVE_SECONDS = 10.0
_WINDOW = 1  # events that may wait in the inbox before the exchange is asked for another; one may be 256 KB
_LAST = (Answered, Ended, Failed)
_FROM_UPSTREAM = (*_LAST, Notice, Ask, Piece)


class Drive:
    """One call in flight."""

    def __init__(self, context: MCPContext, call: Call, reply: Reply) -> None:
        self._context = context
        self._call = call
        self._reply = reply
        self._inbox: deque[object] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._exchange: Exchange | None = None
        self._adopted = False  # an exchange of the fast path has events to come
        self._reader: asyncio.Task[None] | None = None
        self._recording = Recording(context.recorder, context.deadlines)
        self._expected: set[str] = set()
        self._hold: Hold | None = None
        self._peer: Peer | None = None
        self._taken: tuple[Take, ...] = ()

    @property
    def call(self) -> Call:
        """The machine that it drives."""
        return self._call

    def post(self, event: object) -> None:
        """Put an event into the inbox; callable from anywhere on the loop."""
        self._inbox.append(event)
        self._wake.set()
        if len(self._inbox) >= _WINDOW:
            self._room.clear()

    async def run(self) -> None:
        """Drive the machine to its end. The exchange and every helper task are given back."""
        try:
            heavy = self._call.heavy()
            await self._do_all(await asyncio.to_thread(self._call.start) if heavy else self._call.start())
            await self._run_on()
        finally:
            await self._clean_up()

    def adopt(self, exchange: Exchange | None, peer: Peer | None, recording: Recording) -> None:
        """Take over the exchange of a call that the fast path began, who asked, and its records. At once: what comes
        from here on waits in the exchange, which holds its source back."""
        self._exchange, self._peer, self._recording = exchange, peer, recording
        if exchange is not None:
            self._adopted = not exchange.over
            exchange.sink = None

    async def take_over(self, effects: m.Effects) -> None:
        """Go on with that call: what is left to do, then the exchange's further events."""
        exchange = self._exchange
        try:
            await self._do_all(effects)
            if self._adopted and self._exchange is exchange:
                self._read()
            await self._run_on()
        finally:
            await self._clean_up()

    async def _run_on(self) -> None:
        while self._call.phase != DONE:
            event = await self._next()
            heavy = self._call.heavy(event)
            await self._do_all(await asyncio.to_thread(self._call.on, event) if heavy else self._call.on(event))

    async def _next(self) -> object:
        while not self._inbox:
            self._wake.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                await self._reply.keep_alive()
        event = self._inbox.popleft()
        if len(self._inbox) < _WINDOW:
            self._room.set()
        return event

    async def _do_all(self, effects: m.Effects) -> None:
        for effect in effects:
            await self._DO[type(effect)](self, effect)

    async def _clean_up(self) -> None:
        left = self._call.given_up()
        if left is not None:  # cancelled, or an error that nobody foresaw: no call stays open on the record
            self._context.recorder.write(left.event, lambda _: None)
        self._recording.close()
        if self._hold is not None:
            await self._hold.close()
        if self._taken:
            await self._give_back()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._exchange is not None:
            await self._exchange.aclose()
        self._context.inflight.unexpect(self._call.request.id)

    # -- records -----------------------------------------------------------------------------------------------------

    async def _record_intent(self, effect: m.RecordIntent) -> None:
        self._recording.write(effect.event, m.IntentDurable(), self.post)

    async def _record_outcome(self, effect: m.RecordOutcome) -> None:
        self._recording.write(effect.event, m.OutcomeDurable(), self.post)

    # -- approvals ---------------------------------------------------------------------------------------------------

    @property
    def _held(self) -> Hold:
        if self._hold is None:
            self._hold = Hold(self._context, self._call.request, self.post)
        return self._hold

    async def _file(self, effect: m.FileApproval) -> None:
        await self._held.file(effect)

    async def _await(self, effect: m.AwaitApproval) -> None:
        await self._held.wait(effect)

    async def _claim(self, effect: m.ClaimApproval) -> None:
        await self._held.claim(effect)

    async def _claim_leg(self, effect: m.ClaimLeg) -> None:
        await self._held.claim_leg(effect)

    async def _release(self, effect: m.ReleaseApproval) -> None:
        await self._held.release(effect)

    async def _take_limits(self, effect: m.TakeLimits) -> None:
        request = self._call.request
        try:
            self._taken = await self._context.counters.take(request.caller.tenant, request.id, effect.takes)
        except Reached as reached:
            self.post(m.LimitReached(reached.take.rule, reached.retry_s))
        except Refused as refused:
            self.post(m.CannotGoOn(refused))
        else:
            self.post(m.LimitsTaken(self._taken))

    async def _charge(self, effect: m.Charge) -> None:
        await self._context.counters.charge(self._call.request.caller.tenant, effect.take, effect.amount)

    async def _give_back(self) -> None:
        """Free the call's slots; one that was never sent has used nothing."""
        request = self._call.request
        await self._context.counters.done(request.id)
        if not self._call.sent:
            for one in self._taken:
                if one.kind != "concurrency" and one.amount:
                    await self._context.counters.charge(request.caller.tenant, one, -one.amount)

    async def _keep_arguments(self, effect: m.KeepArguments) -> None:
        request = self._call.request
        await self._context.kept.put(request.caller.tenant, request.id, effect.arguments, effect.seconds)

    async def _keep_alive(self, _: m.KeepAlive) -> None:
        await self._reply.keep_alive()

    # -- upstream ----------------------------------------------------------------------------------------------------

    async def _forward(self, effect: m.Forward) -> None:
        request, target = self._call.request, effect.target
        await self._close_exchange()
        try:
            self._exchange = await self._started(request, target, effect.challenge)
        except Refused as refused:
            self.post(m.StartFailed(refused))
            return
        self._read()

    async def _started(self, request: m.Request, target: m.Target, challenge: str) -> Exchange:
        """The exchange, in the conversation that the target needs: here, or on the replica that has it."""
        context, sending = self._context, sent(request, target)
        if target.home not in ("", context.place.replica):
            wanted = Begin(target.upstream.id, target.session or request.session, request.capabilities, sending)
            far = await context.inflight.remote.begin(target.home, request.caller.key, wanted)
            if far is not None:
                return far
        if challenge and self._peer is not None:
            self._peer = await authorize_again(context.credentials, self._peer, target, challenge)
        else:
            self._peer = await authorize(context.credentials, request, target)
        return await context.upstreams.start(target.upstream, self._peer, sending)

    async def _await_connection(self, effect: m.AwaitConnection) -> None:
        await self._held.wait_for_account(effect.target)

    async def _note_task(self, effect: m.NoteTask) -> None:
        """For the list of the person's tasks; the task works without."""
        notes, caller = self._context.notes, self._call.request.caller
        with contextlib.suppress(Refused):
            place = tasks.noted_under(caller.person)
            if len(await notes.all(caller.tenant, place)) < tasks.MOST_NOTED:
                await notes.put(caller.tenant, place, effect.id, effect.seconds)

    async def _resume(self, effect: m.Resume) -> None:
        waiting = effect.waiting
        try:
            self._exchange = await self._suspended(waiting, effect.reply)
        except Refused as refused:
            self.post(m.StartFailed(refused))
            return
        self._read()

    async def _suspended(self, waiting: m.Waiting, reply: bytes) -> Exchange:
        """The exchange that was kept for this leg, its question answered, here or on the replica that holds it."""
        inflight = self._context.inflight
        if waiting.replica != self._context.place.replica:
            return await inflight.remote.resume(waiting, reply)
        exchange = inflight.take(waiting.exchange or "", self._call.request.caller.key)
        await exchange.answer(waiting.ask_id.encode(), reply)
        return exchange

    def _read(self) -> None:
        assert self._exchange is not None  # noqa: S101  set by both callers
        self._reader = asyncio.ensure_future(self._pump(self._exchange))
        self._reader.add_done_callback(self._read_over)

    def _read_over(self, reader: asyncio.Task[None]) -> None:
        if (
            not reader.cancelled() and reader.exception() is not None
        ):  # nobody foresaw it; the call must end all the same
            self.post(Failed("internal"))

    async def _pump(self, exchange: Exchange) -> None:
        event: object = None
        try:
            events = aiter(exchange)
            while not isinstance(event, _LAST):
                await self._room.wait()  # first: an event that was taken is never lost to a cancelled wait
                event = await anext(events, Failed("upstream_broke_off"))
                self.post(event)
        except Refused as refused:
            self.post(Failed(refused.code, refused.detail))

    async def _close_exchange(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self._exchange is not None:
            await self._exchange.aclose()
            self._exchange = None

    async def _cancel_upstream(self, _: m.CancelUpstream) -> None:
        if self._exchange is not None:
            await self._exchange.cancel()

    async def _doubt(self, effect: m.Doubt) -> None:
        self._context.upstreams.suspect(effect.upstream)

    async def _answer_upstream(self, effect: m.AnswerUpstream) -> None:
        if self._exchange is not None:
            await self._exchange.answer(effect.ask_id, effect.reply)

    async def _suspend(self, effect: m.Suspend) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self._exchange is not None:
            self._exchange.unread([event for event in self._inbox if isinstance(event, _FROM_UPSTREAM)])
            self._context.inflight.suspend(effect.key, self._call.request.caller, self._exchange)
            self._exchange = None

    # -- client ------------------------------------------------------------------------------------------------------

    async def _relay(self, effect: m.Relay) -> None:
        await self._reply.message(jsonrpc.notification(effect.method, effect.params))

    async def _ask(self, effect: m.AskClient) -> None:
        inflight, request = self._context.inflight, self._call.request
        self._expected |= {question.key for question in effect.requests}
        inflight.expect(request.id, self._answered)
        for question in effect.requests:
            id_ = inflight.question_id(request.caller, request.id, question)
            if not await self._reply.ask(id_, question):
                self.post(m.PeerLost())
                return

    def _answered(self, key: str, reply: bytes) -> None:
        if key in self._expected:
            self._expected.remove(key)
            self.post(m.InputsGiven({key: reply}))

    async def _write(self, effect: m.Write) -> None:
        await self._reply.write(effect.data)

    async def _finish(self, effect: m.Finish) -> None:
        await self._reply.finish(effect.kind, effect.raw)

    async def _refuse(self, effect: m.Refuse) -> None:
        await self._reply.refuse(effect.refused)

    async def _abort(self, _: m.Abort) -> None:
        await self._reply.abort()

    _DO: ClassVar[dict[type, Callable[[Any, Any], Awaitable[None]]]] = {
        m.RecordIntent: _record_intent,
        m.RecordOutcome: _record_outcome,
        m.FileApproval: _file,
        m.AwaitApproval: _await,
        m.AwaitConnection: _await_connection,
        m.ClaimApproval: _claim,
        m.ClaimLeg: _claim_leg,
        m.ReleaseApproval: _release,
        m.TakeLimits: _take_limits,
        m.Charge: _charge,
        m.KeepArguments: _keep_arguments,
        m.KeepAlive: _keep_alive,
        m.Forward: _forward,
        m.Resume: _resume,
        m.NoteTask: _note_task,
        m.CancelUpstream: _cancel_upstream,
        m.Doubt: _doubt,
        m.AnswerUpstream: _answer_upstream,
        m.Suspend: _suspend,
        m.Relay: _relay,
        m.AskClient: _ask,
        m.Write: _write,
        m.Finish: _finish,
        m.Refuse: _refuse,
        m.Abort: _abort,
    }
