"""authorize: open the credential at the last moment, for as long as the request takes.

Fail closed: a secret that is missing or does not open is `upstream_unavailable`; nothing is sent without it.
"""

from typing import Protocol

from callgate.call.model import Request, Target
from callgate.model.upstream import Upstream
from callgate.upstreams.exchange import Peer

RELAYED = frozenset({"roots", "sampling", "elicitation", "extensions", "experimental", "tasks"})


class Credentials(Protocol):
    """Opens the credential for an upstream: header name and value, or None where the mode is `none`."""

    async def open(self, tenant: str, upstream_id: str) -> tuple[str, str] | None: ...


async def authorize(credentials: Credentials, request: Request, target: Target) -> Peer:
    """Who asks the upstream, with the opened credential. Client headers and tokens are not part of it (promise 5)."""
    session = target.session or request.session
    return await peer_for(credentials, target.upstream, request.caller.person, session, request.capabilities)


async def peer_for(
    credentials: Credentials, upstream: Upstream, person: str, session: str | None, capabilities: bytes
) -> Peer:
    """The same for a person by id."""
    opened = None
    if upstream.auth_mode != "none":
        opened = await credentials.open(upstream.tenant, upstream.id)
    return Peer(
        tenant=upstream.tenant, person=person, session=session, capabilities=capabilities, credential=opened
    )  # fmt: skip
