"""Sealed values wherever they are: which keys they are sealed with, and putting the same value back under another.

A sealed value begins with five bytes that name its key. Nothing is opened here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import LargeBinary, and_, func, select, type_coerce, update

from callgate.store import identity_schema, policy_schema, schema
from callgate.store.unit import Unit

_NUMBER = 5
_TABLES = schema.metadata.tables
_WITH = identity_schema, policy_schema  # they add theirs
Row = Mapping[str, Any]


class Where(NamedTuple):
    """A column of sealed values, the rest of its table's key, and what else its binding is made of."""

    table: str
    column: str
    key: tuple[str, ...]
    more: tuple[str, ...] = ()


async def numbers(unit: Unit, where: Where) -> dict[bytes, int]:
    """Key number → how many values are sealed with it."""
    table = _TABLES[where.table]
    number = type_coerce(func.substr(table.c[where.column], 1, _NUMBER), LargeBinary)
    statement = select(number, func.count()).where(table.c.tenant == unit.tenant, table.c[where.column].is_not(None))
    return {bytes(row[0]): row[1] for row in await unit.execute(statement.group_by(number))}


async def keys(unit: Unit, where: Where) -> list[Row]:
    """The keys of all rows that hold a value, with the first bytes of it as `number`."""
    table = _TABLES[where.table]
    number = type_coerce(func.substr(table.c[where.column], 1, _NUMBER), LargeBinary).label("number")
    statement = select(*(table.c[name] for name in where.key), number)
    mine = table.c.tenant == unit.tenant, table.c[where.column].is_not(None)
    return [row._asdict() for row in await unit.execute(statement.where(*mine))]


async def get(unit: Unit, where: Where, key: Row) -> Row | None:
    """The value of a row under its column's name, and what its binding needs; None when it is gone."""
    table = _TABLES[where.table]
    statement = select(*(table.c[name] for name in (*where.key, *where.more, where.column)))
    row = (await unit.execute(statement.where(_is(unit, where, key), table.c[where.column].is_not(None)))).one_or_none()
    return None if row is None else row._asdict()


async def swap(unit: Unit, where: Where, key: Row, old: bytes, new: bytes) -> bool:
    """Put a value in the place of another; False when it is another by now."""
    table = _TABLES[where.table]
    same = _is(unit, where, key), table.c[where.column] == old
    return (await unit.execute(update(table).where(*same).values({where.column: new}))).rowcount == 1


async def owners(unit: Unit) -> dict[str, str]:
    """Secret row → the upstream or provider that it is of."""
    found: dict[str, str] = {}
    for name in ("upstreams", "providers"):
        table = _TABLES[name]
        statement = select(table.c.secret_id, table.c.id)
        mine = table.c.tenant == unit.tenant, table.c.secret_id.is_not(None)
        found |= {row[0]: row[1] for row in await unit.execute(statement.where(*mine))}
    return found


def _is(unit: Unit, where: Where, key: Row) -> Any:
    table = _TABLES[where.table]
    return and_(table.c.tenant == unit.tenant, *(table.c[name] == key[name] for name in where.key))
