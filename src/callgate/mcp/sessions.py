"""Handshake-era sessions as sealed tokens: any replica opens them, none remembers them.

A session holds what only `initialize` says: revision, client capabilities and info. It binds the person and expires.
Fail closed: what does not open, has ended or belongs to somebody else is `session_not_found`, so that the client
initializes again. Source: 2025-11-25, streamable HTTP, "Session Management".
"""

from typing import TypeVar

import msgspec

from callgate import clock
from callgate.call.state import Sealer
from callgate.errors import Refused
from callgate.model.caller import Caller

LIFETIME = 7 * 24 * 3600.0  # seconds
MAX_CAPABILITIES = 4096  # bytes: they travel in a header
_REMEMBERED = 10_000  # tokens that were opened, sessions that were ended, and that set a log level


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What one `initialize` said. `capabilities` is raw JSON."""

    id: str
    tenant: str
    person: str
    version: str
    capabilities: bytes
    client: str
    expires: float


T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Session).decode


class Sessions:
    """Mints and opens session tokens; remembers those it opened, the few that were ended before their time, and log
    levels."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._opened: dict[str, Session] = {}  # by token: clients send the same one with each request
        self._ended: dict[str, None] = {}
        self._levels: dict[str, str] = {}

    def mint(self, caller: Caller, version: str, capabilities: bytes, client: str) -> tuple[Session, str]:
        """A new session and its token for `Mcp-Session-Id`. Raises `Refused("invalid_params")`."""
        if len(capabilities) > MAX_CAPABILITIES:
            raise Refused("invalid_params", f"The capabilities are longer than {MAX_CAPABILITIES} bytes.")
        session = Session(
            id=clock.random_urlsafe(12),
            tenant=caller.tenant,
            person=caller.person,
            version=version,
            capabilities=capabilities,
            client=client[:100],
            expires=clock.now() + LIFETIME,
        )
        return session, self._sealer.seal(_encode(session))

    def open(self, token: str, caller: Caller) -> Session:
        """The session behind a token. Raises `Refused("session_not_found")`."""
        session = self._opened.get(token) or self._unsealed(token)
        own = session.tenant == caller.tenant and session.person == caller.person
        if not own or session.expires < clock.now() or session.id in self._ended:
            raise Refused("session_not_found")
        return session

    def _unsealed(self, token: str) -> Session:
        opened = self._sealer.open(token)
        if opened is None:
            raise Refused("session_not_found")
        session = _decode(opened)
        _remember(self._opened, token, session)
        return session

    def end(self, session_id: str) -> None:
        """Forget a session that a client ended (DELETE), here; the caller tells the other replicas."""
        self._levels.pop(session_id, None)
        _remember(self._ended, session_id, None)

    def set_level(self, session_id: str, level: str) -> None:
        """The least severe log messages that the client of a session wants to hear; likewise here."""
        _remember(self._levels, session_id, level)

    def level(self, session: Session | None) -> str | None:
        """The level of a session, None when its client set none."""
        return self._levels.get(session.id) if session is not None else None


def _remember(known: dict[str, T], key: str, value: T) -> None:
    """Keep the latest; clients choose how many there are."""
    known.pop(key, None)
    known[key] = value
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]
