"""What conditions may know of one request: the values of their variables, read only where a rule asks. Pure.

Fail closed: arguments that cannot be read, or that hold a member twice (each reader may take another of the two), raise
`NoAnswer`, which ends in a deny.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from callgate.errors import Refused
from callgate.model.caller import Caller
from callgate.model.definition import Definition
from callgate.model.upstream import Upstream
from callgate.policy.expr import Condition, NoAnswer, Values
from callgate.policy.members import ALL
from callgate.wire import jsonrpc


class Facts(msgspec.Struct, frozen=True):
    """One request, besides its caller. `arguments` is raw JSON of an object; None where nobody has called yet, as in a
    list. `at`: microseconds since 1970."""

    upstream: Upstream
    definition: Definition | None
    method: str
    at: int
    arguments: bytes | msgspec.Raw | None
    address: str = ""  # that the request comes from, "" where that is not known
    result: bytes | None = None  # raw JSON; None where there is no answer yet


class Wanted(NamedTuple):
    """What conditions read: variables but `args` and `result`, members of `args`, and whether of `result`."""

    names: tuple[str, ...]
    members: frozenset[str]
    result: bool


@lru_cache(maxsize=8192)
def wanted(conditions: tuple[Condition, ...]) -> Wanted:
    """What these conditions read together."""
    names = frozenset[str]().union(*(one.variables for one in conditions)) - {"args", "result"}
    members = frozenset[str]().union(*(one.members for one in conditions))
    return Wanted(tuple(sorted(names)), members, any(one.reads_result for one in conditions))


def values(facts: Facts, caller: Caller, conditions: tuple[Condition, ...]) -> Values:
    """A value for every variable that these conditions name; of `args` the members that they read.

    Raises `NoAnswer`.
    """
    asked = wanted(conditions)
    found = {name: _SAID[name](facts, caller) for name in asked.names}
    if facts.result is not None and asked.result:
        found["result"] = _readable(facts.result)
    if asked.members and facts.arguments is not None:
        found["args"] = arguments(facts.arguments, asked.members)
    return found


def _of_tool(member: str) -> Callable[[Facts, Caller], object]:
    return lambda facts, _: getattr(facts.definition, member) if facts.definition is not None else ""


def _about(facts: Facts, place: int) -> object:
    tool = facts.definition
    return (_said(tool.offered) if tool is not None and tool.kind == "tool" else ("", {}))[place]


# what each of `expr.VARIABLES` but `args` says
_SAID: dict[str, Callable[[Facts, Caller], object]] = {
    "person.email": lambda _, caller: caller.email,
    "person.roles": lambda _, caller: list(caller.roles),
    "person.teams": lambda _, caller: list(caller.teams),
    "agent.name": lambda _, caller: caller.agent or "",
    "client.name": lambda _, caller: caller.client or "",
    "tool.name": _of_tool("name"),
    "tool.public_name": _of_tool("public_name"),
    "tool.risk": _of_tool("risk"),
    "tool.title": lambda facts, _: _about(facts, 0),
    "tool.annotations": lambda facts, _: _about(facts, 1),
    "upstream.name": lambda facts, _: facts.upstream.name,
    "upstream.kind": lambda facts, _: facts.upstream.kind,
    "upstream.auth_mode": lambda facts, _: facts.upstream.auth_mode,
    "request.address": lambda facts, _: facts.address,
    "request.method": lambda facts, _: facts.method,
    "request.time": lambda facts, _: datetime.fromtimestamp(facts.at / 1e6, UTC),
}


def _readable(raw: bytes) -> object:
    try:
        return decoded(raw)
    except (ValueError, RecursionError):
        raise NoAnswer("The answer cannot be read, or holds the same member twice.") from None


def arguments(raw: bytes | msgspec.Raw, names: frozenset[str]) -> dict[str, object]:
    """The wanted members of an object, those that it has. Raises `NoAnswer`."""
    try:
        members = jsonrpc.members(raw)
        if names is ALL or "*" in names or not _each_once(raw, members):
            whole = decoded(raw)
            return whole if isinstance(whole, dict) else {}
        return {name: decoded(members[name]) for name in names if name in members}
    except (ValueError, Refused, RecursionError):
        raise NoAnswer("The arguments cannot be read, or hold the same member twice.") from None


def _each_once(raw: bytes | msgspec.Raw, members: dict[str, msgspec.Raw]) -> bool:
    """Whether it is plain to see that no member comes twice: what was read accounts for every byte."""
    names = sum(len(jsonrpc.encoded(name)) + len(bytes(value)) for name, value in members.items())
    return names + 2 * len(members) + 1 == len(bytes(raw))


def decoded(raw: bytes | msgspec.Raw) -> object:
    """JSON without a member given twice. Raises `ValueError`, `RecursionError`."""
    return json.loads(bytes(raw), object_pairs_hook=_object)


def _object(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same member twice")
    return found


def annotations(offered: bytes) -> dict[str, object]:
    """The annotations of a tool's definition."""
    return _said(offered)[1]


@lru_cache(maxsize=8192)
def _said(raw: bytes) -> tuple[str, dict[str, object]]:
    """Title and annotations of a tool's definition."""
    try:
        whole = json.loads(raw)
    except ValueError:
        return "", {}
    title, annotations = whole.get("title"), whole.get("annotations")
    return title if isinstance(title, str) else "", annotations if isinstance(annotations, dict) else {}
