"""The part of the machine that waits for reviewers: from the filing of an approval to its one use.

    file ──► (record the intent) ──► approved? ── claim ──► go
                                  └► await ──► decided, or the world changed ──► judged again ──► claim | refuse | file
                                         └───► the hold is over ──► a leg (modern client) or `approval_pending`

Every wake-up judges the call afresh: person, fingerprint and rules as they are now (the credential is opened when it
is forwarded). Fail closed: what was approved is used by a claim that one call gets; a call that nobody waits for any
more gives its approval back.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from callgate.call import park, state
from callgate.call.connecting import CONNECTING
from callgate.call.limiting import LIMITING
from callgate.call.model import (
    Abort,
    AwaitApproval,
    CannotGoOn,
    ClaimApproval,
    Claimed,
    ClaimLeg,
    Decided,
    Effects,
    FileApproval,
    Filed,
    Finish,
    HoldOver,
    KeepAlive,
    KeepArguments,
    Refuse,
    Relay,
    ReleaseApproval,
    Request,
    StillWaiting,
    Target,
    Waiting,
)
from callgate.call.place import Place
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.approval import APPROVED, CANCELLED, DENIED, EXPIRED, PENDING, VOID, Approval
from callgate.model.rule import Decision

FILING, PARKED, CLAIMING = "filing", "parked", "claiming"
WAITING = frozenset({FILING, PARKED, CLAIMING, LIMITING})


class Parking:
    """What a `Call` does about approvals."""

    request: Request
    phase: str
    _snapshot: Snapshot
    _place: Place
    _target: Target | None
    _waiting: Waiting | None
    _decision: Decision

    def __init__(self) -> None:
        self._approval: Approval | None = None
        self._awaited = ""  # id of the approval that the driver watches
        self._granted = False  # by an approval that this call, or an earlier leg of it, has used
        self._leg_claimed = False
        self._on_record = False
        self._leg = 0

    if TYPE_CHECKING:

        def _waited(self) -> Effects: ...

        def _judge(self) -> None: ...

        def _go_on(self) -> Effects: ...

        def _send(self) -> Effects: ...

        def _limits_due(self) -> Effects: ...

        def _record_start(self) -> Effects: ...

        def _wait(self, **more: Any) -> Waiting: ...

        def _close(self, outcome: str, last: Finish | Refuse | Abort, code: str = "") -> Effects: ...

    @property
    def _needs_approval(self) -> bool:
        return bool(self._decision.approvals) and not self._granted

    @property
    def _continues(self) -> bool:
        """Whether this is a later leg of a call that the upstream has heard of."""
        before = self._waiting
        return before is not None and (before.upstream_state is not None or before.exchange is not None)

    def _leg_due(self) -> Effects:
        """An approval is good for one call, so each leg of an approved one goes on once: whoever brings its state again
        needs another approval."""
        if not (self._granted and self._continues and self._waiting is not None) or self._leg_claimed:
            return ()
        self.phase = CLAIMING
        return (ClaimLeg(self._waiting.call),)

    def _file(self) -> Effects:
        """Ask for the approval that the rules want now."""
        assert self._target is not None  # noqa: S101  resolved before anything is decided
        self.phase = FILING
        return (FileApproval(park.ask(self.request, self._target, self._decision, self._place.mac)),)

    def _kept(self) -> Effects:
        """The arguments of a call that rules stop, where the tenant chose to keep them for another look."""
        seconds, decision = self._snapshot.keep_arguments_s, self._decision
        if not seconds or decision.rule is None or decision.effect not in ("deny", "require_approval"):
            return ()
        return (KeepArguments(bytes(self.request.params.get("arguments") or b"{}"), seconds),)

    def _filed(self, event: Filed) -> Effects:
        if self.phase != FILING:
            return ()
        self._approval = event.approval
        return self._parked(event.approval) if self._on_record else self._record_start()

    def _decided(self, event: Decided) -> Effects:
        """Something changed while the call was parked: it is judged as if it came now."""
        if self.phase != PARKED:
            return ()
        self._snapshot = event.snapshot
        self.request = msgspec.structs.replace(self.request, caller=event.caller)
        self._approval = event.approval
        try:
            self._judge()
        except Refused as refused:
            return self._give_up(VOID, "refused", refused)
        return self._parked(event.approval)

    def _parked(self, approval: Approval) -> Effects:
        """What follows from the state of the approval, and from what the rules ask for now."""
        if not self._needs_approval:
            return (*self._freed(VOID), *self._go_on())
        assert self._target is not None  # noqa: S101  as in `_file`
        wanted = park.ask(self.request, self._target, self._decision, self._place.mac)
        if approval.bound != wanted.bound:
            return (*self._freed(VOID), *self._file())
        if approval.state == APPROVED:
            due = self._limits_due()
            if due:
                return due
            self.phase = CLAIMING
            return (ClaimApproval(approval),)
        if approval.state in (DENIED, EXPIRED):
            refused = park.refusal(approval)
            return self._close("refused", Refuse(refused), refused.code)
        if approval.state != PENDING:  # another call has used it, or it was withdrawn
            return self._file()
        self.phase = PARKED
        if self._awaited == approval.id:
            return ()
        self._awaited = approval.id
        return (AwaitApproval(approval),)

    def _claimed(self, event: Claimed) -> Effects:
        if self.phase != CLAIMING:
            return ()
        self._granted = self._leg_claimed = event.ok
        return self._send() if event.ok else self._file()

    def _still_waiting(self, event: StillWaiting) -> Effects:
        if self.phase not in (PARKED, CONNECTING):
            return ()
        token = self.request.progress_token
        if not token:
            return (KeepAlive(),)
        count = self._leg * 1000 + event.count  # each leg goes on above the one before
        said = park.FOR_ACCOUNT if self.phase == CONNECTING else park.FOR_REVIEWER
        return (Relay("notifications/progress", park.progress(token, count, said)),)

    def _hold_over(self, _: object) -> Effects:
        """The client will not wait longer: it is sent on another round, or told to call again."""
        if self.phase == CONNECTING:
            return self._waited()
        if self.phase != PARKED or self._approval is None:
            return ()
        if park.takes_legs(self.request, self._leg):
            waiting = self._wait(leg=self._leg + 1)
            sealed = state.seal(self._place.sealer, waiting)
            return self._close("input_required", Finish("result", park.leg(sealed)), "approval_pending")
        refused = park.pending(self._approval)
        return self._close("refused", Refuse(refused), refused.code)

    def _cannot_go_on(self, event: CannotGoOn) -> Effects:
        """The store is away, or the person is not who they were."""
        if self.phase not in (*WAITING, CONNECTING):
            return ()
        return self._give_up(CANCELLED, "refused", event.refused)

    def _give_up(self, state_: str, outcome: str, refused: Refused) -> Effects:
        return (*self._freed(state_), *self._end_parked(outcome, refused))

    def _end_parked(self, outcome: str, refused: Refused) -> Effects:
        """End a call that waits; one that is not on record yet gets both records."""
        start = () if self._on_record else self._record_start()
        return (*start, *self._close(outcome, Refuse(refused), refused.code))

    def _freed(self, state_: str) -> Effects:
        if self._approval is None or self._granted or not park.alive(self._approval):
            return ()
        return (ReleaseApproval(self._approval, state_),)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Effects]]] = {
        Filed: _filed,
        Decided: _decided,
        Claimed: _claimed,
        StillWaiting: _still_waiting,
        HoldOver: _hold_over,
        CannotGoOn: _cannot_go_on,
    }
