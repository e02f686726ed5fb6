"""The database: opening it at the newest schema, units of work, wake-ups.

SQLite (embedded): one connection writes, a few read, WAL, every commit synced. PostgreSQL: a pool; each transaction
acts as a role that owns nothing, bound to one tenant by row-level security. Fail closed: what cannot be opened,
migrated or reached is `Refused("store_unavailable")`, a schema from the future `Refused("schema_too_new")`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from callgate.errors import Refused
from callgate.store import migrate, partitions
from callgate.store.faults import FAULTS, opening, translate
from callgate.store.listen import Listener
from callgate.store.unit import Unit

_T = TypeVar("_T")
_SQLITE = "sqlite:///"
_BUSY_MS = 10_000
_COMMAND_SECONDS = 15.0
_CHECKPOINTS, _BETWEEN_SECONDS = 20, 0.05
_CONNECT_SECONDS = 5.0
_ENTER = text("SELECT set_config('role', :role, true), set_config('callgate.tenant', :tenant, true)")
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Database:
    """One open store. `dialect` is `sqlite` or `postgresql`; `path` the SQLite file; `url` as given."""

    def __init__(self, url: str, writer: AsyncEngine, reader: AsyncEngine, path: Path | None) -> None:
        self.url = url
        self.path = path
        self.dialect = "sqlite" if path is not None else "postgresql"
        self._writer = writer
        self._reader = reader
        self._listener = Listener(None if path is not None else url)

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Open `sqlite:///<file>` or `postgresql://…` and migrate it to the newest schema.

        Raises `Refused`: schema_too_new, store_unavailable (with what to do), bad_setting.
        """
        if url.startswith(_SQLITE):
            path = Path(url.removeprefix(_SQLITE))
            _make_private(path)
            writer, reader = _sqlite_engine(path, write=True), _sqlite_engine(path, write=False)
        elif url.startswith(("postgresql://", "postgres://")):
            path = None
            writer = reader = _postgresql_engine(url)
        else:
            raise Refused("bad_setting", "The database URL must start with postgresql:// or sqlite:///.")
        database = cls(url, writer, reader, path)
        try:
            await database._migrate()
        except BaseException:
            await database.close()
            raise
        await database._listener.start()
        return database

    async def close(self) -> None:
        """Close every connection; open units fail."""
        await self._listener.stop()
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()

    @asynccontextmanager
    async def unit(self, tenant: str | None, *, write: bool = True) -> AsyncIterator[Unit]:
        """One transaction of one tenant, or of the whole store (None: maintenance, token look-up).

        Commits at a clean exit, rolls back at an error. `write=False` is a consistent read that waits for no writer.
        Raises `Refused`: store_unavailable, conflict (a unique value was taken meanwhile).
        """
        connection = await self._connect(write)
        try:
            unit = Unit(connection, tenant, write)
            await self._enter(connection, tenant, write)
            yield unit
            await unit.notify()
            await _translated(connection.commit())
        finally:
            await connection.close()
        for payload in unit.wakes:
            self._listener.wake(payload)

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back on the loop with `tenant:aggregate` or `mail:<replica>` after commits, here and elsewhere.

        A wake-up may come twice, or get lost while the server is away: pollers are the guarantee. Returns the undo.
        """
        return self._listener.add(callback)

    async def maintain(self) -> None:
        """Make the audit's partitions ahead of time (PostgreSQL); call it once a day."""
        if self.dialect == "postgresql":
            try:
                async with self._writer.begin() as connection:
                    await connection.run_sync(partitions.make_ahead)
            except FAULTS as error:
                raise translate(error) from None

    async def scrub(self) -> None:
        """Have what was overwritten leave the files: SQLite's journal, PostgreSQL's dead rows of the keysets."""
        try:
            if self.dialect == "postgresql":
                async with self._writer.connect() as connection:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    await connection.execute(text("VACUUM keysets"))
                return
            for _ in range(_CHECKPOINTS):
                async with self._writer.connect() as connection:
                    raw: Any = (await connection.get_raw_connection()).driver_connection
                    found = await raw.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                if found[0][0] == 0:  # no reader was in the way
                    return
                await asyncio.sleep(_BETWEEN_SECONDS)
        except FAULTS as error:
            raise translate(error) from None

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _connect(self, write: bool) -> AsyncConnection:
        engine = self._writer if write else self._reader
        connection = engine.connect()
        await _translated(connection.start())
        return connection

    async def _enter(self, connection: AsyncConnection, tenant: str | None, write: bool) -> None:
        if self.dialect == "postgresql" and not write:
            await connection.execution_options(**_SNAPSHOT)
        await _translated(connection.begin().start())
        if self.dialect == "postgresql":
            role = "callgate_system" if tenant is None else "callgate_app"
            await _translated(connection.execute(_ENTER, {"role": role, "tenant": tenant or ""}))

    async def _migrate(self) -> None:
        try:
            async with self._writer.begin() as connection:
                await connection.run_sync(migrate.to_head)
                if self.dialect == "postgresql":
                    await connection.run_sync(partitions.make_ahead)
        except FAULTS as error:
            path = self.path
            what = f"The database {path} cannot be opened" if path else "The PostgreSQL server cannot be used"
            raise opening(error, what) from None


async def _translated(work: Awaitable[_T]) -> _T:
    try:
        return await work
    except FAULTS as error:
        raise translate(error) from None


def _make_private(path: Path) -> None:
    """Make the file for its owner alone, unless it exists; says why it cannot be used before a driver does."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Refused("store_unavailable", f"The database {path} cannot be opened: {error.strerror}.") from None


def _sqlite_engine(path: Path, *, write: bool) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if write else 3,
        max_overflow=0,
        pool_timeout=_COMMAND_SECONDS,
        connect_args={"timeout": _BUSY_MS / 1000},
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: DBAPIConnection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGINs are off: see below
        try:
            cursor = connection.cursor()
            for pragma in _pragmas(write):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            connection.close()  # the pool does not have it yet
            raise

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Any) -> None:
        # IMMEDIATE: a transaction that will write takes the lock at once; it cannot lose it halfway
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _pragmas(write: bool) -> tuple[str, ...]:
    common = (f"busy_timeout={_BUSY_MS}", "foreign_keys=ON", "cache_size=-8000")
    return (
        (*common, "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON") if write else (*common, "query_only=ON")
    )


def _postgresql_engine(url: str) -> AsyncEngine:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn=url, timeout=_CONNECT_SECONDS, command_timeout=_COMMAND_SECONDS)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=8,
        max_overflow=8,
        pool_timeout=_CONNECT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
    )
