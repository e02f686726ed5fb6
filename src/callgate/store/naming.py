"""Public names of tools and prompts: given at first sight, unique in a tenant, never given to anything else.

Names are reserved by insert-if-absent, so that two replicas never give the same one. Fail closed: where no name is left
the observation is refused.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
from sqlalchemy import select

from callgate.errors import Refused
from callgate.model.definition import Definition
from callgate.store import upstreams
from callgate.store.rows import chunks, live
from callgate.store.schema import definitions, key_of, public_names
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or
from callgate.wire import names

NAMED = ("tool", "prompt")  # the kinds whose public names are prefixed and unique


def _owner(upstream_name: str, name: str) -> str:
    return key_of(f"{upstream_name}\0{name}")


async def with_public_names(unit: Unit, upstream_id: str, fresh: list[Definition]) -> list[Definition]:
    """Give each new tool and prompt its public name: the one it had before, else the best that nobody ever had."""
    named = [item for item in fresh if item.kind in NAMED]
    if not named:
        return fresh
    upstream = await _upstream_name(unit, upstream_id)
    given: dict[str, str] = {}
    for kind in NAMED:
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


async def _insert_absent(unit: Unit, rows: list[dict[str, str]]) -> None:
    for chunk in chunks(rows):
        await unit.execute(insert_or(unit.postgresql, public_names).on_conflict_do_nothing(), chunk)
