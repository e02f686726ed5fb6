"""admit: how much one caller may have in flight (body size and JSON depth are refused while the body is read).

Fail closed: a caller at the limit is refused at once; nothing is queued.
"""

from callgate.errors import Refused
from callgate.model.caller import Caller

MAX_STREAMS = 64  # of one person on one replica


class Slots:
    """Counts the calls in flight (or the open streams) of each person on this replica."""

    def __init__(self, per_person: int) -> None:
        self._limit = per_person
        self._used: dict[tuple[str, str], int] = {}

    def take(self, caller: Caller) -> None:
        """Take a slot; raises `Refused("too_many_calls")`."""
        used = self._used.get(caller.key, 0)
        if used >= self._limit:
            raise Refused("too_many_calls", f"You have {used} calls in flight; wait for one to end.")
        self._used[caller.key] = used + 1

    def take_stream(self, caller: Caller) -> None:
        """The same where streams are counted; raises `Refused("too_many_streams")`."""
        try:
            self.take(caller)
        except Refused:
            raise Refused("too_many_streams") from None

    def give_back(self, caller: Caller) -> None:
        """Free the slot that `take` took."""
        used = self._used.get(caller.key, 0) - 1
        if used > 0:
            self._used[caller.key] = used
        else:
            self._used.pop(caller.key, None)

    @property
    def total(self) -> int:
        return sum(self._used.values())
