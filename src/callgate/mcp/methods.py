"""What each MCP method does, for both eras: a table from method to handler.

Lists, handshake and streams are answered from the snapshot; what reaches an upstream goes through `call`.
Fail closed: a method that is not in the table of its era is `method_not_found`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

import msgspec

from callgate.call import resolve, tasks
from callgate.call.admit import MAX_STREAMS, Slots
from callgate.call.model import Cancelled, PeerLost, Request
from callgate.call.pipeline import Call
from callgate.errors import Refused
from callgate.mcp import hello, listing
from callgate.mcp.context import MCPContext
from callgate.mcp.drive import Drive
from callgate.mcp.governed import governed, relayed
from callgate.mcp.incoming import Posted
from callgate.mcp.inflight import cancel_key
from callgate.mcp.reply import Receive, Reply
from callgate.mcp.sessions import Session, Sessions
from callgate.mcp.streams import ALL_LISTS, MAX_FOLLOWED, Filter, Stream, followable
from callgate.mcp.tasks import begin
from callgate.mcp.tasks import listed as task_list
from callgate.model.caller import Caller
from callgate.web.hosts import PEER
from callgate.web.paths import Endpoint
from callgate.wire import eras, headers, jsonrpc

Who = tuple[Caller, str | None]  # caller and bearer token (None in anonymous mode)
Client = tuple[Receive, Reply]
_SUBSCRIPTION_SECONDS = 24 * 3600.0
_CALLED = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
Handler = Callable[[Any, Posted, Who, Endpoint, Client], Awaitable[None]]


class Handlers:
    """The methods of one replica's endpoint."""

    def __init__(self, context: MCPContext, sessions: Sessions) -> None:
        self._context = context
        self._sessions = sessions
        self._streams: dict[str, set[Stream]] = {}
        self._open = Slots(MAX_STREAMS)
        context.inflight.beginner = partial(begin, context)
        context.mail.on("session-ended", self._on_session_ended)
        context.mail.on("log-level", self._on_log_level)
        context.mail.on("subscribed", self._on_subscribed)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def request(
        self, posted: Posted, given: dict[str, str], who: Who, endpoint: Endpoint, client: Client
    ) -> None:
        """Answer one request."""
        posted = msgspec.structs.replace(posted, address=given.get(PEER, ""))
        if posted.method in _CALLED or self._about_task(posted, who[0], endpoint):
            await self._call(posted, given, who[0], endpoint, client)
            return
        table = self._MODERN if posted.era == eras.MODERN else self._LEGACY
        handler = table.get(posted.method)
        if handler is None:
            raise Refused("method_not_found", "This method is not offered here.")
        await handler(self, posted, who, endpoint, client)

    def _about_task(self, posted: Posted, caller: Caller, endpoint: Endpoint) -> bool:
        snapshot = self._context.fleet.view(caller.tenant)
        known = posted.method in tasks.BY_ERA[posted.era]
        return known and tasks.offered(snapshot, caller, endpoint.scope, posted.era)

    async def _call(
        self, posted: Posted, given: dict[str, str], caller: Caller, endpoint: Endpoint, client: Client
    ) -> None:
        level = self._sessions.level(posted.session)
        request = governed(posted, caller, endpoint, self._context.settings.durability, level, posted.address)
        snapshot = self._context.fleet.view(caller.tenant)
        if posted.era == eras.MODERN and posted.method == "tools/call":
            self._check_mirrored(request, given)
        self._context.slots.take(caller)
        receive, reply = client
        drive = Drive(self._context, Call(request, snapshot, self._context.place), reply)
        key = cancel_key(caller, request.session, posted.id)

        def cancel() -> None:
            drive.post(Cancelled())

        gone = cancel
        if posted.era == eras.LEGACY:  # there a lost stream cancels nothing (2025-11-25), a notification does
            gone = lambda: drive.post(PeerLost())  # noqa: E731
            self._context.inflight.register(key, cancel)
        watcher = asyncio.ensure_future(_when_gone(receive, reply, gone))
        call = drive.call
        self._context.inflight.begin_call(call, cancel)
        try:
            await drive.run()
        finally:
            watcher.cancel()
            self._context.inflight.end_call(call)
            self._context.inflight.unregister(key, cancel)
            self._context.slots.give_back(caller)

    def _check_mirrored(self, request: Request, given: dict[str, str]) -> None:
        """`Mcp-Param-*` headers must say what the arguments say (2026-07-28, "Server Validation")."""
        snapshot = self._context.fleet.view(request.caller.tenant)
        definition = resolve.find(snapshot, request.caller, request.scope, "tool", request.name)
        if definition is None or b"x-mcp-header" not in definition.offered:
            return
        schema = jsonrpc.members(definition.offered).get("inputSchema", b"null")
        try:
            paths = headers.mirrored_paths(msgspec.json.decode(schema))
            arguments = msgspec.json.decode(request.params.get("arguments") or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused("invalid_params", "The arguments hold text that is no Unicode.") from None
        headers.check_mirrored(given, paths, arguments)

    async def _tasks(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        snapshot = self._context.fleet.view(who[0].tenant)
        if not tasks.offered(snapshot, who[0], endpoint.scope, posted.era):
            raise Refused("method_not_found", "This method is not offered here.")
        self._context.slots.take(who[0])
        try:
            value = await task_list(self._context, (who[0], endpoint.scope, posted.session), _cursor(posted))
        finally:
            self._context.slots.give_back(who[0])
        await client[1].finish("result", value)

    async def _list(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        kind, member = listing.LISTS[posted.method]
        caller, sealer = who[0], self._context.cursor_sealer
        cursor = listing.open_cursor(_cursor(posted), sealer, caller, kind, endpoint.scope)
        snapshot = self._context.fleet.view(caller.tenant)
        listed = listing.entries(snapshot, caller, endpoint.scope, kind, posted.address)
        value = listing.page(listed, cursor, sealer, member)
        if posted.era == eras.MODERN:
            extra = {
                "resultType": b'"complete"',
                "ttlMs": b"%d" % listing.TTL_MS,
                "cacheScope": b'"private"',
                "_meta": b'{"%b":%b}' % (eras.SERVER_INFO_KEY.encode(), hello.SERVER_INFO_RAW),
            }
            value = jsonrpc.joined({**jsonrpc.members(value), **extra})
        await client[1].finish("result", value)

    async def _initialize(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        wanted = jsonrpc.text(posted.params.get("protocolVersion", b""))
        if wanted is None:
            raise Refused("invalid_params", "params.protocolVersion must be a string.")
        revision = hello.negotiated(wanted)
        capabilities = relayed(bytes(posted.params.get("capabilities", b"{}")), eras.LEGACY)
        info = jsonrpc.members(posted.params.get("clientInfo", b"{}"))
        caller = who[0]
        name = jsonrpc.text(info.get("name", b"")) or ""
        snapshot = self._context.fleet.view(caller.tenant)
        value = hello.initialize_result(snapshot, caller, endpoint.scope, revision)
        _, token = self._sessions.mint(caller, revision, capabilities, name)
        await client[1].finish_with("result", value, [(headers.SESSION.encode(), token.encode())])

    async def _discover(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        snapshot = self._context.fleet.view(who[0].tenant)
        await client[1].finish("result", hello.discover_result(snapshot, who[0], endpoint.scope))

    async def _ping(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        await client[1].finish("result", b"{}")

    async def _set_level(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        level = jsonrpc.text(posted.params.get("level", b""))
        if level not in eras.LOG_LEVELS:
            raise Refused("invalid_params", f"params.level must be one of {', '.join(eras.LOG_LEVELS)}.")
        if posted.session is not None:
            self._sessions.set_level(posted.session.id, level)
            await self._context.mail.broadcast("log-level", f"{posted.session.id} {level}".encode())
        await client[1].finish("result", b"{}")

    async def _listen(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        try:
            wanted = msgspec.json.decode(posted.params.get("notifications") or b"{}", type=Filter)
        except msgspec.ValidationError:
            raise Refused("invalid_params", "params.notifications is not a valid filter.") from None
        if wanted.task_ids:
            tasks.check_declared(posted.capabilities)
        resolve.visible_upstreams(self._context.fleet.view(who[0].tenant), who[0], endpoint.scope)
        receive, reply = client
        self._open.take_stream(who[0])
        stream = Stream(self._context, who[0], endpoint, reply, who[1])
        watcher = asyncio.ensure_future(_when_gone(receive, reply, stream.stop))
        try:
            meta = b'{"%b":%b}' % (eras.SUBSCRIPTION_KEY.encode(), posted.id)
            stream.capabilities = relayed(posted.capabilities, eras.MODERN)
            followed = stream.served_tasks(wanted.task_ids)
            agreed = wanted.acknowledged(stream.served(wanted.resource_subscriptions), followed)
            params = jsonrpc.joined({"_meta": meta, "notifications": agreed})
            await reply.message(jsonrpc.notification("notifications/subscriptions/acknowledged", params))
            await stream.run(wanted.lists(), wanted.resource_subscriptions, posted.id, followed)
            await reply.finish("result", b'{"resultType":"complete","_meta":%b}' % meta)
        finally:
            watcher.cancel()
            self._open.give_back(who[0])

    async def _subscribe(self, posted: Posted, who: Who, endpoint: Endpoint, client: Client) -> None:
        """Noted for the session; whichever replica holds its GET stream follows the resource."""
        uri = jsonrpc.text(posted.params.get("uri", b""))
        if uri is None:
            raise Refused("invalid_params", "params.uri must be a string.")
        caller, session = who[0], posted.session
        if posted.method == "resources/subscribe":
            followable(self._context.fleet.view(caller.tenant), caller, endpoint, uri)
        if session is not None:
            await self._note(session, uri, posted.method == "resources/subscribe")
            await self._follow(session.tenant, session.id)
            await self._context.mail.broadcast("subscribed", f"{session.tenant} {session.id}".encode())
        await client[1].finish("result", b"{}")

    async def _note(self, session: Session, uri: str, wanted: bool) -> None:
        notes = self._context.notes
        if not wanted:
            await notes.remove(session.tenant, session.id, uri)
            return
        if len({uri, *await notes.all(session.tenant, session.id)}) > MAX_FOLLOWED:
            raise Refused("invalid_params", f"A session follows at most {MAX_FOLLOWED} resources.")
        await notes.put(session.tenant, session.id, uri, _SUBSCRIPTION_SECONDS)

    _COMMON: ClassVar[dict[str, Handler]] = dict.fromkeys(listing.LISTS, _list)
    _MODERN: ClassVar[dict[str, Handler]] = {
        **_COMMON,
        "server/discover": _discover,
        "subscriptions/listen": _listen,
    }
    _LEGACY: ClassVar[dict[str, Handler]] = {
        **_COMMON,
        "initialize": _initialize,
        "ping": _ping,
        tasks.LIST: _tasks,
        "logging/setLevel": _set_level,
        "resources/subscribe": _subscribe,
        "resources/unsubscribe": _subscribe,
    }

    # -- notifications, responses, sessions ----------------------------------------------------------------------

    async def notification(self, posted: Posted, caller: Caller) -> None:
        """What a client tells us: a cancel is passed on, the rest needs nothing."""
        if posted.method == "notifications/cancelled":
            session = posted.session.id if posted.session is not None else None
            request_id = bytes(posted.params.get("requestId", b""))
            await self._context.inflight.cancel(cancel_key(caller, session, request_id))

    async def response(self, posted: Posted, caller: Caller) -> None:
        """A client's answer to a question of an upstream."""
        message = posted.message
        kind, value = ("result", message.result) if message.result else ("error", message.error)
        reply = jsonrpc.joined({kind: value})
        await self._context.inflight.answer(caller, jsonrpc.text(message.id) or "", reply)

    async def end_session(self, session: Session) -> None:
        """DELETE: forget the session here and tell the other replicas."""
        self._sessions.end(session.id)
        await self._context.mail.broadcast("session-ended", session.id.encode())

    async def get_stream(
        self, session: Session | None, who: Who, endpoint: Endpoint, receive: Receive, reply: Reply
    ) -> None:
        """The handshake era's GET stream: changes of lists and of followed resources."""
        resolve.visible_upstreams(self._context.fleet.view(who[0].tenant), who[0], endpoint.scope)
        self._open.take_stream(who[0])
        stream = Stream(self._context, who[0], endpoint, reply, who[1])
        key = session.id if session is not None else ""
        watcher = asyncio.ensure_future(_when_gone(receive, reply, stream.stop))
        try:
            uris: tuple[str, ...] = ()
            if session is not None:
                self._streams.setdefault(key, set()).add(stream)
                uris = await self._context.notes.all(session.tenant, key)
            await reply.keep_alive()
            await stream.run(ALL_LISTS, uris)
            await reply.close()
        finally:
            watcher.cancel()
            self._open.give_back(who[0])
            self._streams.get(key, set()).discard(stream)
            if not self._streams.get(key, True):
                del self._streams[key]

    async def _follow(self, tenant: str, session: str) -> None:
        for stream in tuple(self._streams.get(session, ())):
            await stream.follow(await self._context.notes.all(tenant, session))

    async def _on_session_ended(self, body: bytes) -> None:
        self._sessions.end(body.decode())

    async def _on_log_level(self, body: bytes) -> None:
        session, _, level = body.decode().partition(" ")
        self._sessions.set_level(session, level)

    async def _on_subscribed(self, body: bytes) -> None:
        tenant, _, session = body.decode().partition(" ")
        await self._follow(tenant, session)


def _cursor(posted: Posted) -> str | None:
    given = bytes(posted.params.get("cursor", b"null"))
    text = jsonrpc.text(given)
    if text is None and given != b"null":
        raise Refused("invalid_params", "params.cursor must be a string.")
    return text


async def _when_gone(receive: Receive, reply: Reply, tell: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reply.gone = True
    tell()
