"""What the aggregates have in common: JSON columns, pages by key, and what changed since a revision.

Rows that are deleted stay, marked, and carry the revision of their deletion; that is how replicas learn of it.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Boolean, ColumnElement, Row, Select, Table, literal_column, select, update

from callgate.store.unit import Unit

T = TypeVar("T")
Build = Callable[[Row[Any]], T]
MAX_PAGE = 1000
_CHUNK = 500
encode_json = msgspec.json.Encoder(order="deterministic").encode


def to_json(value: object) -> str:
    """A value as JSON text with sorted keys."""
    return encode_json(value).decode()


def names(values: Iterable[str]) -> str:
    """A set of names as a sorted JSON array."""
    return to_json(sorted(set(values)))


def names_from(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def live(table: Table) -> ColumnElement[bool]:
    """Rows that are not deleted, spelt as the partial indexes spell it, so that they serve."""
    return literal_column(f"{table.name}.deleted = false", Boolean)


def own(unit: Unit, table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Live rows of the unit's tenant."""
    statement = select(table).where(table.c.tenant == unit.tenant, *conditions)
    return statement.where(live(table)) if "deleted" in table.c else statement


async def one(unit: Unit, statement: Select[Any], build: Build[T]) -> T | None:
    """The only row of a statement, or None."""
    row = (await unit.execute(statement)).one_or_none()
    return None if row is None else build(row)


async def many(unit: Unit, statement: Select[Any], build: Build[T]) -> tuple[T, ...]:
    return tuple(build(row) for row in await unit.execute(statement))


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """The values in lists of at most 500: a statement takes only so many parameters."""
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


async def pairs(unit: Unit, statement: Select[Any]) -> dict[str, Any]:
    """First column → second column."""
    return {row[0]: row[1] for row in await unit.execute(statement)}


def after_key(statement: Select[Any], table: Table, after: str | None, limit: int) -> Select[Any]:
    """A page by row id: at most `limit` rows (1 to 1,000) that come after `after`."""
    if after is not None:
        statement = statement.where(table.c.id > after)
    return statement.order_by(table.c.id).limit(min(max(limit, 1), MAX_PAGE))


async def changed(
    unit: Unit, table: Table, revision: int, build: Build[T], key: str = "id"
) -> tuple[tuple[T, ...], tuple[str, ...]]:  # fmt: skip
    """Live rows and ids of deleted rows that changed after a revision of the tenant's aggregate."""
    statement = select(table).where(table.c.tenant == unit.tenant, table.c.revision > revision)
    live: list[T] = []
    gone: list[str] = []
    for row in await unit.execute(statement.order_by(table.c.revision)):
        if "deleted" in table.c and row.deleted:
            gone.append(getattr(row, key))
        else:
            live.append(build(row))
    return tuple(live), tuple(gone)


async def mark_deleted(unit: Unit, table: Table, revision: int, *conditions: ColumnElement[bool]) -> int:
    """Mark the tenant's live rows deleted at a revision; how many there were."""
    statement = update(table).where(table.c.tenant == unit.tenant, live(table), *conditions)
    result = await unit.execute(statement.values(deleted=True, revision=revision))
    return result.rowcount
