"""Finds or opens the conversation with an upstream for a peer, and starts exchanges on it.

Keyed by upstream, its identity, the credential and the declared capabilities; handshake-era conversations also by the
client's session (or the person), since they are never shared between people. Opened once however many wait.
Fail closed: what cannot be opened is a refusal with the reason; nothing is ever sent to another upstream instead.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Protocol

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
from callgate.upstreams.duplex import Channel, DuplexConversation
from callgate.upstreams.exchange import Exchange, Peer, Sink
from callgate.upstreams.follow import NothingToHear, OnNotice, listen
from callgate.upstreams.http import HttpConversation, Place, Sent
from callgate.upstreams.legacy_sse import SseChannel
from callgate.upstreams.opening import FULL_CAPABILITIES, Conversation, open_channel, open_http
from callgate.wire import eras

IDLE_SECONDS = 300.0
SWEEP_SECONDS = 15.0
QUIET_SECONDS = 60.0
MAX_PER_UPSTREAM = 32  # stdio children of one upstream
DISCOVERY = "#discovery"  # the person of the gateway's own conversations
Key = tuple[str, ...]


class Credential(msgspec.Struct, frozen=True):
    """An opened credential: a header for HTTP, values for a child's environment. In no repr."""

    header: tuple[str, str] | None = None
    env: dict[str, str] = {}

    def __repr__(self) -> str:
        return "Credential(…)"


Opener = Callable[[Upstream], Awaitable[Credential]]


class Spawner(Protocol):
    """Starts the children of stdio upstreams (`stdio.Children`)."""

    async def spawn(self, upstream: Upstream, variables: dict[str, str]) -> Channel: ...

    def stderr(self, upstream_id: str) -> str: ...


