"""What one replica has in flight: calls that can be cancelled, questions that wait for an answer, suspended exchanges.

Answers and cancels may arrive on any replica; `fleet.mail` carries them, sealed, to the one that holds the call.
Nothing here matters for longer than the call: kill the replica and only its own calls are lost (promise 8).
Fail closed: an answer for an unknown question is dropped; a suspended exchange that nobody resumes is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from callgate.call.model import InputRequest
from callgate.call.pipeline import Call
from callgate.call.state import LIFETIME, Sealer
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.fleet.snapshot import Snapshot
from callgate.mcp.remote import Begin, Remote
from callgate.model.caller import Caller
from callgate.upstreams.exchange import Exchange

MAX_SUSPENDED = 64  # exchanges of one person; one more ends the oldest
Beginner = Callable[[str, str, Begin], Awaitable[Exchange]]
CancelKey = tuple[str, str, str, bytes]  # tenant, person, session, raw request id


def cancel_key(caller: Caller, session: str | None, request_id: bytes) -> CancelKey:
    """What a handshake-era client names a call by when it cancels it. Ids are unique within a session alone; a client
    without one is told from others of its person by its token."""
    return (caller.tenant, caller.person, session or f"token {caller.token}", request_id)


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What the id of a question to a client says, sealed."""

    replica: str
    tenant: str
    person: str
    call: str
    key: str


class CancelMail(msgspec.Struct, frozen=True, array_like=True):
    """A cancel on its way to the holding replica."""

    tenant: str
    person: str
    session: str
    request_id: bytes


class AnswerMail(msgspec.Struct, frozen=True, array_like=True):
    """An answer on its way to the holding replica. `reply` is raw `{"result":…}` or `{"error":…}`."""

    call: str
    key: str
    reply: bytes


@dataclass(slots=True)
class Suspended:
    """A live exchange that waits for a later leg of its call."""

    exchange: Exchange
    caller: Caller
    timer: asyncio.TimerHandle


_pack = msgspec.msgpack.Encoder().encode


