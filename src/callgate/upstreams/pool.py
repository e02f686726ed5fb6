"""Finds or opens the conversation with an upstream for a peer, and starts exchanges on it.

Keyed by upstream, its identity, the credential and the declared capabilities; handshake-era conversations also by the
client's session and the person, stdio processes by the person: neither is ever shared between people, since a hostile
peer could answer one while serving the other. Opened once however many wait.
Fail closed: what cannot be opened is a refusal with the reason; nothing is ever sent to another upstream instead.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.net.errors import EgressRefused
from callgate.net.exchange import Limits
from callgate.net.policy import Network, TargetPolicy
from callgate.net.pool import Pool
from callgate.net.target import parse_target
from callgate.upstreams import facts
from callgate.upstreams.conversation import Conversation
from callgate.upstreams.duplex import DuplexConversation
from callgate.upstreams.exchange import Exchange, Peer, Sent
from callgate.upstreams.follow import NothingToHear, listen
from callgate.upstreams.http import HttpConversation
from callgate.upstreams.inbox import whole
from callgate.upstreams.legacy_sse import SseChannel
from callgate.upstreams.opening import FULL_CAPABILITIES, discovered, open_channel, open_http
from callgate.upstreams.place import Place
from callgate.upstreams.ports import Opener, Spawner
from callgate.upstreams.routing import UPDATED, OnNotice
from callgate.wire import eras

IDLE_SECONDS = 300.0
SWEEP_SECONDS = 15.0
QUIET_SECONDS = 60.0
MAX_CHILDREN = 32  # of one stdio upstream
MAX_SESSIONS = 128  # of one HTTP upstream of the handshake era: each may hold a stream open
CONNECT_SECONDS = 10.0
DISCOVERY = "#discovery"  # the person of the gateway's own conversations
Key = tuple[str | bytes | int, ...]
_KEY = clock.random_bytes(32)  # of this process: no hash of a credential means anything elsewhere


class _Held:
    """A conversation, when it was opened and when it was last used."""

    __slots__ = ("conversation", "opened", "used")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.opened = self.used = clock.monotonic()


class Upstreams:
    """All conversations of one replica."""

    def __init__(
        self, pool: Pool, networks: tuple[Network, ...], max_result: int, credentials: Opener, children: Spawner
    ) -> None:
        self._pool = pool
        self._networks = networks
        self._max_result = max_result
        self._credentials = credentials
        self._children = children
        self._eras: dict[Key, str] = {}
        self._held: dict[Key, _Held] = {}
        self._opening: dict[Key, asyncio.Task[Conversation]] = {}
        self._started: dict[str, float] = {}  # stdio upstream → when a process was last started for a person
        self._sweeper: asyncio.Task[None] | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()
        # called when a client's conversation, not discovery's own, hears that a list has changed
        self.on_change: Callable[[Upstream, str], None] | None = None
        # called when an upstream refused the credential that the gateway itself looked with; raises `Refused`
        self.on_refused: Callable[[Upstream, str], Awaitable[None]] | None = None

    # -- calls ---------------------------------------------------------------------------------------------------

    async def start(self, upstream: Upstream, peer: Peer, sent: Sent) -> Exchange:
        """Start one request. Raises `Refused`: upstream_unavailable, upstream_timeout, upstream_invalid."""
        conversation = await self.conversation(upstream, peer)
        conversation.carry(peer.credential)
        if sent.log_level is not None and conversation.needs_level(sent.log_level):
            await conversation.set_level(sent.log_level)
        if conversation.era == eras.MODERN and isinstance(conversation, DuplexConversation):
            sent = msgspec.structs.replace(sent, capabilities=peer.capabilities)  # one process, many requests
        return conversation.start(sent)

    def known(self, upstream: Upstream) -> bool:
        """Whether this replica has spoken with the upstream as it is now."""
        return _base(upstream) in self._eras

    def warm(self, upstream: Upstream, peer: Peer) -> Conversation | None:
        """The conversation on which a request can be started without waiting for anything, if there is one."""
        era = self._eras.get(_base(upstream))
        if era is None:
            return None
        held = self._held.get(_key(upstream, peer, era))
        if held is None or held.conversation.lost:
            return None
        held.used = clock.monotonic()
        return held.conversation

    async def conversation(self, upstream: Upstream, peer: Peer) -> Conversation:
        """The open conversation for a peer, opened now if there is none. While the era is unknown, one opens first."""
        while True:
            warm = self.warm(upstream, peer)
            if warm is not None:
                return warm
            era = self._eras.get(_base(upstream))
            key = _base(upstream) if era is None else _key(upstream, peer, era)
            task = self._opening.get(key)
            if task is None:
                task = self._opening[key] = asyncio.ensure_future(self._open(upstream, peer, era))
                task.add_done_callback(lambda _, key=key: self._opening.pop(key, None))  # type: ignore[misc]
                return await asyncio.shield(task)
            opened = await asyncio.shield(task)
            if era is not None:
                return opened

    async def _open(self, upstream: Upstream, peer: Peer, era: str | None) -> Conversation:
        base = _base(upstream)
        try:
            conversation = await self._opened(upstream, peer, era)
        except Refused as refused:
            self._eras.pop(base, None)  # what was remembered may be out of date: the upstream was replaced
            if era is None or refused.code != "upstream_invalid" or upstream.kind != "http":
                raise
            conversation = await self._opened(upstream, peer, None)
        self._eras[base] = conversation.era
        key = _key(upstream, peer, conversation.era)
        old = self._held.get(key)
        self._held[key] = _Held(conversation)
        if old is not None:
            self._say_goodbye(old.conversation)
        self._attach(upstream, peer, conversation)
        self._keep_sweeping()
        if upstream.kind == "stdio" and peer.person != DISCOVERY:
            self._started[upstream.id] = clock.monotonic()
            self.suspect(upstream)  # whatever is at this path now runs from here on: it has to be looked at
        return conversation

    def _attach(self, upstream: Upstream, peer: Peer, conversation: Conversation) -> None:
        """Let the conversation tell what concerns others: changed lists, a forgotten session, a wrong era."""
        if peer.person != DISCOVERY:
            conversation.router.changed = lambda method, _: self.on_change and self.on_change(upstream, method)
        if isinstance(conversation, HttpConversation):
            line = conversation
            line.reopen = lambda: self._reopened(
                upstream, msgspec.structs.replace(peer, credential=line.place.credential)
            )
            conversation.doubt = lambda: self._eras.pop(_base(upstream), None)

    async def _reopened(self, upstream: Upstream, peer: Peer) -> HttpConversation:
        conversation = await self.conversation(upstream, peer)
        if not isinstance(conversation, HttpConversation):
            raise Refused("upstream_unavailable")
        return conversation

    async def _opened(self, upstream: Upstream, peer: Peer, era: str | None) -> Conversation:
        await self._make_room(upstream)
        if upstream.kind == "stdio":
            return await self._open_child(upstream, peer, era)
        place = self.place(upstream, peer.credential)
        if upstream.kind == "http":
            return await open_http(self._pool, place, peer.capabilities, era)
        stream = SseChannel(self._pool, place, upstream.url or "")
        try:
            await stream.ready()
        except BaseException:
            await stream.close()
            raise
        return await open_channel(stream, peer.capabilities, eras.LEGACY, upstream.timeout_s)

    async def _open_child(self, upstream: Upstream, peer: Peer, era: str | None) -> Conversation:
        opened = await self._credentials(upstream)
        channel = await self._children.spawn(upstream, opened.env)
        try:
            return await open_channel(channel, peer.capabilities, era, upstream.timeout_s)
        except Refused as refused:
            if era is not None or refused.code != "upstream_broke_off":
                raise
        # some handshake-era servers end when the first message is not `initialize`; where it may not be started
        # again at once, the next try begins so
        self._eras[_base(upstream)] = eras.LEGACY
        channel = await self._children.spawn(upstream, opened.env)
        return await open_channel(channel, peer.capabilities, eras.LEGACY, upstream.timeout_s)

    def place(self, upstream: Upstream, credential: tuple[str, str] | None) -> Place:
        """Where an HTTP upstream is. Raises `Refused("upstream_unavailable")` for a URL that may not be used."""
        try:
            target = parse_target(upstream.url or "")
        except EgressRefused as refused:
            raise Refused("upstream_unavailable", refused.reason) from None
        policy = TargetPolicy(upstream.allow_private, self._networks)
        silence = upstream.timeout_s
        limits = Limits(CONNECT_SECONDS, silence, silence, None, response_bytes=self._max_result)
        return Place(target, policy, limits, credential)

    async def notify(self, upstream: Upstream, peer: Peer, body: bytes, method: str) -> None:
        """Pass a notification on to an open conversation; where there is none, nobody has to be told."""
        warm = self.warm(upstream, peer)
        if warm is not None:
            await warm.tell(body, method)

    def suspect(self, upstream: Upstream) -> None:
        """What a call met is not what the last observation says: have somebody look."""
        if self.on_change is not None:
            self.on_change(upstream, "suspect")

    # -- the gateway's own conversations ---------------------------------------------------------------------------

    async def own_peer(self, upstream: Upstream) -> Peer:
        """Who asks when the gateway itself does: one fixed capability set, the shared credential."""
        opened = await self._credentials(upstream)
        return Peer(upstream.tenant, DISCOVERY, None, FULL_CAPABILITIES, opened.header, opened.account)

    async def discovery(self, upstream: Upstream) -> facts.Facts:
        """What an upstream offers. Raises `Refused` when that cannot be had completely."""
        try:
            return await self._look(upstream)
        except Refused as refused:
            challenge = refused.data.get("challenge")
            if isinstance(challenge, str) and self.on_refused is not None:
                await self.on_refused(upstream, challenge)  # another credential is opened from here on
            elif refused.code != "upstream_broke_off":
                raise
        return await self._look(upstream)  # a kept connection may just have been closed; reading twice harms nobody

    async def _look(self, upstream: Upstream) -> facts.Facts:
        peer = await self.own_peer(upstream)
        conversation = await self._fresh(upstream, peer)
        conversation.carry(peer.credential)
        found = await facts.look(conversation)
        if conversation.lost:  # the upstream was started anew meanwhile: what it said of itself may be out of date
            found = await facts.look(await self._fresh(upstream, peer))
        return found

    async def _fresh(self, upstream: Upstream, peer: Peer) -> Conversation:
        """A conversation whose facts are of now. Without a session, only asking again tells of a new server."""
        await self._outdated(upstream, peer)
        before = self.warm(upstream, peer)
        conversation = await self.conversation(upstream, peer)
        if conversation is not before and conversation.server:
            return conversation
        if conversation.era == eras.MODERN and await discovered(conversation):
            return conversation
        if conversation.era == eras.MODERN:
            await self.forget(upstream.id)
        elif isinstance(conversation, HttpConversation) and conversation.session is None:
            conversation.forgotten()
        return await self.conversation(upstream, peer)

    async def _outdated(self, upstream: Upstream, peer: Peer) -> None:
        """End our own process of a program that was started anew for a person: that one may run another file."""
        era = self._eras.get(_base(upstream))
        key = None if era is None else _key(upstream, peer, era)
        if key in self._held and self._held[key].opened < self._started.get(upstream.id, 0.0):
            await self._drop(key)

    async def attempt(self, upstream: Upstream, peer: Peer) -> None:
        """Ask an upstream for its tools as this peer. Raises `Refused` when it does not answer, or refuses."""
        conversation = await self.conversation(upstream, peer)
        conversation.carry(peer.credential)
        kind, _ = await whole(conversation.start(Sent("tools/list", b"{}")))
        if kind == "error":
            raise Refused("upstream_invalid", "It answered with an error.")

    # -- listening -------------------------------------------------------------------------------------------------

    async def watch(self, upstream: Upstream, tell: OnNotice) -> None:
        """Hear of changes of an upstream's lists until cancelled; comes back with back-off after each break."""
        await self._keep_listening(upstream, lambda: self.own_peer(upstream), (), tell)

    async def subscribe(
        self, upstream: Upstream, peer: Peer, uri: str, updated: Callable[[bytes], None]
    ) -> Callable[[], Awaitable[None]]:  # fmt: skip
        """Follow one resource for one client stream; `updated` gets the raw params of each update. Returns the undo."""

        def tell(method: str, params: bytes) -> None:
            if method == UPDATED:
                updated(params)

        async def same() -> Peer:
            return peer

        task = asyncio.create_task(self._keep_listening(upstream, same, (uri,), tell), name="upstreams-follow")

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        return stop

    async def _keep_listening(
        self, upstream: Upstream, peer: Callable[[], Awaitable[Peer]], uris: tuple[str, ...], tell: OnNotice
    ) -> None:
        wait = 1.0
        while True:
            began = clock.monotonic()
            try:
                await listen(await self.conversation(upstream, await peer()), uris, tell)
            except NothingToHear:
                wait = QUIET_SECONDS
            except Refused:
                wait = 1.0 if clock.monotonic() - began > 60.0 else min(wait * 2, QUIET_SECONDS)
            await asyncio.sleep(wait)

    def stderr(self, upstream_id: str) -> str:
        """The last lines a stdio upstream wrote to stderr, made harmless; "" for others."""
        return self._children.stderr(upstream_id)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def forget(self, upstream_id: str) -> None:
        """Close everything of an upstream: it was changed, removed or switched off."""
        self._eras = {base: era for base, era in self._eras.items() if base[0] != upstream_id}
        await self._drop(*(key for key in self._held if key[0] == upstream_id))

    async def forget_people(self, people: frozenset[str]) -> None:
        """Close every conversation of people who left, streams included: it holds a credential of theirs."""
        theirs = [
            key for key in self._held if any(isinstance(part, str) and part.split(" ")[0] in people for part in key)
        ]
        await self._drop(*theirs)

    async def close(self) -> None:
        """Close everything."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for task in tuple(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await self._drop(*self._held)
        await asyncio.gather(*self._goodbyes, return_exceptions=True)

    async def _drop(self, *keys: Key) -> None:
        held = [self._held.pop(key) for key in keys]
        await asyncio.gather(*(one.conversation.close() for one in held))

    def _say_goodbye(self, conversation: Conversation) -> None:
        task = asyncio.create_task(conversation.close(), name="upstreams-goodbye")
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    async def _make_room(self, upstream: Upstream) -> None:
        """Bound the conversations of one upstream: the longest unused idle one goes. Raises `Refused`."""
        bound = MAX_CHILDREN if upstream.kind == "stdio" else MAX_SESSIONS
        own = [key for key in self._held if key[0] == upstream.id]
        if len(own) < bound:
            return
        idle = [key for key in own if not self._held[key].conversation.busy]
        if idle:
            await self._drop(min(idle, key=lambda key: self._held[key].used))
        elif upstream.kind == "stdio":
            raise Refused("upstream_unavailable", f"All {bound} processes of this server are in use; try again soon.")

    def _keep_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="upstreams-sweep")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            before = clock.monotonic() - IDLE_SECONDS
            for key, held in tuple(self._held.items()):
                stale = held.used < before and not held.conversation.busy
                if stale or held.conversation.lost:
                    del self._held[key]
                    self._say_goodbye(held.conversation)


def _base(upstream: Upstream) -> Key:
    return (upstream.id, upstream.identity, upstream.revision)


def _key(upstream: Upstream, peer: Peer, era: str) -> Key:
    """Who may share a conversation."""
    credential = peer.account
    if peer.credential is not None and not credential:
        credential = hashlib.blake2b("\0".join(peer.credential).encode(), key=_KEY).hexdigest()
    base = (*_base(upstream), era, credential)
    if era == eras.MODERN and upstream.kind == "stdio":
        return (*base, peer.person)  # a hostile process could answer whatever else it is asked
    if era == eras.MODERN:
        return (*base, peer.capabilities)
    return (*base, peer.capabilities, peer.session or "", peer.person)
