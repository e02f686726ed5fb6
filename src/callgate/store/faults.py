"""What a database error means to the caller: `store_unavailable`, `conflict`, or a bug that must surface.

Sentences never hold the statement or its values: both may be a secret or payload.
"""

from typing import Final

from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from callgate.errors import Refused

# PostgreSQL classes: connection, lack of resources, operator's intervention, system error, read-only transaction
_AWAY: Final = ("08", "53", "57", "58", "25006")
_LOST_RACE: Final = ("40001", "40P01", "23505")
_NOT_ALLOWED: Final = "42501"
_SQLITE_AWAY: Final = (OperationalError, InterfaceError, DatabaseError)


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of a PostgreSQL error, empty where there is none."""
    for found in (error, getattr(error, "orig", None)):
        state = getattr(found, "sqlstate", None)
        if isinstance(state, str):
            return state
    return ""


def translate(error: Exception) -> Exception:
    """The `Refused` that stands for an error of the database, or the error itself when it is a bug."""
    state = sqlstate(error)
    if isinstance(error, IntegrityError) or state in _LOST_RACE:
        return Refused("conflict")
    if state == _NOT_ALLOWED:
        return Refused("store_unavailable", "The database role lacks a permission that Callgate needs.")
    if isinstance(error, (OSError, TimeoutError, PoolTimeout)) or state.startswith(_AWAY):
        return Refused("store_unavailable")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Refused("store_unavailable")
    # SQLite: locked, full, read-only, damaged. PendingRollback: the connection was lost earlier in this unit
    if isinstance(error, PendingRollbackError) or (not state and type(error) in _SQLITE_AWAY):
        return Refused("store_unavailable")
    return error


def opening(error: Exception, what: str) -> Exception:
    """The `Refused` for an error while a store is opened, with the server's or file's own reason."""
    refused = translate(error)
    if isinstance(refused, Refused) and refused.code != "store_unavailable":
        return refused
    if isinstance(refused, Refused) and refused.detail:
        return refused
    reason = str(getattr(error, "orig", None) or error) or type(error).__name__
    return Refused("store_unavailable", f"{what}: {reason.splitlines()[0]}")


FAULTS = (SQLAlchemyError, OSError, TimeoutError)
