"""A complete observation of one upstream becomes rows of the catalogue, in one transaction.

Fail closed: an observation that lost the race is `conflict` and changes nothing; a list that could not be had leaves
its definitions as they were; a definition that vanished is judged by the transition like any other.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import msgspec
from sqlalchemy import bindparam, insert, select, update

from callgate import ids
from callgate.errors import Refused
from callgate.model.definition import Definition, Observation, Observed
from callgate.model.upstream import UpstreamState
from callgate.store import definitions as catalogue
from callgate.store import states, upstreams
from callgate.store.rows import chunks, live
from callgate.store.schema import definition_versions, definitions, key_of, public_names
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or
from callgate.wire import names

Transition = Callable[[Definition | None, Observed | None], str]
"""(what is known, what was just seen) → the new status; one of the two is never None."""

_NAMED = ("tool", "prompt")  # the kinds whose public names are prefixed and unique


async def observe(
    unit: Unit, observation: Observation, facts: UpstreamState, expected: int, transition: Transition
) -> tuple[Definition, ...]:
    """Apply an observation; returns the definitions that changed, in their new form.

    `facts` is the state to write (its `observation` number is set here), `expected` the number of the observation it
    follows. Raises `Refused("conflict")` when another observation came first or the upstream is gone.
    """
    current = await states.get(unit, observation.upstream)
    # the compare-and-set comes first: on PostgreSQL it also serialises two owners
    await states.advance(unit, facts, expected)
    before = current.observed_at if current is not None else observation.seen_at
    known = {(item.kind, item.name): item for item in await catalogue.of_upstream(unit, observation.upstream)}
    observation = _once_each(observation)
    changed = [
        *_changed(known, observation, transition),
        *_vanished(known, observation, transition, before),
    ]
    fresh = _fresh(unit, known, observation, transition)
    if not changed and not fresh:
        return ()
    revision = await unit.bump(catalogue.AGGREGATE)
    changed = [msgspec.structs.replace(item, revision=revision) for item in changed]
    fresh = [msgspec.structs.replace(item, revision=revision) for item in fresh]
    fresh = await _with_public_names(unit, observation.upstream, fresh)
    await _insert(unit, fresh)
    await _update(unit, changed)
    await _keep_versions(unit, [item for item in (*fresh, *changed) if item.last_seen == observation.seen_at])
    return (*fresh, *changed)


def _once_each(seen: Observation) -> Observation:
    """The observation with the first of each (kind, name); an upstream that lists one twice gets no second row."""
    first: dict[tuple[str, str], Observed] = {}
    for item in seen.definitions:
        first.setdefault((item.kind, item.name), item)
    return msgspec.structs.replace(seen, definitions=tuple(first.values()))


def _changed(known: dict[tuple[str, str], Definition], seen: Observation, transition: Transition) -> list[Definition]:
    found = []
    for item in seen.definitions:
        current = known.get((item.kind, item.name))
        if current is None:
            continue
        status = transition(current, item)
        content = {"raw": item.raw, "core": item.core, "full": item.full, "quarantined": item.quarantined}
        same = status == current.status and (current.full, current.quarantined) == (item.full, item.quarantined)
        if not same or not current.listed:
            changes = {"status": status, "last_seen": seen.seen_at, "listed": True, **content}
            found.append(msgspec.structs.replace(current, **changes))
    return found


def _vanished(
    known: dict[tuple[str, str], Definition], seen: Observation, transition: Transition, before: float
) -> list[Definition]:
    listed = {(item.kind, item.name) for item in seen.definitions}
    found = []
    for key, current in known.items():
        if key in listed or current.kind in seen.unlisted:
            continue
        status = transition(current, None)
        if status != current.status or current.listed:
            found.append(msgspec.structs.replace(current, status=status, last_seen=before, listed=False))
    return found


def _fresh(
    unit: Unit, known: dict[tuple[str, str], Definition], seen: Observation, transition: Transition
) -> list[Definition]:
    return [
        Definition(
            id=ids.new_id("def"), tenant=unit.tenant, upstream=seen.upstream, kind=item.kind, name=item.name,
            public_name=item.name, status=transition(None, item), raw=item.raw, core=item.core, full=item.full,
            quarantined=item.quarantined, first_seen=seen.seen_at, last_seen=seen.seen_at,
        )
        for item in seen.definitions
        if (item.kind, item.name) not in known
    ]  # fmt: skip


# -- public names ----------------------------------------------------------------------------------------------------


def _owner(upstream_name: str, name: str) -> str:
    return key_of(f"{upstream_name}\0{name}")


async def _with_public_names(unit: Unit, upstream_id: str, fresh: list[Definition]) -> list[Definition]:
    """Give each new tool and prompt its public name: the one it had before, else the best that nobody ever had."""
    named = [item for item in fresh if item.kind in _NAMED]
    if not named:
        return fresh
    upstream = await _upstream_name(unit, upstream_id)
    given: dict[str, str] = {}
    for kind in _NAMED:
        of_kind = [item for item in named if item.kind == kind]
        given |= await _reserve(unit, kind, {item.id: (upstream, item.name) for item in of_kind})
    return [msgspec.structs.replace(item, public_name=given.get(item.id, item.public_name)) for item in fresh]


async def _upstream_name(unit: Unit, upstream_id: str) -> str:
    return (await upstreams.names_of(unit, [upstream_id]))[upstream_id]


async def _reserve(unit: Unit, kind: str, wanted: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Definition id → public name. Names are reserved by insert-if-absent, in rounds, until each has one."""
    given: dict[str, str] = {}
    offset = 0
    while len(given) < len(wanted):
        ask = {key: _candidate(*pair, offset) for key, pair in wanted.items() if key not in given}
        taken = await _live_public_names(unit, kind, ask.values())
        rows = [
            {
                "tenant": unit.tenant, "kind": kind, "folded": names.folded(name), "public_name": name,
                "owner": _owner(*wanted[key]),
            }
            for key, name in ask.items()
        ]  # fmt: skip
        await _insert_absent(unit, rows)
        owners = await _owners(unit, kind, [row["folded"] for row in rows])
        for key, name in ask.items():
            mine = owners.get(names.folded(name)) == (name, _owner(*wanted[key]))
            if mine and key_of(name) not in taken:
                given[key] = name
        offset += 1
    return given


