"""authorize: open the credential at the last moment, for as long as the request takes.

Fail closed: a secret that is missing or does not open is `upstream_unavailable`; nothing is sent without it.
"""

from typing import Protocol

from callgate.call.model import Request, Target
from callgate.call.scopes import changes
from callgate.credentials.discovery import challenge_of
from callgate.credentials.granted import Opened
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.upstreams.exchange import Peer

RELAYED = frozenset({"roots", "sampling", "elicitation", "extensions", "experimental", "tasks"})


class Credentials(Protocol):
    """Opens the credential of a person for an upstream; `at_hand` if that takes no wait, else None; `again` another
    one, after the upstream refused the first."""

    def at_hand(self, upstream: Upstream, person: str, *, writes: bool = False) -> Opened | None: ...

    async def open(self, upstream: Upstream, person: str, *, writes: bool = False) -> Opened: ...

    async def again(self, upstream: Upstream, person: str, used: Opened, challenge: dict[str, str]) -> Opened: ...


async def authorize(credentials: Credentials, request: Request, target: Target) -> Peer:
    """Who asks the upstream, with the opened credential. Client headers and tokens are not part of it (promise 5).

    Raises `Refused`: connection_required, upstream_unavailable.
    """
    upstream, person = target.upstream, request.caller.person
    opened = await credentials.open(upstream, person, writes=changes(target))
    return peer_of(upstream, person, (target.session or request.session, request.capabilities), opened)


def authorize_at_hand(credentials: Credentials, request: Request, target: Target) -> Peer | None:
    """The same, if nothing has to be waited for; else None, also where `authorize` would refuse."""
    upstream, person = target.upstream, request.caller.person
    try:
        opened = credentials.at_hand(upstream, person, writes=changes(target))
    except Refused:
        return None
    if opened is None:
        return None
    return peer_of(upstream, person, (target.session or request.session, request.capabilities), opened)


async def authorize_again(
    credentials: Credentials, peer: Peer, target: Target, challenge: str
) -> Peer:  # fmt: skip
    """The same with another credential than the one that the upstream refused.

    Raises `Refused`: connection_required, credential_refused, upstream_unavailable.
    """
    used = Opened(peer.credential, peer.account)
    opened = await credentials.again(target.upstream, peer.person, used, challenge_of(challenge))
    return peer_of(target.upstream, peer.person, (peer.session, peer.capabilities), opened)


def peer_of(upstream: Upstream, person: str, client: tuple[str | None, bytes], opened: Opened) -> Peer:
    """A peer with an opened credential. `client`: the client's session and capabilities."""
    return Peer(upstream.tenant, person, *client, credential=opened.header, account=opened.account)
