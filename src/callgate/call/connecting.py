"""The part of the machine for a call whose person has no working account at the upstream yet.

    open the credential ──► missing ──► can be shown a page? ── ask, wait ──► connected ──► judged again ──► send
                                                └──► a sentence with the link

A client that takes URL elicitation is asked to show the page (2026-07-28 and 2025-11-25, /client/elicitation, "URL
Mode"); others get a sentence that a model can pass on. A credential that the upstream refuses is replaced once.
Fail closed: the upstream hears of the call only with the person's own credential, and after the call was judged as
things are then; nothing is tried a third time.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from callgate.call import park, rounds, state
from callgate.call.model import (
    Abort,
    AskClient,
    AwaitConnection,
    Connected,
    Effects,
    Finish,
    Forward,
    InputRequest,
    Refuse,
    Request,
    StartFailed,
    Target,
    Waiting,
)
from callgate.call.place import Place
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.upstream import NONE
from callgate.upstreams.exchange import Failed
from callgate.wire import eras, jsonrpc

FORWARDED, CONNECTING = "forwarded", "connecting"
REQUIRED, CREDENTIAL = "connection_required", "credential_refused"
TICKET = "connect"  # the key of our question; those of upstreams are numbers
_ELICIT = "elicitation/create"


class Connecting:
    """What a `Call` does about accounts."""

    request: Request
    phase: str
    _snapshot: Snapshot
    _place: Place
    _target: Target | None
    _waiting: Waiting | None
    _sent_at: int
    _leg: int

    def __init__(self) -> None:
        self._replaced = False  # the credential was replaced once
        self._lacking: Refused | None = None
        self._page_shown = False  # on an earlier leg, and the person went there
        self._page_declined = False

    if TYPE_CHECKING:

        @property
        def _needs_approval(self) -> bool: ...

        def _judge(self) -> None: ...

        def _send(self) -> Effects: ...

        def _fail(self, refused: Refused) -> Effects: ...

        def _wait(self, **more: Any) -> Waiting: ...

        def _close(self, outcome: str, last: Finish | Refuse | Abort, code: str = "") -> Effects: ...

    def _failed(self, event: Failed) -> Effects:
        if self.phase != FORWARDED:
            return ()
        if event.code == CREDENTIAL:
            return self._replace_credential(event)
        return self._fail(Refused(event.code, event.detail))

    def _start_failed(self, event: StartFailed) -> Effects:
        if self.phase != FORWARDED:
            return ()
        if event.refused.code == REQUIRED:
            return self._lacks(event.refused)
        challenge = event.refused.data.get("challenge")
        if event.refused.code == CREDENTIAL and isinstance(challenge, str):
            return self._replace_credential(Failed(CREDENTIAL, event.refused.detail, challenge=challenge))
        return self._fail(event.refused)

    def _replace_credential(self, event: Failed) -> Effects:
        """The upstream did not take the credential, and did nothing: once more with a fresh one."""
        if self._target is None or _unauthenticated(self._target):
            return self._fail(Refused("upstream_unavailable", event.detail))
        if self._replaced:
            return self._fail(Refused(CREDENTIAL))
        self._replaced = True
        return (Forward(self._target, challenge=event.challenge or "Bearer"),)

    def _lacks(self, refused: Refused) -> Effects:
        """Nobody can make this call without connecting their account first."""
        assert self._target is not None  # noqa: S101  set before anything is forwarded
        link = self._place.connect(self.request.caller.tenant, self._target.upstream.name)
        sentence = f"{refused.sentence} Ask the person you work for to open {link}, then call again."
        self._lacking = Refused(refused.code, sentence, {**refused.data, "url": link})
        self._sent_at = 0  # the upstream has heard nothing
        if self._page_shown:
            return self._await()
        if self._page_declined or not _shows_pages(self.request):
            return self._close("refused", Refuse(self._lacking), REQUIRED)
        question = InputRequest(TICKET, _ELICIT, _page(self.request.id, link, self._target.upstream.name))
        if self.request.era == eras.MODERN:
            asked = rounds.input_required((question,), state.seal(self._place.sealer, self._wait(connecting=True)))
            return self._close("input_required", Finish("result", asked), REQUIRED)
        return (AskClient((question,)), *self._await())

    def _await(self) -> Effects:
        assert self._target is not None  # noqa: S101  as in `_lacks`
        self.phase = CONNECTING
        return (AwaitConnection(self._target),)

    def _page_answered(self, reply: bytes) -> Effects:
        """What the client said of the page: went there, or would not."""
        if self.phase != CONNECTING or went_there(reply):
            return ()
        return self._not_connected()

    def _not_connected(self) -> Effects:
        refused = self._lacking or Refused(REQUIRED)
        return self._close("refused", Refuse(refused), refused.code)

    def _connected(self, event: Connected) -> Effects:
        """The account is there: the call is judged as if it came now."""
        if self.phase != CONNECTING:
            return ()
        self._snapshot = event.snapshot
        self.request = msgspec.structs.replace(self.request, caller=event.caller)
        try:
            self._judge()
        except Refused as refused:
            return self._close("refused", Refuse(refused), refused.code)
        if self._needs_approval:
            return self._close("refused", Refuse(Refused("approval_pending")), "approval_pending")
        return self._send()

    def _waited(self) -> Effects:
        """The client will not wait longer: another round, or a sentence."""
        if not park.takes_legs(self.request, self._leg):
            return self._not_connected()
        waiting = self._wait(connecting=True, page_shown=True, leg=self._leg + 1)
        sealed = state.seal(self._place.sealer, waiting)
        return self._close("input_required", Finish("result", park.leg(sealed)), REQUIRED)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Effects]]] = {
        Connected: _connected,
        Failed: _failed,
        StartFailed: _start_failed,
    }


def _unauthenticated(target: Target) -> bool:
    """Whether the upstream is called without any credential, so that none can be replaced."""
    return target.upstream.auth_mode == NONE and not target.upstream.auth.writes


def went_there(reply: bytes) -> bool:
    """Whether an answer to the page says that the person opened it."""
    result = jsonrpc.members(reply).get("result", reply)
    return jsonrpc.text(jsonrpc.members(result).get("action", b"")) == "accept"


def _shows_pages(request: Request) -> bool:
    """Whether the client declared that it can show a page, and can be asked in the middle of this request."""
    elicitation = jsonrpc.members(request.capabilities).get("elicitation", b"")
    asks = request.era == eras.LEGACY or request.method in eras.INPUT_METHODS
    return asks and "url" in jsonrpc.members(elicitation or b"{}")


def _page(call: str, link: str, upstream: str) -> bytes:
    return jsonrpc.encoded(
        {
            "mode": "url",
            "elicitationId": call,
            "url": link,
            "message": f"Connect your account at {upstream}, so that the call can go on.",
        }
    )
