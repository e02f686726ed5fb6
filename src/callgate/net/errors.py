"""What can go wrong on the way out. One error per outcome, each with a sentence a person can act on.

`request_sent` is the fact that callers need most: False means that not one byte of the request was handed to the
kernel, so that sending it again repeats nothing. True means that the other side may have acted on it.
"""

from callgate.errors import CallgateError


class EgressError(CallgateError):
    """Base of all outbound failures; `str()` gives a sentence without payload, header values or secrets."""

    def __init__(self, sentence: str, *, request_sent: bool = False) -> None:
        super().__init__(sentence)
        self.request_sent = request_sent


class EgressRefused(EgressError):
    """The address or URL is not one that this gateway may reach. Nothing was sent."""

    @property
    def reason(self) -> str:
        return str(self)


class ResolveFailed(EgressError):
    """The host name has no address."""


class ConnectFailed(EgressError):
    """No connection could be opened to any of the checked addresses."""


class TlsFailed(EgressError):
    """The TLS handshake or the check of the certificate failed."""


class PoolFull(EgressError):
    """Too many requests wait for a connection; the bounds are in `PoolBounds`."""


class EgressTimeout(EgressError):
    """A limit of time was reached. `phase` is `connect`, `first_byte`, `idle` or `total`."""

    def __init__(self, phase: str, seconds: float, *, request_sent: bool) -> None:
        super().__init__(_TIMEOUTS[phase].format(seconds=seconds), request_sent=request_sent)
        self.phase = phase


_TIMEOUTS = {
    "connect": "No connection within {seconds:g} s.",
    "first_byte": "No complete answer head within {seconds:g} s.",
    "idle": "The answer stopped: no byte for {seconds:g} s.",
    "total": "The answer was not complete within {seconds:g} s.",
}


class PeerClosed(EgressError):
    """The other side closed the connection before the answer was complete.

    `before_response` says that no byte of an answer had come, as with a keep-alive connection that the server gave up.
    """

    def __init__(self, *, before_response: bool, request_sent: bool = True) -> None:
        where = "before it answered" if before_response else "in the middle of its answer"
        super().__init__(f"The server closed the connection {where}.", request_sent=request_sent)
        self.before_response = before_response


class BadAnswer(EgressError):
    """The answer is not valid HTTP/1.1, or is of a kind that this client does not take."""

    def __init__(self, sentence: str, *, request_sent: bool = True) -> None:
        super().__init__(sentence, request_sent=request_sent)


class AnswerTooLarge(EgressError):
    """The answer's head or body is over its cap."""

    def __init__(self, what: str, cap: int) -> None:
        super().__init__(f"The answer's {what} is larger than {cap} bytes.", request_sent=True)
