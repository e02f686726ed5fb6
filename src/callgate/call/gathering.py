"""The part of the machine that passes large answers on in pieces, or gathers those that have to be looked through.

Fail closed: what completes an answer is held until its outcome is on record; more than can be held is refused.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from callgate.call import inspect
from callgate.call.connecting import FORWARDED
from callgate.call.model import Abort, Charge, Effects, Finish, Refuse, Write
from callgate.errors import Refused
from callgate.upstreams.exchange import Answered, Ended, Piece

MAX_WHOLE = 16 * 1024 * 1024  # bytes of a value that is not passed on in pieces


class Gathering:
    """What a `Call` does with pieces."""

    phase: str

    def __init__(self) -> None:
        self._held: bytes | None = None
        self._whole: list[bytes] | None = None  # a large value that cannot be passed on in pieces
        self._written = 0
        self._gathers = False  # whether an answer is looked through before any of it goes on

    if TYPE_CHECKING:

        def _answered(self, event: Answered) -> Effects: ...

        def _charges(self, result: bytes) -> tuple[Charge, ...]: ...

        def _close(self, outcome: str, last: Finish | Refuse | Abort, code: str = "") -> Effects: ...

    def _piece(self, event: Piece) -> Effects:
        if self.phase != FORWARDED:
            return ()
        if event.special or self._whole is not None or self._gathers:
            self._keep(event.data)
            return ()
        held, self._held = self._held, event.data
        self._written += len(event.data)
        return (Write(held),) if held is not None else ()

    def _keep(self, data: bytes) -> None:
        """Gather a value that holds what must not reach the client as it is, such as the upstream's own state."""
        if self._whole is None:
            if self._begun:
                raise Refused("upstream_invalid", "The server asked for input in the middle of a large result.")
            self._whole, self._held = [self._held or b""], None
        self._whole.append(data)
        self._written += len(data)
        if self._written > MAX_WHOLE:
            raise Refused("upstream_too_large", f"What the server asks for is larger than {MAX_WHOLE} bytes.")

    def _ended(self, _: object) -> Effects:
        if self.phase != FORWARDED:
            return ()
        if self._whole is not None:
            return self._answered(Answered("result", b"".join(self._whole)))
        tail = self._held or b""
        return (*self._charges(b""), *self._close(inspect.streamed_outcome(tail), Finish("result", tail)))

    @property
    def _begun(self) -> bool:
        """Whether the client has got a part of the answer."""
        return self._held is not None and self._written > len(self._held)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Effects]]] = {Piece: _piece, Ended: _ended}
