"""Tasks: what a server works on after it has answered, in both eras. Pure.

An upstream's own task id never reaches a client. The public id is sealed: it says which upstream and definition made
the task, for whom, and on which replica the conversation is, so any replica finds the way back. It is no permission:
person, definition and rules are looked at each time it is used, and each time is a call on record.
Sources: ext-tasks, specification/draft/tasks (2026-07-28); 2025-11-25 /basic/utilities/tasks.
Fail closed: an id that is forged, another person's or of the other era is `unknown_task`; a task that was not offered
or not asked for is `upstream_invalid`.
"""

from types import MappingProxyType

import msgspec

from callgate.call import inspect, links, resolve, rounds
from callgate.call.model import Request, Target
from callgate.call.state import Sealer
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.upstream import UpstreamState
from callgate.wire import eras, jsonrpc

GET, RESULT, CANCEL, UPDATE, LIST = "tasks/get", "tasks/result", "tasks/cancel", "tasks/update", "tasks/list"
METHODS = frozenset({GET, RESULT, CANCEL, UPDATE})
BY_ERA = MappingProxyType(
    {eras.MODERN: frozenset({GET, UPDATE, CANCEL}), eras.LEGACY: frozenset({GET, RESULT, CANCEL})}
)
MOST_NOTED = 1000  # tasks in one person's list
LONGEST = 7 * 24 * 3600.0  # seconds that a task stays in its person's list
NEWS = "notifications/tasks"
STATUS = "notifications/tasks/status"
ENDED = frozenset({"completed", "failed", "cancelled"})
_REQUIRED: dict[str, object] = {"requiredCapabilities": {"extensions": {eras.TASKS: {}}}}


class Task(msgspec.Struct, frozen=True, array_like=True):
    """What a public task id says. `own` is the upstream's id; `session` and `home` name the conversation that made it
    where the upstream may know the task in that one alone ("" elsewhere)."""

    tenant: str
    person: str
    era: str
    upstream: str
    definition: str
    own: str
    call: str
    session: str = ""
    home: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Task).decode


# -- what is offered ---------------------------------------------------------------------------------------------------


def core(state: UpstreamState | None) -> dict[str, msgspec.Raw] | None:
    """The `tasks` capability of a handshake-era upstream that makes tasks of tool calls, else None."""
    if state is None or state.era != eras.LEGACY or b'"tasks"' not in state.capabilities:
        return None
    try:
        offered = jsonrpc.members(jsonrpc.members(state.capabilities).get("tasks", b""))
        tools = jsonrpc.members(jsonrpc.members(offered.get("requests", b"")).get("tools", b""))
    except Refused:
        return None
    return offered if "call" in tools else None


def extension(state: UpstreamState | None) -> bool:
    """Whether a modern upstream offers the extension."""
    return state is not None and state.era == eras.MODERN and declared(state.capabilities)


def declared(capabilities: bytes) -> bool:
    """Whether a capabilities object, of a client or a server, names the extension."""
    if eras.TASKS.encode() not in capabilities:
        return False
    try:
        return eras.TASKS in jsonrpc.members(jsonrpc.members(capabilities).get("extensions", b""))
    except Refused:
        return False


def offered(snapshot: Snapshot, caller: Caller, scope: str | None, era: str) -> bool:
    """Whether any upstream that this caller sees here makes tasks for clients of this era."""
    offers = extension if era == eras.MODERN else lambda state: core(state) is not None
    return any(offers(snapshot.states.get(up.id)) for up in resolve.visible_upstreams(snapshot, caller, scope))


def check_declared(capabilities: bytes) -> None:
    """Raise `Refused("missing_client_capability")` for a modern client that did not declare the extension."""
    if not declared(capabilities):
        raise Refused("missing_client_capability", data=_REQUIRED)


def asked_for(request: Request) -> bool:
    """Whether a request asks for a task, as handshake-era clients do."""
    return request.method == "tools/call" and request.era == eras.LEGACY and "task" in request.params


