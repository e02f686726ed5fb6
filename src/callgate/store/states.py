"""What the last observation of each upstream said (aggregate "states").

`observed_at` and `observation` move on with every observation; the revision only when anything else changed, so that
an uneventful minute wakes no replica. Snapshots may therefore show an older `observed_at` than the store.
"""

from typing import Any

import msgspec
from sqlalchemy import Row, update

from callgate.errors import Refused
from callgate.model.upstream import UpstreamState
from callgate.store import rows
from callgate.store.schema import states
from callgate.store.unit import Unit

AGGREGATE = "states"
_FACTS = ("state", "reason", "era", "version", "server_name", "server_version", "capabilities", "instructions")


def _build(row: Row[Any]) -> UpstreamState:
    facts = {name: getattr(row, name) for name in _FACTS}
    facts["capabilities"] = bytes(row.capabilities)
    return UpstreamState(
        upstream=row.upstream, observed_at=row.observed_at, observation=row.observation, revision=row.revision, **facts
    )


async def get(unit: Unit, upstream_id: str) -> UpstreamState | None:
    return await rows.one(unit, rows.own(unit, states, states.c.upstream == upstream_id), _build)


async def page(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[UpstreamState, ...]:
    """A page by upstream row id."""
    statement = rows.own(unit, states)
    if after is not None:
        statement = statement.where(states.c.upstream > after)
    statement = statement.order_by(states.c.upstream).limit(min(max(limit, 1), rows.MAX_PAGE))
    return await rows.many(unit, statement, _build)


async def advance(unit: Unit, state: UpstreamState, expected: int) -> UpstreamState:
    """Write the facts of a complete observation as number `expected + 1`, by compare-and-set.

    Raises `Refused("conflict")` when another observation came first, or the upstream is gone.
    """
    current = await get(unit, state.upstream)
    if current is None or current.observation != expected:
        raise Refused("conflict", "Another observation of this upstream came first.")
    return await _write(unit, current, state, expected + 1)


async def broken(unit: Unit, upstream_id: str, reason: str) -> UpstreamState:
    """Mark an upstream broken. What was known of it stays; no definition changes. Raises `Refused("not_found")`."""
    current = await get(unit, upstream_id)
    if current is None:
        raise Refused("not_found", "There is no such upstream.")
    wanted = msgspec.structs.replace(current, state="broken", reason=reason)
    return await _write(unit, current, wanted, current.observation)


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[UpstreamState, ...], tuple[str, ...]]:
    """(changed states, row ids of deleted upstreams) after a revision of "states"."""
    return await rows.changed(unit, states, revision, _build, key="upstream")


async def _write(unit: Unit, current: UpstreamState, wanted: UpstreamState, number: int) -> UpstreamState:
    same = all(getattr(current, name) == getattr(wanted, name) for name in _FACTS)
    if same and number == current.observation:
        return current
    revision = current.revision if same else await unit.bump(AGGREGATE)
    values = {name: getattr(wanted, name) for name in _FACTS}
    values |= {"observed_at": wanted.observed_at, "observation": number, "revision": revision}
    statement = update(states).where(
        states.c.tenant == unit.tenant,
        states.c.upstream == current.upstream,
        states.c.observation == current.observation,
        rows.live(states),
    )
    if (await unit.execute(statement.values(**values))).rowcount != 1:
        raise Refused("conflict", "Another observation of this upstream came first.")
    return msgspec.structs.replace(wanted, observation=number, revision=revision)