class _Held:
    """A conversation and when it was last used."""

    __slots__ = ("conversation", "used")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.used = clock.monotonic()


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
        self._sweeper: asyncio.Task[None] | None = None

    # -- calls ---------------------------------------------------------------------------------------------------

    async def start(
        self,
        upstream: Upstream,
        peer: Peer,
        sent: Sent,
    ) -> Exchange:
        """Start one request. Raises `Refused`: upstream_unavailable, upstream_timeout, upstream_invalid."""
        conversation = await self.conversation(upstream, peer)
        return conversation.start(sent)

    def ready(self, upstream: Upstream, peer: Peer) -> bool:
        """Whether a request to this HTTP upstream can be written without waiting for anything."""
        return upstream.kind == "http" and self._warm(upstream, peer) is not None

    def start_now(self, upstream: Upstream, peer: Peer, sent: Sent, sink: Sink) -> Exchange | None:
        """Start one request in this tick, events to `sink`; None when the conversation is not open."""
        conversation = self._warm(upstream, peer)
        return conversation.start(sent, sink) if conversation is not None else None

    def _warm(self, upstream: Upstream, peer: Peer) -> Conversation | None:
        era = self._eras.get(_base(upstream))
        if era is None:
            return None
        held = self._held.get(_key(upstream, peer, era))
        if held is None or held.conversation.lost:
            return None
        held.used = clock.monotonic()
        return held.conversation

    async def conversation(self, upstream: Upstream, peer: Peer) -> Conversation:
        """The open conversation for a peer, opened now if there is none."""
        warm = self._warm(upstream, peer)
        if warm is not None:
            return warm
        era = self._eras.get(_base(upstream))
        key = _key(upstream, peer, era or "unknown")
        task = self._opening.get(key)
        if task is None:
            task = self._opening[key] = asyncio.ensure_future(self._open(upstream, peer, era))
            task.add_done_callback(lambda _: self._opening.pop(key, None))
        return await asyncio.shield(task)

    async def _open(self, upstream: Upstream, peer: Peer, era: str | None) -> Conversation:
        try:
            conversation = await self._opened(upstream, peer, era)
        except Refused:
            if era is None:
                raise
            # what was remembered may be out of date: the upstream was replaced
            self._eras.pop(_base(upstream), None)
            conversation = await self._opened(upstream, peer, None)
        self._eras[_base(upstream)] = conversation.era
        key = _key(upstream, peer, conversation.era)
        old = self._held.get(key)
        self._held[key] = _Held(conversation)
        if isinstance(conversation, HttpConversation):
            conversation.reopen = lambda: asyncio.ensure_future(self._reopened(upstream, peer))
        if old is not None and isinstance(old.conversation, DuplexConversation):
            await old.conversation.close()
        await self._make_room(upstream, key)
        self._keep_sweeping()
        return conversation

    async def _reopened(self, upstream: Upstream, peer: Peer) -> HttpConversation:
        conversation = await self.conversation(upstream, peer)
        if not isinstance(conversation, HttpConversation):
            raise Refused("upstream_unavailable")
        return conversation

    async def _opened(self, upstream: Upstream, peer: Peer, era: str | None) -> Conversation:
        if upstream.kind == "stdio":
            opened = await self._credentials(upstream)
            channel = await self._children.spawn(upstream, opened.env)
            return await open_channel(channel, peer.capabilities, era)
        place = self.place(upstream, peer.credential)
        if upstream.kind == "http":
            return await open_http(self._pool, place, peer.capabilities, era)
        stream = SseChannel(self._pool, place, upstream.url or "")
        try:
            await stream.ready()
        except BaseException:
            await stream.close()
            raise
        return await open_channel(stream, peer.capabilities, eras.LEGACY)

    def place(self, upstream: Upstream, credential: tuple[str, str] | None) -> Place:
        """Where an HTTP upstream is. Raises `Refused("upstream_unavailable")` for a URL that may not be used."""
        try:
            target = parse_target(upstream.url or "")
        except EgressRefused as refused:
            raise Refused("upstream_unavailable", refused.reason) from None
        policy = TargetPolicy(upstream.allow_private, self._networks)
        limits = Limits(10.0, upstream.timeout_s, upstream.timeout_s, None, response_bytes=self._max_result)
        return Place(target, policy, limits, credential)

    async def notify(self, upstream: Upstream, peer: Peer, body: bytes, method: str) -> None:
        """Pass a notification on to an open conversation; where there is none, nobody has to be told."""
        warm = self._warm(upstream, peer)
        if warm is not None:
            await warm.tell(body, method)

    # -- the gateway's own conversations ---------------------------------------------------------------------------

    async def own_peer(self, upstream: Upstream) -> Peer:
        """Who asks when the gateway itself does: one fixed capability set, the shared credential."""
        opened = await self._credentials(upstream)
        return Peer(upstream.tenant, DISCOVERY, None, FULL_CAPABILITIES, opened.header)

    async def discovery(self, upstream: Upstream) -> facts.Facts:
        """What an upstream offers. Raises `Refused` when that cannot be had completely."""
        conversation = await self.conversation(upstream, await self.own_peer(upstream))
        if isinstance(conversation, HttpConversation) and conversation.era == eras.MODERN:
            conversation = await self._discovered_again(upstream, conversation)
        return await facts.look(conversation)

    async def _discovered_again(self, upstream: Upstream, conversation: HttpConversation) -> HttpConversation:
        """A modern upstream has no session: what it says of itself is asked for each time."""
        fresh = await open_http(self._pool, conversation.place, conversation.capabilities, None)
        if fresh.era != eras.MODERN:
            await self.forget(upstream.id)
        conversation.server = fresh.server
        return fresh

    # -- listening -------------------------------------------------------------------------------------------------

    async def watch(self, upstream: Upstream, tell: OnNotice) -> None:
        """Hear of changes of an upstream's lists until cancelled; comes back with back-off after each break."""
        await self._keep_listening(upstream, await self.own_peer(upstream), (), tell)

    async def subscribe(
        self, upstream: Upstream, peer: Peer, uri: str, updated: Callable[[bytes], None]
    ) -> Callable[[], Awaitable[None]]:  # fmt: skip
        """Follow one resource for one client stream; `updated` gets the raw params of each update. Returns the undo."""

        def tell(method: str, params: bytes) -> None:
            if method == "notifications/resources/updated":
                updated(params)

        task = asyncio.create_task(self._keep_listening(upstream, peer, (uri,), tell), name="upstreams-follow")

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        return stop

    async def _keep_listening(self, upstream: Upstream, peer: Peer, uris: tuple[str, ...], tell: OnNotice) -> None:
        wait = 1.0
        while True:
            began = clock.monotonic()
            try:
                await listen(await self.conversation(upstream, peer), uris, tell)
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
        for key in [key for key in self._held if key[0] == upstream_id]:
            await self._drop(key)

    async def close(self) -> None:
        """Close everything."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for task in tuple(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for key in tuple(self._held):
            await self._drop(key)

    async def _drop(self, key: Key) -> None:
        held = self._held.pop(key, None)
        if held is not None and isinstance(held.conversation, DuplexConversation):
            await held.conversation.close()

    async def _make_room(self, upstream: Upstream, fresh: Key) -> None:
        """Bound the children of one upstream: the longest unused idle one goes."""
        own = [key for key in self._held if key[0] == upstream.id and key != fresh]
        if upstream.kind != "stdio" or len(own) < MAX_PER_UPSTREAM:
            return
        idle = [key for key in own if not _busy(self._held[key].conversation)]
        if idle:
            await self._drop(min(idle, key=lambda key: self._held[key].used))

    def _keep_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="upstreams-sweep")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            before = clock.monotonic() - IDLE_SECONDS
            for key, held in tuple(self._held.items()):
                stale = held.used < before and DISCOVERY not in key and not _busy(held.conversation)
                if stale or held.conversation.lost:
                    await self._drop(key)


def _busy(conversation: Conversation) -> bool:
    return isinstance(conversation, DuplexConversation) and conversation.busy


def _base(upstream: Upstream) -> Key:
    return (upstream.id, upstream.identity)


def _key(upstream: Upstream, peer: Peer, era: str) -> Key:
    """Who may share a conversation."""
    credential = ""
    if peer.credential is not None:
        credential = hashlib.sha256("\0".join(peer.credential).encode()).hexdigest()
    base = (upstream.id, upstream.identity, era, credential)
    if era == eras.MODERN and upstream.kind == "stdio":
        return base
    if era == eras.MODERN:
        return (*base, peer.capabilities.decode("utf-8", "replace"))
    return (*base, peer.capabilities.decode("utf-8", "replace"), peer.session or "", peer.person)