def _candidate(upstream: str, name: str, offset: int) -> str:
    found = next(islice(names.candidates(upstream, name), offset, None), None)
    if found is None:
        raise Refused("conflict", "No public name is left for a definition of this upstream.")
    return found


async def _live_public_names(unit: Unit, kind: str, wanted: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(key_of(name) for name in wanted):
        statement = select(definitions.c.public_key).where(
            definitions.c.tenant == unit.tenant,
            definitions.c.kind == kind,
            definitions.c.public_key.in_(chunk),
            live(definitions),
        )
        found.update((await unit.execute(statement)).scalars())
    return found


async def _owners(unit: Unit, kind: str, folded: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    table = public_names.c
    for chunk in chunks(folded):
        statement = select(table.folded, table.public_name, table.owner).where(
            table.tenant == unit.tenant, table.kind == kind, table.folded.in_(chunk)
        )
        found.update({name: (public, owner) for name, public, owner in await unit.execute(statement)})
    return found


# -- rows --------------------------------------------------------------------------------------------------------------


async def _insert_absent(unit: Unit, rows: list[dict[str, str]]) -> None:
    for chunk in chunks(rows):
        await unit.execute(insert_or(unit.postgresql, public_names).on_conflict_do_nothing(), chunk)


async def _insert(unit: Unit, fresh: list[Definition]) -> None:
    for chunk in chunks(fresh):
        values = [
            msgspec.structs.asdict(item) | {"name_key": key_of(item.name), "public_key": key_of(item.public_name)}
            for item in chunk
        ]
        await unit.execute(insert(definitions), values)


async def _update(unit: Unit, changed: list[Definition]) -> None:
    columns = ("status", "raw", "core", "full", "quarantined", "last_seen", "listed", "revision")
    statement = update(definitions).where(definitions.c.tenant == unit.tenant, definitions.c.id == bindparam("row"))
    statement = statement.values({name: bindparam(f"new_{name}") for name in columns})
    for chunk in chunks(changed):
        values = [{"row": item.id} | {f"new_{name}": getattr(item, name) for name in columns} for item in chunk]
        await unit.execute(statement, values)


async def _keep_versions(unit: Unit, current: list[Definition]) -> None:
    table = definition_versions
    statement = insert_or(unit.postgresql, table)
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.tenant, table.c.definition, table.c.full],
        set_={"last_seen": statement.excluded.last_seen},
    )
    for chunk in chunks(current):
        values = [
            {
                "tenant": item.tenant, "definition": item.id, "full": item.full, "core": item.core, "raw": item.raw,
                "quarantined": item.quarantined, "first_seen": item.last_seen, "last_seen": item.last_seen,
            }
            for item in chunk
        ]  # fmt: skip
        await unit.execute(statement, values)
