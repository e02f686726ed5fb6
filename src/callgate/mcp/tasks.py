"""Tasks on the client's side: a person's list (2025-11-25), and news of tasks on a stream (2026-07-28).

Both ask the upstream with `tasks/get`, as a call like any other: resolved, decided and on record. An upstream could not
tell one person's tasks from another's behind one credential, so its own list is never asked; what was made through this
gateway is noted in the store.
On failure: a task that cannot be had now is left out of the list, and ends its news.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

from callgate import clock, ids
from callgate.call import tasks
from callgate.call.authorize import peer_of
from callgate.call.model import InputRequest, Request
from callgate.call.pipeline import Call
from callgate.errors import Refused
from callgate.mcp import answers, listing
from callgate.mcp.context import MCPContext
from callgate.mcp.drive import Drive
from callgate.mcp.remote import Begin
from callgate.mcp.reply import Reply
from callgate.mcp.sessions import Session
from callgate.model.caller import Caller
from callgate.upstreams.exchange import Exchange
from callgate.wire import eras, jsonrpc

PAGE = 20  # tasks of one page: each is a request to its upstream
MOST_FOLLOWED = 32  # tasks of one stream
FIRST_WAIT, SHORTEST_WAIT, LONGEST_WAIT = 5.0, 1.0, 60.0  # seconds between looks; the server's wish lies in between


def about(caller: Caller, scope: str | None, era: str, public: str, capabilities: bytes = b"{}") -> Request:
    """A request of the gateway's own for the state of a task, in a client's name."""
    return Request(
        id=ids.new_id("cal"),
        caller=caller,
        era=era,
        method=tasks.GET,
        params={"taskId": msgspec.Raw(jsonrpc.encoded(public))},
        name=public,
        at=clock.now_us(),
        size=0,
        scope=scope,
        capabilities=capabilities,
    )


class _Collected(Reply):
    """Keeps the answer; nobody can be asked."""

    def __init__(self) -> None:
        super().__init__(_nowhere, b"0", tasks.GET, eras.LEGACY, may_stream=False)
        self.value: bytes | None = None
        self.code = 0

    async def message(self, raw: bytes) -> bool:
        return True

    async def ask(self, id_: str, question: InputRequest) -> bool:
        return False

    async def finish(self, kind: str, raw: bytes) -> None:
        if kind == "result":
            self.value = raw
        else:
            self.code = answers.code_of(raw)

    async def refuse(self, refused: Refused) -> None:
        self.code = refused.kind.rpc


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    del message


async def look(context: MCPContext, request: Request) -> tuple[bytes | None, int]:
    """The state of a task as its client sees it, or None and the code of the error."""
    reply = _Collected()
    call = Call(request, context.fleet.view(request.caller.tenant), context.place)
    await Drive(context, call, reply).run()
    return reply.value, reply.code


# -- a person's list ---------------------------------------------------------------------------------------------------


Asker = tuple[Caller, str | None, Session | None]  # with the scope and the session


async def listed(context: MCPContext, asker: Asker, text: str | None) -> bytes:
    """One page of the tasks that a person made here, as a raw result value. Raises `Refused("invalid_params")`."""
    caller, scope, _ = asker
    cursor = listing.open_cursor(text, context.cursor_sealer, caller, "task", scope)
    noted = sorted(await context.notes.all(caller.tenant, tasks.noted_under(caller.person)))
    names = context.fleet.view(caller.tenant).upstream_names
    here = [public for public in noted if _belongs(context, caller, public, names.get(scope) if scope else None)]
    rest = [public for public in here if public > cursor.after]
    found = await asyncio.gather(*(_listed(context, asker, public) for public in rest[:PAGE]))
    value = b'{"tasks":[%b]' % b",".join(one for one in found if one is not None)
    if len(rest) > PAGE:
        value += b',"nextCursor":%b' % jsonrpc.encoded(
            listing.seal_cursor(msgspec.structs.replace(cursor, after=rest[PAGE - 1]), context.cursor_sealer)
        )
    return value + b"}"


def _belongs(context: MCPContext, caller: Caller, public: str, upstream: str | None) -> bool:
    try:
        task = tasks.opened(context.place.tasks, public, caller, eras.LEGACY)
    except Refused:
        return False
    return upstream is None or task.upstream == upstream


async def _listed(context: MCPContext, asker: Asker, public: str) -> bytes | None:
    caller, scope, session = asker
    request = about(caller, scope, eras.LEGACY, public)
    if session is not None:  # the conversation with the upstream is the session's
        request = msgspec.structs.replace(request, session=session.id, capabilities=session.capabilities)
    value, code = await look(context, request)
    if code == -32602:  # its server forgot it
        await context.notes.remove(caller.tenant, tasks.noted_under(caller.person), public)
    return eras.result_for(eras.LEGACY, value) if value is not None else None


# -- news --------------------------------------------------------------------------------------------------------------


async def follow(context: MCPContext, ask: Callable[[], Request], tell: Callable[[bytes], None]) -> None:
    """Look at a task as often as its server suggests, and tell its state whenever it is another, until it has ended."""
    told: dict[str, bytes] = {}
    while True:
        try:
            value, _ = await look(context, ask())
        except Refused:  # the snapshot is too old: nothing is known now
            await asyncio.sleep(FIRST_WAIT)
            continue
        if value is None:
            return
        state = {key: bytes(raw) for key, raw in jsonrpc.members(value).items() if key not in ("resultType", "_meta")}
        if state != told:
            told = state
            tell(jsonrpc.joined(state))
        if jsonrpc.text(state.get("status", b"")) in tasks.ENDED:
            return
        await asyncio.sleep(_wait(state.get("pollIntervalMs", b"")))


def _wait(wish: bytes) -> float:
    try:
        return min(max(msgspec.json.decode(wish, type=float) / 1000, SHORTEST_WAIT), LONGEST_WAIT)
    except msgspec.DecodeError:
        return FIRST_WAIT


# -- conversations of other replicas -----------------------------------------------------------------------------------


async def begin(context: MCPContext, tenant: str, person: str, wanted: Begin) -> Exchange:
    """Start, in the conversation that this replica holds, what another replica was asked for."""
    upstream = context.fleet.view(tenant).upstreams.get(wanted.upstream)
    if upstream is None:
        raise Refused("upstream_unavailable")
    opened = await context.credentials.open(upstream, person)
    peer = peer_of(upstream, person, (wanted.session, wanted.capabilities), opened)
    return await context.upstreams.start(upstream, peer, wanted.sent)
