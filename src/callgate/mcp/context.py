"""What the endpoint is given by the composition root: ports and services, no configuration of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from callgate.approvals.kept import Kept
from callgate.approvals.requests import Approvals
from callgate.audit.writer import Recorder
from callgate.call.admit import Slots
from callgate.call.authorize import Credentials
from callgate.call.identify import Identities
from callgate.call.place import Place
from callgate.call.state import Sealer
from callgate.fleet.counters import Counters
from callgate.fleet.mail import Mail
from callgate.fleet.sync import Fleet
from callgate.mcp.inflight import InFlight
from callgate.mcp.recording import Deadlines
from callgate.model.caller import Caller
from callgate.settings import Settings
from callgate.upstreams.pool import Upstreams


class SessionNotes(Protocol):
    """Small facts about handshake-era sessions that every replica must find: which resources they subscribed to."""

    async def put(self, tenant: str, session: str, key: str, lifetime: float) -> None: ...

    async def all(self, tenant: str, session: str) -> tuple[str, ...]: ...

    async def remove(self, tenant: str, session: str, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class MCPContext:
    """Everything one replica's MCP endpoint works with."""

    settings: Settings
    fleet: Fleet
    identities: Identities
    recorder: Recorder
    upstreams: Upstreams
    credentials: Credentials
    approvals: Approvals
    counters: Counters
    kept: Kept
    place: Place
    mail: Mail
    slots: Slots
    inflight: InFlight
    session_sealer: Sealer
    cursor_sealer: Sealer
    question_sealer: Sealer
    notes: SessionNotes
    stopping: asyncio.Event
    deadlines: Deadlines = field(default_factory=Deadlines)
    anonymous: Callable[[], Awaitable[Caller]] | None = None