def without_wish(snapshot: Snapshot, request: Request, target: Target) -> Target:
    """The target without a wish for a task that its upstream did not offer: it is then called as usual
    (2025-11-25, tasks, "Task Support and Handling")."""
    if "task" not in request.params:
        return target
    state = snapshot.states.get(target.upstream.id)
    modern = state is not None and state.era == request.era == eras.MODERN
    if modern or (asked_for(request) and core(state) is not None):
        return target
    params = jsonrpc.members(target.params)
    params.pop("task", None)
    return msgspec.structs.replace(target, params=jsonrpc.joined(params))


def whole(request: Request) -> bool:
    """Whether an answer holds ids of tasks, so that it cannot be passed on in pieces."""
    return request.method in METHODS or asked_for(request)


# -- ids ---------------------------------------------------------------------------------------------------------------


def opened(sealer: Sealer, text: str, caller: Caller, era: str) -> Task:
    """The task behind a public id. Raises `Refused("unknown_task")`."""
    raw = sealer.open(text)
    if raw is not None:
        task = _decode(raw)
        if (task.tenant, task.person, task.era) == (*caller.key, era):
            return task
    raise Refused("unknown_task")


def target(snapshot: Snapshot, request: Request, sealer: Sealer) -> tuple[Target, Task]:
    """Where a request about a task goes. A task may be cancelled whatever became of its tool.

    Raises `Refused`: unknown_task, missing_client_capability, not_found; `Untrusted`.
    """
    if request.era == eras.MODERN:
        check_declared(request.capabilities)
    task = opened(sealer, request.name, request.caller, request.era)
    visible = {upstream.id: upstream for upstream in resolve.visible_upstreams(snapshot, request.caller, request.scope)}
    upstream, definition = visible.get(task.upstream), snapshot.definitions.get(task.definition)
    if upstream is None or definition is None or definition.upstream != upstream.id:
        raise Refused("unknown_task")
    params = {**request.params, "taskId": msgspec.Raw(jsonrpc.encoded(task.own))}
    found = Target(upstream, definition, task.own, resolve.forwarded(params), task.session or None, task.home)
    return (found if request.method == CANCEL else resolve.trusted(found, definition)), task


def made(request: Request, where: Target, own: str, replica: str) -> Task:
    """A task that an upstream just made."""
    caller, definition = request.caller, where.definition
    stays = request.era == eras.LEGACY or where.upstream.kind == "stdio"
    return Task(
        tenant=caller.tenant,
        person=caller.person,
        era=request.era,
        upstream=where.upstream.id,
        definition=definition.id if definition is not None else "",
        own=own,
        call=request.id,
        session=(request.session or "") if stays else "",
        home=replica if stays else "",
    )


def seal(sealer: Sealer, task: Task) -> str:
    """The public id."""
    return sealer.seal(_encode(task))


# -- what is said of a task --------------------------------------------------------------------------------------------


def created(request: Request, state: UpstreamState | None, raw: bytes, kind: str) -> str | None:
    """The upstream's id of the task that a result of `tools/call` stands for; None when it is a result.

    Raises `Refused("upstream_invalid")` for a task that the client cannot take or the upstream never offered.
    """
    if kind == "task":
        if request.method != "tools/call" or not (declared(request.capabilities) and extension(state)):
            raise Refused("upstream_invalid", "The server made a task that was not offered or not asked for.")
        return _id(_members(raw))
    task = _members(raw).get("task") if core(state) is not None else None
    return _id(_members(task)) if task else None


def _members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return jsonrpc.members(raw)
    except Refused:
        raise Refused("upstream_invalid", "What the server says of a task is no JSON object.") from None


def _id(fields: dict[str, msgspec.Raw]) -> str:
    own = jsonrpc.text(fields.get("taskId", b""))
    if not own:
        raise Refused("upstream_invalid", "The server made a task without an id.")
    return own


def noted_under(person: str) -> str:
    """Where a person's tasks are noted, in the place of a session."""
    return f"tasks of {person}"