class InFlight:
    """The registry of one replica."""

    def __init__(self, replica: str, mail: Mail, sealer: Sealer) -> None:
        self._replica = replica
        self._mail = mail
        self._sealer = sealer
        self._cancels: dict[CancelKey, Callable[[], None]] = {}
        self._answers: dict[str, Callable[[str, bytes], None]] = {}
        self._suspended: dict[str, Suspended] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: dict[Call, Callable[[], None]] = {}
        self.remote = Remote(replica, mail, self)
        self.beginner: Beginner | None = None  # set by the endpoint, which knows upstreams and credentials
        mail.on("cancel", self._on_cancel_mail)
        mail.on("answer", self._on_answer_mail)

    # -- kill switches -----------------------------------------------------------------------------------------------

    def begin_call(self, call: Call, cancel: Callable[[], None]) -> None:
        """A call is under way; `end_call` says that it is over."""
        self._running[call] = cancel

    def end_call(self, call: Call) -> None:
        self._running.pop(call, None)

    def on_change(self, snapshot: Snapshot) -> None:
        """End what a kill switch names."""
        if snapshot.kills.rules:
            for call, cancel in tuple(self._running.items()):
                if call.request.caller.tenant == snapshot.tenant and call.killed_by(snapshot.kills):
                    cancel()

    async def on_people(self, tenant: str, ended: Callable[[Caller], Awaitable[bool]]) -> None:
        """End what is under way for somebody who left, or whose token was revoked, also what waits for a later leg."""
        running = [call for call in self._running if call.request.caller.tenant == tenant]
        callers = {call.request.caller.token: call.request.caller for call in running}
        callers |= {kept.caller.token: kept.caller for kept in self._suspended.values() if kept.caller.tenant == tenant}
        gone = {token for token, caller in callers.items() if await ended(caller)}
        for call, cancel in tuple(self._running.items()):
            if call.request.caller.token in gone:
                cancel()
        for key, kept in tuple(self._suspended.items()):
            if kept.caller.token in gone:
                self._end(key)

    # -- cancellation ------------------------------------------------------------------------------------------------

    def register(self, key: CancelKey, cancel: Callable[[], None]) -> None:
        """Make a call cancellable."""
        self._cancels[key] = cancel

    def unregister(self, key: CancelKey, cancel: Callable[[], None]) -> None:
        """The call is over; a later one that took its id stays cancellable."""
        if self._cancels.get(key) == cancel:
            del self._cancels[key]

    async def cancel(self, key: CancelKey) -> None:
        """Cancel a call here, or tell the other replicas."""
        found = self._cancels.get(key)
        if found is not None:
            found()
            return
        await self._mail.broadcast("cancel", _pack(CancelMail(*key)))

    async def _on_cancel_mail(self, body: bytes) -> None:
        mail = msgspec.msgpack.decode(body, type=CancelMail)
        found = self._cancels.get((mail.tenant, mail.person, mail.session, mail.request_id))
        if found is not None:
            found()

    # -- questions to the client -------------------------------------------------------------------------------------

    def question_id(self, caller: Caller, call: str, question: InputRequest) -> str:
        """An unguessable id that tells any replica where the answer belongs."""
        sealed = Question(self._replica, caller.tenant, caller.person, call, question.key)
        return self._sealer.seal(_pack(sealed))

    def expect(self, call: str, answer: Callable[[str, bytes], None]) -> None:
        self._answers[call] = answer

    def unexpect(self, call: str) -> None:
        self._answers.pop(call, None)

    async def answer(self, caller: Caller, id_: str, reply: bytes) -> None:
        """A client's response to a question. Raises `Refused("invalid_params")` when it answers nothing of ours."""
        opened = self._sealer.open(id_)
        if opened is None:
            raise Refused("invalid_params", "This response answers no question of this gateway.")
        question = msgspec.msgpack.decode(opened, type=Question)
        if (question.tenant, question.person) != caller.key:
            raise Refused("invalid_params", "This response answers a question that was put to somebody else.")
        if question.replica == self._replica:
            self._deliver(question.call, question.key, reply)
        else:
            mail = AnswerMail(question.call, question.key, reply)
            await self._mail.send(question.replica, "answer", _pack(mail))

    async def _on_answer_mail(self, body: bytes) -> None:
        mail = msgspec.msgpack.decode(body, type=AnswerMail)
        self._deliver(mail.call, mail.key, mail.reply)

    def _deliver(self, call: str, key: str, reply: bytes) -> None:
        found = self._answers.get(call)
        if found is not None:
            found(key, reply)

    # -- suspended exchanges -----------------------------------------------------------------------------------------

    def suspend(self, key: str, caller: Caller, exchange: Exchange) -> None:
        """Keep an exchange for a later leg; ended when nobody comes back in time, or when its person keeps too many."""
        own = [other for other, kept in self._suspended.items() if kept.caller.key == caller.key]
        if len(own) >= MAX_SUSPENDED:
            self._end(own[0])
        timer = asyncio.get_running_loop().call_later(LIFETIME, self._end, key)
        self._suspended[key] = Suspended(exchange, caller, timer)

    def take(self, key: str, person: tuple[str, str]) -> Exchange:
        """The suspended exchange, once. Raises `Refused("invalid_params")` when it is gone."""
        found = self._suspended.get(key)
        if found is None or found.caller.key != person:
            raise Refused("invalid_params", "The call that this goes on with has ended; start it again.")
        del self._suspended[key]
        found.timer.cancel()
        return found.exchange

    async def begin(self, tenant: str, person: str, wanted: Begin) -> Exchange:
        """Start a request that another replica was asked for. Raises `Refused`."""
        if self.beginner is None:
            raise Refused("upstream_unavailable")
        return await self.beginner(tenant, person, wanted)

    def _end(self, key: str) -> None:
        """Nobody will answer the upstream any more: tell it to stop."""
        left = self._suspended.pop(key, None)
        if left is not None:
            left.timer.cancel()
            self.spawn(left.exchange.cancel())

    # -- background work ---------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the requests and keep hold of it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End background work and close what is suspended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        suspended, self._suspended = self._suspended, {}
        for left in suspended.values():
            left.timer.cancel()
            await left.exchange.aclose()
