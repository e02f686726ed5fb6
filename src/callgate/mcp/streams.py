"""Long-lived streams to clients: the handshake era's GET stream and `subscriptions/listen`.

A stream wakes when the snapshot changes, compares what its caller sees now with what it saw, and tells only that.
Fail closed: it ends when the token behind it stops working; a resource that is gone, or that a rule denies, is not
followed any more. Source: 2025-11-25 streamable HTTP "Listening for Messages
from the Server"; 2026-07-28 /basic/patterns/subscriptions.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from callgate import clock
from callgate.call import decide, resolve, tasks
from callgate.call.authorize import authorize
from callgate.call.identify import belongs
from callgate.call.model import Request, Target
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.mcp import listing
from callgate.mcp.context import MCPContext
from callgate.mcp.reply import Reply
from callgate.mcp.tasks import MOST_FOLLOWED, about
from callgate.mcp.tasks import follow as follow_task
from callgate.model.caller import Caller
from callgate.web.paths import Endpoint
from callgate.wire import eras, jsonrpc

KEEP_ALIVE_SECONDS = 15.0
MAX_FOLLOWED = 256  # resources of one stream or session
UPDATED = "notifications/resources/updated"
_LIST_AGGREGATES = frozenset({"definitions", "rules", "upstreams", "states"})
_WHO_AGGREGATES = frozenset({"identity", "agents"})
_CHANGED = {
    "toolsListChanged": ("notifications/tools/list_changed", ("tool",)),
    "promptsListChanged": ("notifications/prompts/list_changed", ("prompt",)),
    "resourcesListChanged": ("notifications/resources/list_changed", ("resource", "template")),
}
ALL_LISTS = frozenset(_CHANGED)
_THEIRS = frozenset({eras.SUBSCRIPTION_KEY})  # between the gateway and the upstream


class Filter(msgspec.Struct, frozen=True, rename="camel"):
    """`params.notifications` of `subscriptions/listen`; other members are not served and so not acknowledged."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()

    def lists(self) -> frozenset[str]:
        given = {
            "toolsListChanged": self.tools_list_changed,
            "promptsListChanged": self.prompts_list_changed,
            "resourcesListChanged": self.resources_list_changed,
        }
        return frozenset(name for name, wanted in given.items() if wanted)

    def acknowledged(self, served: tuple[str, ...], followed: tuple[str, ...]) -> bytes:
        """The filter as agreed: what was asked for and is served."""
        agreed: dict[str, object] = dict.fromkeys(sorted(self.lists()), True)
        if served:
            agreed["resourceSubscriptions"] = list(served)
        if followed:
            agreed["taskIds"] = list(followed)
        return jsonrpc.encoded(agreed)


