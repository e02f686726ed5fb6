"""Sealed state for calls that go on in another request: modern `requestState` (2026-07-28, /basic/patterns/mrtr).

The client holds it and may tamper with it: it is sealed, binds tenant, person and a digest of the request, and expires.
Fail closed: what does not open, belongs to somebody else or to another request is refused.
"""

import hashlib
from typing import Protocol

import msgspec

from callgate import clock
from callgate.call.model import Request, Waiting
from callgate.errors import Refused
from callgate.fingerprints.canonical import Uncanonical, canonical

LIFETIME = 600.0  # seconds


class Sealer(Protocol):
    """Seals bytes to text that any replica with the same key file opens; None when it does not open."""

    def seal(self, data: bytes) -> str: ...

    def open(self, text: str) -> bytes | None: ...


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Waiting).decode


def digest(request: Request) -> str:
    """What a retry must have in common with the first request: method, name and arguments."""
    arguments = one_form(bytes(request.params.get("arguments") or b"null"))
    text = "\0".join((request.method, request.scope or "", request.name)).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text + b"\0" + arguments).hexdigest()


def one_form(arguments: bytes) -> bytes:
    """Arguments in canonical form; those without one have to come back as they were."""
    try:
        return canonical(arguments)
    except Uncanonical:
        return arguments


def seal(sealer: Sealer, waiting: Waiting) -> str:
    """The opaque text for the client."""
    return sealer.seal(_encode(waiting))


def unseal(sealer: Sealer, text: str) -> Waiting:
    """The inverse of `seal`. Raises `Refused("invalid_params")` for what is forged, foreign or expired."""
    opened = sealer.open(text)
    if opened is not None:
        waiting = _decode(opened)
        if waiting.expires > clock.now():
            return waiting
    raise Refused("invalid_params", "This requestState is not valid or has expired; start the call again.")


def check(waiting: Waiting, request: Request) -> None:
    """Refuse a state that another person or another request brings."""
    caller = request.caller
    same = (waiting.tenant, waiting.person, waiting.digest) == (caller.tenant, caller.person, digest(request))
    if not same:
        raise Refused("invalid_params", "This requestState belongs to another request; start the call again.")
