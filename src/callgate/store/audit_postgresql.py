"""Inserting audit events into PostgreSQL: a whole group by one statement from arrays, as a role that can only insert.

Idempotent: an event that is there already is left as it is, so a group whose commit got lost is sent again. Fail
closed: a server that is away, full or read-only is `Refused("store_unavailable")` and nothing of the group is in it.
"""

import contextlib
from collections.abc import Sequence

import asyncpg

from callgate.errors import Refused
from callgate.model.event import Change, Event, Intent, Outcome

_CONNECT_SECONDS = 3.0
_INSERT_SECONDS = 5.0
_FORMS = ((Intent, "intent"), (Outcome, "outcome"), (Change, "change"))
_NUMBERS = frozenset(
    {"at", "ruleset", "args_bytes", "unknown_name_length", "result_bytes", "duration_us", "upstream_us", "cost"}
)


def _statement() -> str:
    inserts = []
    first = 1
    for form, kind in _FORMS:
        fields = form.__struct_fields__
        columns = ", ".join(f'"{name}"' for name in fields)
        arrays = ", ".join(
            f"${first + number}::{'bigint' if name in _NUMBERS else 'text'}[]" for number, name in enumerate(fields)
        )
        inserts.append(
            f"INSERT INTO audit (kind, {columns}) SELECT '{kind}', given.* FROM unnest({arrays}) AS given "  # noqa: S608
            "ON CONFLICT DO NOTHING"
        )
        first += len(fields)
    return f"WITH intents AS ({inserts[0]}), outcomes AS ({inserts[1]}) {inserts[2]}"


_STATEMENT = _statement()


class PostgreSQLAudit:
    """One connection, made at the first use and again after a failure."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None

    async def insert(self, events: Sequence[Event]) -> None:
        """Insert events durably. Raises `Refused("store_unavailable")`, `ValueError` for what no column can hold."""
        arguments: list[list[object]] = []
        for form, _ in _FORMS:
            of_form = [event for event in events if type(event) is form]
            arguments += [[getattr(event, name) for event in of_form] for name in form.__struct_fields__]
        try:
            connection = self._connection or await self._connect()
            await connection.execute(_STATEMENT, *arguments, timeout=_INSERT_SECONDS)
        except (asyncpg.DataError, ValueError) as error:  # the client's own DataError is a ValueError
            raise ValueError(type(error).__name__) from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            await self.close()
            raise Refused("store_unavailable") from None

    async def ping(self) -> None:
        """Raise `Refused("store_unavailable")` unless events can be inserted now."""
        await self.insert(())

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connect(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(dsn=self._url, timeout=_CONNECT_SECONDS, command_timeout=_INSERT_SECONDS)
        try:
            # durable means durable, whatever the server's default
            await connection.execute("SET ROLE callgate_audit; SET synchronous_commit = on")
        except BaseException:
            with contextlib.suppress(OSError):
                connection.terminate()
            raise
        self._connection = connection
        return connection
