"""What a database error means to the caller: `store_unavailable`, `conflict`, or a bug that must surface.

Sentences never hold the statement or its values: both may be a secret or payload.
"""

from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from callgate.errors import Refused

# PostgreSQL classes: connection, lack of resources, operator's intervention, system error, read-only transaction
_AWAY: Final = ("08", "53", "57", "58", "25006")
_LOST_RACE: Final = ("40001", "40P01", "23505")
_NOT_ALLOWED: Final = "42501"


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
    if isinstance(error, (OperationalError, InterfaceError)) and not state:
        return Refused("store_unavailable")
    return error


FAULTS = (SQLAlchemyError, OSError, TimeoutError)
