"""The part of the machine that takes limits: the last gate before the upstream, and before an approval is used.

Fail closed: a limit that is reached ends the call, or has it approved where the rule says so; what cannot be counted
does not go on.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from callgate.call import limit
from callgate.call.model import (
    Abort,
    Charge,
    Effects,
    Finish,
    LimitReached,
    LimitsTaken,
    Refuse,
    Request,
    TakeLimits,
    Target,
)
from callgate.call.place import Place
from callgate.model.limit import Take
from callgate.model.rule import Decision, Rule

LIMITING = "limiting"


class Limiting:
    """What a `Call` does about limits."""

    request: Request
    phase: str
    _place: Place
    _target: Target | None
    _decision: Decision

    def __init__(self) -> None:
        self._takes: tuple[Take, ...] | None = None  # what was taken
        self._exceeded: tuple[Rule, ...] = ()  # rules that want an approval since their limit is reached
        self._cost = 0

    if TYPE_CHECKING:

        @property
        def _continues(self) -> bool: ...

        def _file(self) -> Effects: ...

        def _go_on(self) -> Effects: ...

        def _close(self, outcome: str, last: Finish | Refuse | Abort, code: str = "") -> Effects: ...

    def _over_limit(self, decision: Decision) -> Decision:
        """The decision together with what limits that are reached ask for."""
        if not self._exceeded or decision.effect == "deny":
            return decision
        first = self._exceeded[0]
        named = decision if decision.approvals else msgspec.structs.replace(
            decision, effect="require_approval", rule=first.id, title=first.title, message=first.message
        )  # fmt: skip
        over = {rule.id for rule in self._exceeded}
        return msgspec.structs.replace(
            named,
            approvals=(*named.approvals, *self._exceeded),
            limits=tuple(rule for rule in named.limits if rule.id not in over),
        )

    def _limits_due(self) -> Effects:
        """Take what this call needs of the limits, once; nothing where it needs none."""
        if self._takes is not None or not self._decision.limits or self._continues:
            return ()
        assert self._target is not None  # noqa: S101  resolved before anything is decided
        self.phase = LIMITING
        return (TakeLimits(limit.takes(self._decision.limits, self.request, self._target, self._place.mac)),)

    def _limits_taken(self, event: LimitsTaken) -> Effects:
        if self.phase != LIMITING:
            return ()
        self._takes = event.takes
        return self._go_on()

    def _limit_reached(self, event: LimitReached) -> Effects:
        if self.phase != LIMITING:
            return ()
        rule = next(rule for rule in self._decision.limits if rule.id == event.rule)
        if rule.effect == "require_approval":
            self._exceeded = (*self._exceeded, rule)
            self._decision = self._over_limit(self._decision)
            return self._file()
        refused = limit.reached(rule, event.retry_s)
        return self._close("refused", Refuse(refused), refused.code)

    def _charges(self, result: bytes) -> tuple[Charge, ...]:
        """What the call turned out to cost beyond what was taken."""
        found: list[Charge] = []
        for take in self._takes or ():
            rule = next((rule for rule in self._decision.limits if rule.id == take.rule), None)
            if rule is None or take.kind != "cost":
                continue
            cost = limit.cost(rule, result)
            self._cost = max(self._cost, cost)
            if cost != take.amount:
                found.append(Charge(take, cost - take.amount))
        return tuple(found)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Effects]]] = {
        LimitsTaken: _limits_taken,
        LimitReached: _limit_reached,
    }
