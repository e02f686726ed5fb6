"""Fixtures of all tests: a real PostgreSQL server, and the store on both databases.

`pg_cluster` (session) the server · `pg_url` a migrated database without rows · `pg_empty_url` a fresh, empty one ·
`db_url`, `db` the store, once on SQLite and once on PostgreSQL · `sqlite_url` a SQLite file of the test's own.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from callgate.store.engine import Database
from tests.support.postgres import OWNER, Cluster

# no test asserts on time: a busy machine is no defect
settings.register_profile("callgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("callgate")
_numbers = itertools.count()
_MIGRATED = "callgate_tests"
# deleting is faster than making a database or truncating, as long as there are few rows
_EMPTY = """
DO $$ DECLARE name text; BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
  LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
END $$
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test has an id of its own: of those with the same, a run in several processes takes one and forgets the
    rest."""
    twice = [id_ for id_, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests are called {', '.join(twice[:5])}: give each an id of its own")


@pytest.fixture(scope="session")
def pg_cluster() -> Iterator[Cluster]:
    """A running PostgreSQL server; the test fails when PostgreSQL is not installed."""
    cluster = Cluster.start()
    try:
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture(scope="session")
def _pg_migrated(pg_cluster: Cluster) -> str:
    pg_cluster.sql(f"CREATE DATABASE {_MIGRATED} OWNER {OWNER}")

    async def migrate() -> None:
        database = await Database.open(pg_cluster.url(_MIGRATED))
        await database.close()

    asyncio.run(migrate())
    return _MIGRATED


@pytest.fixture
def pg_url(pg_cluster: Cluster, _pg_migrated: str) -> str:
    """The URL of a migrated database in which this test is alone: whoever was left is cut off, every row is gone."""
    pg_cluster.sql(_EMPTY, _pg_migrated)
    return pg_cluster.url(_pg_migrated)


@pytest.fixture
def pg_empty_url(pg_cluster: Cluster) -> str:
    """The URL of an empty database of this test's own."""
    name = f"test_{next(_numbers)}"
    pg_cluster.sql(f"CREATE DATABASE {name} OWNER {OWNER}")
    return pg_cluster.url(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file of this test's own; it does not exist yet."""
    return f"sqlite:///{tmp_path / 'callgate.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def db_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store of this test's own, on each database in turn."""
    found = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "pg_url")
    assert isinstance(found, str)
    return found


@pytest.fixture
async def db(db_url: str) -> AsyncIterator[Database]:
    """An open store, on each database in turn."""
    database = await Database.open(db_url)
    try:
        yield database
    finally:
        await database.close()
