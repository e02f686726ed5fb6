"""The unit of work: one transaction of one tenant, or of the whole store.

Everything that aggregates write in a unit becomes visible together with the revisions that the unit bumped; listeners
are woken after the commit. Fail closed: an error inside rolls everything back and wakes nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CursorResult, Executable, text
from sqlalchemy.ext.asyncio import AsyncConnection

from callgate import clock
from callgate.store import schema
from callgate.store.faults import FAULTS, translate
from callgate.store.upsert import insert_or

CHANNEL = "callgate"


class Unit:
    """One transaction. Made by `Database.unit`; handed to the functions of the aggregates, used by nobody else."""

    def __init__(self, connection: AsyncConnection, scope: str | None, write: bool) -> None:
        self._connection = connection
        self._scope = scope
        self._write = write
        self._bumped: dict[str, int] = {}
        self.wakes: dict[str, None] = {}  # payloads for the listeners, in order, each once

    @property
    def tenant(self) -> str:
        """The tenant this unit is bound to. Raises `LookupError` in a unit over all tenants."""
        if self._scope is None:
            raise LookupError("this unit is over all tenants; open it with a tenant")
        return self._scope

    @property
    def scope(self) -> str | None:
        """The tenant, or None in a unit over all tenants."""
        return self._scope

    def require_system(self) -> None:
        """Raise `LookupError` unless this unit is over all tenants."""
        if self._scope is not None:
            raise LookupError("this needs a unit over all tenants; open it with None")

    @property
    def postgresql(self) -> bool:
        return self._connection.dialect.name == "postgresql"

    async def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> "CursorResult[*tuple[Any, ...]]":
        """Run one statement. Raises `Refused`: store_unavailable, conflict."""
        try:
            return await self._connection.execute(statement, values)
        except FAULTS as error:
            raise translate(error) from None

    async def bump(self, aggregate: str) -> int:
        """The revision of (tenant, aggregate) that this unit's changes carry: one per unit and aggregate.

        The row stays locked to the commit, so revisions become visible in their order.
        """
        if not self._write:
            raise LookupError("this unit is for reading; open it with write=True")
        known = self._bumped.get(aggregate)
        if known is not None:
            return known
        table = schema.revisions
        statement = insert_or(self.postgresql, table).values(tenant=self.tenant, aggregate=aggregate, revision=1)
        result = await self.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.tenant, table.c.aggregate], set_={"revision": table.c.revision + 1}
            ).returning(table.c.revision)
        )
        revision = int(result.scalar_one())
        self._bumped[aggregate] = revision
        self.wake(f"{self.tenant}:{aggregate}")
        return revision

    def wake(self, payload: str) -> None:
        """Wake listeners with this payload after the commit. Names only, never data."""
        self.wakes[payload] = None

    async def now(self) -> float:
        """Seconds since 1970 on the clock that all replicas share: the server's, or this process's for SQLite."""
        if not self.postgresql:
            return clock.now()
        result = await self.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
        return float(result.scalar_one())

    async def notify(self) -> None:
        """Put the wake-ups into the transaction, for the other replicas (PostgreSQL only)."""
        if self.postgresql and self.wakes:
            statement = text("SELECT pg_notify(:channel, payload) FROM unnest(CAST(:all AS text[])) AS payload")
            await self.execute(statement, {"channel": CHANNEL, "all": list(self.wakes)})