class Stream:
    """One open stream of one caller."""

    def __init__(
        self, context: MCPContext, caller: Caller, endpoint: Endpoint, reply: Reply, token: str | None
    ) -> None:
        self._context = context
        self._caller = caller
        self._endpoint = endpoint
        self._reply = reply
        self._token = token
        self._wake = asyncio.Event()
        self._changed: set[str] = set()
        self._updates: dict[str, bytes] = {}  # by resource: a client that reads slowly hears of the latest
        self._seen: dict[str, str] = {}
        self._subscription = b""  # raw id of the listen request, empty on a GET stream
        self._wanted: tuple[str, ...] = ()
        self._unwatch: dict[str, Callable[[], Awaitable[None]]] = {}
        self._news: dict[str, bytes] = {}  # of tasks, likewise the latest of each
        self.capabilities = b"{}"  # of a modern client

    async def run(
        self, lists: frozenset[str], uris: tuple[str, ...], subscription: bytes = b"", followed: tuple[str, ...] = ()
    ) -> None:
        """Serve until the client goes, the token ends, or the gateway stops."""
        self._subscription = subscription
        stop = self._context.fleet.subscribe(self._on_change)
        self._compare(lists)
        following = [asyncio.ensure_future(self._follow_task(public)) for public in followed]
        try:
            await self.follow(uris)
            while not self._reply.gone and not self._context.stopping.is_set():
                await self._wait()
                if not await self._still_allowed():
                    return
                await self._tell(lists)
        finally:
            stop()
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            for unwatch in self._unwatch.values():
                await unwatch()

    def stop(self) -> None:
        """End at the next turn (the client went away)."""
        self._reply.gone = True
        self._wake.set()

    async def follow(self, uris: tuple[str, ...]) -> None:
        """Follow exactly these resources from now on, as far as the caller may read them."""
        self._wanted = uris
        served = self.served(uris)
        for uri in set(self._unwatch) - set(served):
            await self._unwatch.pop(uri)()
        for uri in served:
            if uri not in self._unwatch:
                with contextlib.suppress(Refused):  # no credential for it now; tried again with the next change
                    self._unwatch[uri] = await self._watch(uri)

    def served(self, uris: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the resources that exist here and that no rule keeps from the caller."""
        found = []
        for uri in uris[:MAX_FOLLOWED]:
            with contextlib.suppress(Refused):
                followable(self._context.fleet.view(self._caller.tenant), self._caller, self._endpoint, uri)
                found.append(uri)
        return tuple(found)

    def _on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        if tenant == self._caller.tenant:
            self._changed |= aggregates
            self._wake.set()

    async def _wait(self) -> None:
        stopping = asyncio.ensure_future(self._context.stopping.wait())
        waking = asyncio.ensure_future(self._wake.wait())
        done, pending = await asyncio.wait(
            {stopping, waking}, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        if not done:
            await self._reply.keep_alive()
        self._wake.clear()

    async def _still_allowed(self) -> bool:
        """Whether the token still works; what its person may see is looked up again when that may have changed."""
        expires = self._caller.expires_at
        if expires is not None and expires <= clock.now():
            return False
        if not self._changed & _WHO_AGGREGATES:
            return True
        context = self._context
        await context.identities.settled()
        try:
            if self._token is not None:
                self._caller = belongs(await context.identities.lookup(self._token), self._caller.tenant)
            elif context.anonymous is not None:
                self._caller = await context.anonymous()
        except Refused:
            return False
        return True

    async def _tell(self, lists: frozenset[str]) -> None:
        changed, self._changed = self._changed, set()
        told: frozenset[str] = frozenset()
        if changed & (_LIST_AGGREGATES | _WHO_AGGREGATES):
            told = self._compare(lists)
            await self.follow(self._wanted)
        if "notices" in changed:
            told = lists
        for name in sorted(told):
            await self._notify(_CHANGED[name][0], {})
        updates, self._updates = self._updates, {}
        for params in updates.values():
            await self._notify(UPDATED, jsonrpc.members(params))
        news, self._news = self._news, {}
        for params in news.values():
            await self._notify(tasks.NEWS, jsonrpc.members(params))

    async def _notify(self, method: str, params: dict[str, msgspec.Raw]) -> None:
        fields: dict[str, bytes | msgspec.Raw] = dict(params)
        if self._subscription:
            meta: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(params.get("_meta", b"")))
            meta[eras.SUBSCRIPTION_KEY] = self._subscription
            fields["_meta"] = jsonrpc.joined(meta)
        await self._reply.message(jsonrpc.notification(method, jsonrpc.joined(fields) if fields else b""))

    def _compare(self, lists: frozenset[str]) -> frozenset[str]:
        """Which lists look different to this caller than the last time."""
        snapshot = self._context.fleet.view(self._caller.tenant)
        different = set()
        for name in lists:
            listed = []
            for kind in _CHANGED[name][1]:
                listed += listing.entries(snapshot, self._caller, self._endpoint.scope, kind)
            digest = listing.digest(listed)
            if self._seen.get(name) != digest:
                different.add(name)
            self._seen[name] = digest
        return frozenset(different)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def served_tasks(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the tasks that are this caller's, here."""
        found = []
        snapshot = self._context.fleet.view(self._caller.tenant)
        for public in wanted[:MOST_FOLLOWED]:
            with contextlib.suppress(Refused):
                tasks.target(snapshot, self._about(public), self._context.place.tasks)
                found.append(public)
        return tuple(dict.fromkeys(found))

    def _about(self, public: str) -> Request:
        return about(self._caller, self._endpoint.scope, eras.MODERN, public, self.capabilities)

    async def _follow_task(self, public: str) -> None:
        def tell(params: bytes) -> None:
            self._news[public] = params
            self._wake.set()

        await follow_task(self._context, lambda: self._about(public), tell)

    # -- resources ---------------------------------------------------------------------------------------------------

    async def _watch(self, uri: str) -> Callable[[], Awaitable[None]]:
        snapshot = self._context.fleet.view(self._caller.tenant)
        request, target = followable(snapshot, self._caller, self._endpoint, uri)
        peer = await authorize(self._context.credentials, request, target)

        def updated(params: bytes) -> None:
            fields: dict[str, bytes | msgspec.Raw] = dict(jsonrpc.members(params))
            fields["uri"] = jsonrpc.encoded(uri)
            meta = eras.without(fields.pop("_meta", b""), _THEIRS)
            if meta:
                fields["_meta"] = jsonrpc.joined(meta)
            self._updates[uri] = jsonrpc.joined(fields)
            self._wake.set()

        return await self._context.upstreams.subscribe(target.upstream, peer, target.name or uri, updated)


def followable(snapshot: Snapshot, caller: Caller, endpoint: Endpoint, uri: str) -> tuple[Request, Target]:
    """A subscription as a request, and the resource it is for. Raises `Refused`: unknown_resource, denied_by_rule."""
    upstream, own, definition = resolve.owner_of(snapshot, caller, endpoint.scope, uri)
    request, target = _subscription(caller, endpoint, uri), Target(upstream, definition, own, b"{}")
    decide.refuse_denied(decide.decide(snapshot.rules, request, target))
    return request, target


def _subscription(caller: Caller, endpoint: Endpoint, uri: str) -> Request:
    return Request(
        id="",
        caller=caller,
        era=eras.MODERN,
        method="resources/subscribe",
        params={},
        name=uri,
        at=0,
        size=0,
        scope=endpoint.scope,
    )