def lifetime(raw: bytes) -> float:
    """For how many seconds a handshake-era task that was just made is kept, as its server says."""
    try:
        ttl = msgspec.json.decode(jsonrpc.members(jsonrpc.members(raw)["task"]).get("ttl", b"null"), type=float)
    except (Refused, msgspec.DecodeError):
        return LONGEST
    return min(max(ttl / 1000, 1.0), LONGEST)


def renamed(raw: bytes, own: str, public: str) -> bytes:
    """A value of the upstream with the public id where it names the task: `taskId`, `task.taskId`, `_meta`."""
    fields = _members(raw)
    if jsonrpc.text(fields.get("taskId", b"")) == own:
        fields["taskId"] = msgspec.Raw(jsonrpc.encoded(public))
    task = fields.get("task", msgspec.Raw(b""))
    if bytes(task).lstrip()[:1] == b"{":
        inner = jsonrpc.members(task)
        if jsonrpc.text(inner.get("taskId", b"")) == own:
            fields["task"] = msgspec.Raw(jsonrpc.joined({**inner, "taskId": jsonrpc.encoded(public)}))
    meta = jsonrpc.members(fields.get("_meta", b""))
    if eras.RELATED_TASK in meta:
        meta[eras.RELATED_TASK] = msgspec.Raw(jsonrpc.encoded({"taskId": public}))
        fields["_meta"] = msgspec.Raw(jsonrpc.joined(meta))
    return jsonrpc.joined(fields)


def own_again(task: Task | None, public: str, reply: bytes) -> bytes:
    """A client's reply with the upstream's id in the place of the public one, which occurs nowhere by chance."""
    if task is None or public.encode() not in reply:
        return reply
    return reply.replace(jsonrpc.encoded(public), jsonrpc.encoded(task.own))


def unrelated(params: bytes) -> bytes:
    """Params of a message about a task that the client does not know yet: without the upstream's id of it."""
    if eras.RELATED_TASK.encode() not in params:
        return params
    fields = jsonrpc.members(params)
    meta = eras.without(fields.pop("_meta", b""), frozenset({eras.RELATED_TASK}))
    if meta:
        fields["_meta"] = msgspec.Raw(jsonrpc.joined(meta))
    return jsonrpc.joined(fields)


def answered(snapshot: Snapshot, request: Request, where: Target, task: Task, raw: bytes) -> tuple[str, bytes]:
    """The outcome and the value of an answer about a task. What the tool said is looked at as in a usual call.

    Raises `Refused("upstream_invalid")`.
    """
    call = msgspec.structs.replace(request, method="tools/call")
    if request.method == RESULT:
        return _said(raw), renamed(links.rewritten(snapshot, call, where.upstream, raw), task.own, request.name)
    fields = _members(raw)
    kind = "result"
    if request.era == eras.MODERN and request.method == GET:
        kind = _progress(snapshot, call, where, fields)
    return kind, renamed(jsonrpc.joined(fields), task.own, request.name)


def _progress(snapshot: Snapshot, call: Request, where: Target, fields: dict[str, msgspec.Raw]) -> str:
    """The outcome of a modern `tasks/get`, whose value may hold what the tool said, or questions to the client."""
    status = jsonrpc.text(fields.get("status", b""))
    if status == "completed":
        value = bytes(fields.get("result", b""))
        fields["result"] = msgspec.Raw(links.rewritten(snapshot, call, where.upstream, value))
        return _said(value)
    if status != "input_required":
        return "rpc_error" if status == "failed" else "result"
    for raw in _members(fields.get("inputRequests", b"")).values():
        method = jsonrpc.text(_members(raw).get("method", b"")) or ""
        if not rounds.offered(method, call.capabilities, eras.MODERN):
            raise Refused("upstream_invalid", "The server asked for input that your client does not offer.")
    return "input_required"


def _said(result: bytes) -> str:
    kind = inspect.result_outcome(result)
    if kind not in ("result", "tool_error"):
        raise Refused("upstream_invalid", "The result of a task asks for more.")
    return kind
