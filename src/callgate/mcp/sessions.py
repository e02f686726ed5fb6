"""Handshake-era sessions as sealed tokens: any replica opens them, none remembers them.

A session holds what only `initialize` says: revision, client capabilities and info. It binds the person and expires.
Fail closed: what does not open, has ended or belongs to somebody else is `session_not_found`, so that the client
initializes again. Source: 2025-11-25, streamable HTTP, "Session Management".
"""

import msgspec

from callgate import clock
from callgate.call.state import Sealer
from callgate.errors import Refused
from callgate.model.caller import Caller

LIFETIME = 7 * 24 * 3600.0  # seconds


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What one `initialize` said. `capabilities` is raw JSON."""

    id: str
    tenant: str
    person: str
    version: str
    capabilities: bytes
    client: str
    expires: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Session).decode


class Sessions:
    """Mints and opens session tokens; keeps the few that were ended before their time."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._ended: dict[str, float] = {}

    def mint(self, caller: Caller, version: str, capabilities: bytes, client: str) -> tuple[Session, str]:
        """A new session and its token for `Mcp-Session-Id`."""
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
        opened = self._sealer.open(token)
        if opened is None:
            raise Refused("session_not_found")
        session = _decode(opened)
        own = session.tenant == caller.tenant and session.person == caller.person
        if not own or session.expires < clock.now() or session.id in self._ended:
            raise Refused("session_not_found")
        return session

    def end(self, session_id: str) -> None:
        """Forget a session that a client ended (DELETE), here; the caller tells the other replicas."""
        now = clock.now()
        self._ended = {key: until for key, until in self._ended.items() if until > now}
        self._ended[session_id] = now + LIFETIME
