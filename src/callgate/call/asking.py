"""The part of the machine that takes questions of the upstream to the client, and the answers back, across the eras.

Fail closed: see `rounds`; a modern client's later leg finds a live exchange only by the sealed state that it was given.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from callgate.call import rounds, state, tasks
from callgate.call.connecting import FORWARDED, TICKET
from callgate.call.model import (
    Abort,
    AnswerUpstream,
    AskClient,
    Effects,
    Finish,
    Forward,
    InputRequest,
    InputsGiven,
    Refuse,
    Request,
    Suspend,
    Target,
    Waiting,
)
from callgate.call.place import Place
from callgate.errors import Refused
from callgate.upstreams.exchange import Ask
from callgate.wire import eras, jsonrpc

_SEALED_QUESTION = 4096  # bytes of a question's params that travel in the sealed state, so that it can be put again


class Asking:
    """What a `Call` does about questions."""

    request: Request
    phase: str
    _place: Place
    _target: Target | None
    _task: tasks.Task | None

    def __init__(self) -> None:
        self._questions = rounds.Questions()
        self._asked_in_round: tuple[InputRequest, ...] = ()
        self._upstream_state = b""
        self._rounds = 0

    if TYPE_CHECKING:

        def _page_answered(self, reply: bytes) -> Effects: ...

        def _shown(self, raw: bytes) -> bytes: ...

        def _named(self, params: bytes) -> bytes: ...

        def _wait(self, **more: Any) -> Waiting: ...

        def _close(self, outcome: str, last: Finish | Refuse | Abort, code: str = "") -> Effects: ...

    def _ask(self, event: Ask) -> Effects:
        if self.phase != FORWARDED:
            return ()
        question = InputRequest(rounds.MODERN_KEY, event.method, self._named(event.params or b"{}"))
        if not rounds.offered(event.method, self.request.capabilities, self.request.era):
            return (AnswerUpstream(event.id, rounds.NOT_OFFERED),)
        if self.request.era == eras.LEGACY:
            return (AskClient((self._questions.live(event.id, question),)),)
        key = self.request.id
        short = question if len(question.params) <= _SEALED_QUESTION else None
        waiting = self._wait(
            exchange=key, replica=self._place.replica, ask_id=event.id.decode("utf-8", "replace"), question=short
        )
        asked = rounds.input_required((question,), state.seal(self._place.sealer, waiting))
        return (Suspend(key), *self._close("input_required", Finish("result", asked)))

    def _inputs(self, event: InputsGiven) -> Effects:
        if TICKET in event.replies:
            return self._page_answered(event.replies[TICKET])
        if self.phase != FORWARDED or self._target is None:
            return ()
        live, complete = self._questions.answered(
            {key: tasks.own_again(self._task, self.request.name, reply) for key, reply in event.replies.items()}
        )
        if complete is None:
            return live
        again = rounds.retried(self._target, self._asked_in_round, complete, self._upstream_state)
        return (*live, Forward(again))

    def _input_required(self, raw: bytes) -> Effects:
        fields = jsonrpc.members(raw)
        upstream_state = bytes(fields.pop("requestState", b""))
        raw = self._shown(jsonrpc.joined(fields))  # the state is the server's own, and comes back to it
        questions, _ = rounds.asked(raw)
        for question in questions:
            if not rounds.offered(question.method, self.request.capabilities, eras.MODERN):
                raise Refused("upstream_invalid", "The server asked for input that your client does not offer.")
        if self.request.era == eras.MODERN:
            if not upstream_state:
                return self._close("input_required", Finish("result", raw))
            sealed = state.seal(self._place.sealer, self._wait(upstream_state=jsonrpc.text(upstream_state)))
            return self._close("input_required", Finish("result", rounds.with_state(raw, sealed)))
        self._rounds += 1
        if self._rounds > rounds.MAX_ROUNDS:
            raise Refused("upstream_invalid", f"The server still asked for input after {rounds.MAX_ROUNDS} rounds.")
        self._upstream_state, self._asked_in_round = upstream_state, questions
        if questions:
            return (AskClient(self._questions.round(questions)),)
        assert self._target is not None  # noqa: S101  set before anything is forwarded
        return (Forward(rounds.retried(self._target, (), {}, upstream_state)),)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Effects]]] = {Ask: _ask, InputsGiven: _inputs}
