"""Loading audit events into SQLite: many rows by one statement, outside of Python's lock.

Idempotent: an event that is there already is left as it is. Fail closed: a database that is locked, full or gone is
`Refused("store_unavailable")` and nothing of the group is in it.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from callgate.errors import Refused
from callgate.model.event import Change, Intent, Outcome

_BUSY_SECONDS = 10.0


def _statement(kind: str, fields: tuple[str, ...]) -> str:
    # an event is a JSON array with its tag first, then its fields in order
    columns = ", ".join(f'"{name}"' for name in fields)
    values = ", ".join(f"value ->> {number}" for number in range(1, len(fields) + 1))
    return (
        f"INSERT INTO audit (kind, {columns}) SELECT '{kind}', {values} FROM json_each(?) WHERE true "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )


_STATEMENTS = tuple(
    (f'["{kind}"'.encode(), _statement(kind, form.__struct_fields__))
    for kind, form in (("intent", Intent), ("outcome", Outcome), ("change", Change))
)


class SQLiteAudit:
    """One connection for one thread, made at the first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def load(self, lines: Iterable[bytes]) -> None:
        """Insert events given as JSON, durably. Raises `Refused("store_unavailable")`."""
        kinds: list[list[bytes]] = [[] for _ in _STATEMENTS]
        for line in lines:
            for number, (prefix, _) in enumerate(_STATEMENTS):
                if line.startswith(prefix):
                    kinds[number].append(line)
                    break
        try:
            self._insert(kinds)
        except sqlite3.Error as error:
            self.close()
            raise Refused("store_unavailable", f"The audit cannot be loaded: {error}.") from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _insert(self, kinds: list[list[bytes]]) -> None:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous=FULL")
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for lines, (_, statement) in zip(kinds, _STATEMENTS, strict=True):
            if lines:
                connection.execute(statement, ((b"[" + b",".join(lines) + b"]").decode(),))
        connection.execute("COMMIT")
