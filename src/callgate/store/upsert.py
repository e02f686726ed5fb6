"""INSERT … ON CONFLICT in the dialect at hand; both spell it alike, SQLAlchemy has one construct for each."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_or(is_postgresql: bool, table: Table) -> postgresql.Insert:
    """An INSERT with `on_conflict_do_update`, `on_conflict_do_nothing` and `returning`."""
    if is_postgresql:
        return postgresql.insert(table)
    return sqlite.insert(table)  # type: ignore[return-value]  # the same methods, no common base
