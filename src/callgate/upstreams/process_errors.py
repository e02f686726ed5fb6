"""Outcomes of stdio children: why one was not started or why it can no longer be spoken to. Sentences hold no payload.

Fail closed: a start that is not known to have worked is an error.
"""

from dataclasses import dataclass

from callgate.errors import CallgateError


class ProcessError(CallgateError):
    """A sentence for the person who runs the upstream: what is wrong and, where it is known, what to do."""


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """How a child ended: `code` when it left by itself, `signal` when it was killed, neither when it is not known."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.code is not None:
            return f"The server's process ended with code {self.code}."
        if self.signal is not None:
            return f"The server's process was ended by signal {self.signal}."
        return "The server's process has ended."
