"""Migrations: what they make is what the schema says; a schema from the future is refused; processes may race."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from callgate.errors import Refused
from callgate.store import migrate, scim_schema
from callgate.store.engine import Database
from callgate.store.migrate import ROLES
from callgate.store.migrations import upgrade
from tests.support.postgres import Cluster

OPEN = """
import asyncio, sys
from callgate.store.engine import Database
async def main():
    db = await Database.open(sys.argv[1])
    async with db.unit("default") as unit:
        print(await unit.bump("rules"))
    await db.close()
asyncio.run(main())
"""


def differences(connection: Connection) -> list[object]:
    # partitions are made by the program, not by the schema
    options = {"include_name": lambda name, kind, _parents: kind != "table" or not str(name).startswith("audit_")}
    context = MigrationContext.configure(connection, opts={"compare_type": True, **options})
    return [
        item for item in compare_metadata(context, scim_schema.groups.metadata) if "alembic_version" not in str(item)
    ]


def test_every_revision_is_known_in_its_order() -> None:
    walked = ScriptDirectory.from_config(upgrade.config()).walk_revisions()
    assert [one.revision for one in walked] == list(reversed(migrate.REVISIONS))


def test_a_database_that_is_up_to_date_needs_no_alembic(sqlite_url: str) -> None:
    loaded = OPEN + "print('alembic' in sys.modules)"
    for expected in ("True", "False"):
        done = subprocess.run([sys.executable, "-c", loaded, sqlite_url], capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == expected


async def test_the_migrations_make_what_the_schema_says(db: Database) -> None:
    async with db._writer.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_opening_again_changes_nothing(db: Database, db_url: str) -> None:
    async with db.unit("default") as unit:
        await unit.bump("rules")
    again = await Database.open(db_url)
    async with again.unit("default") as unit:
        assert await unit.bump("rules") == 2
    await again.close()


async def test_a_schema_from_the_future_is_refused_and_left_alone(
    sqlite_url: str, tmp_path: Path, pg_empty_url: str, pg_cluster: Cluster
) -> None:
    for url in (sqlite_url, pg_empty_url):
        await (await Database.open(url)).close()
    with sqlite3.connect(tmp_path / "callgate.db") as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    file.close()
    pg_cluster.sql("UPDATE alembic_version SET version_num = '9999'", pg_empty_url.rpartition("/")[2])
    for url in (sqlite_url, pg_empty_url):
        with pytest.raises(Refused, match=r"9999.*upgrade Callgate") as caught:
            await Database.open(url)
        assert caught.value.code == "schema_too_new"
    assert pg_cluster.sql("SELECT version_num FROM alembic_version", pg_empty_url.rpartition("/")[2]).strip() == "9999"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_open_an_empty_database_at_once_all_succeed(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "pg_empty_url")
    starts = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [start.communicate(timeout=60) for start in starts]
    assert sorted(out.strip() for out, _ in told) == ["1", "2", "3"], [err[-500:] for _, err in told]


async def test_a_role_that_may_not_make_roles_is_told_what_to_run(tmp_path: Path) -> None:
    cluster = await asyncio.to_thread(Cluster.start)  # a server without our roles
    try:
        cluster.sql("CREATE ROLE plain LOGIN")
        cluster.sql("CREATE DATABASE plain OWNER plain")
        with pytest.raises(Refused) as caught:
            await Database.open(cluster.url("plain", "plain"))
        assert caught.value.code == "store_unavailable"
        _, _, lines = caught.value.sentence.partition("superuser: ")
        assert lines.count("CREATE ROLE") == lines.count("GRANT") == len(ROLES)
        cluster.sql(lines)
        await (await Database.open(cluster.url("plain", "plain"))).close()
    finally:
        await asyncio.to_thread(cluster.destroy)
