"""What a database error means, without its statement or values."""

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, PendingRollbackError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from callgate.errors import Refused
from callgate.store.faults import opening, translate

SECRET = "hunter2"


class Server(Exception):
    """As asyncpg's errors: with an SQLSTATE."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(SECRET)
        self.sqlstate = sqlstate


def server(sqlstate: str) -> DBAPIError:
    return DBAPIError(f"INSERT {SECRET}", {"value": SECRET}, Server(sqlstate))


def lost() -> DBAPIError:
    return DBAPIError("SELECT 1", None, Exception("gone"), connection_invalidated=True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError("refused"), "store_unavailable"),
        (TimeoutError(), "store_unavailable"),
        (PoolTimeout(), "store_unavailable"),
        (PendingRollbackError(), "store_unavailable"),
        (OperationalError("x", None, sqlite3.OperationalError("database or disk is full")), "store_unavailable"),
        (lost(), "store_unavailable"),
        (server("57P01"), "store_unavailable"),
        (server("53100"), "store_unavailable"),
        (server("25006"), "store_unavailable"),
        (server("42501"), "store_unavailable"),
        (server("40P01"), "conflict"),
        (server("23505"), "conflict"),
        (IntegrityError("x", None, Exception(SECRET)), "conflict"),
    ],
)
def test_errors_of_the_database_are_refusals_that_say_nothing_of_values(error: Exception, code: str) -> None:
    refused = translate(error)
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert SECRET not in refused.sentence


@pytest.mark.parametrize("error", [server("42601"), ProgrammingError("x", None, Exception()), KeyError()])
def test_our_own_mistakes_surface(error: Exception) -> None:
    assert translate(error) is error


def test_at_opening_every_error_is_a_reason_not_to_start() -> None:
    for error in (server("3D000"), server("42501"), OSError("refused"), TimeoutError()):
        refused = opening(error, "The store cannot be used")
        assert isinstance(refused, Refused)
        assert refused.code == "store_unavailable"
        assert len(refused.sentence) > 20
    conflict = opening(server("40001"), "x")
    assert isinstance(conflict, Refused)
    assert conflict.code == "conflict"
