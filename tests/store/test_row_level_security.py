"""Attacks on the tenants' wall in PostgreSQL, with SQL of an attacker who got hold of a unit's connection.

The wall is the server's: these tests go round the queries of the aggregates on purpose (design §4 and §6).
"""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from callgate.model.event import Change
from callgate.model.person import Person
from callgate.store import audit, people, scim_schema, tenants
from callgate.store.engine import Database
from callgate.store.migrate import ROLES
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.postgres
CHANGE = Change(id="chg_1", at=1_790_000_000_000_000, tenant="acme", actor="operator:0", action="a.b", subject="s")
TENANT_TABLES = sorted(name for name, table in scim_schema.groups.metadata.tables.items() if "tenant" in table.c)


@pytest.fixture
async def pg(pg_url: str) -> AsyncIterator[Database]:
    database = await Database.open(pg_url)
    async with database.unit(None) as unit:
        await tenants.ensure(unit, "acme")
        await tenants.ensure(unit, "other")
    for name in ("acme", "other"):
        async with database.unit(name) as unit:
            await people.add(unit, Person(id="per_1", tenant=name, email=f"ana@{name}.test"))
    async with database.unit("acme") as unit:
        await audit.append(unit, CHANGE)
    yield database
    await database.close()


async def as_role(url: str, role: str, tenant: str | None, *statements: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {role}")
            if tenant is not None:
                await connection.execute("SELECT set_config('callgate.tenant', $1, true)", tenant)
            found: list[asyncpg.Record] = []
            for statement in statements:
                found = await connection.fetch(statement)
            return found
    finally:
        await connection.close()


async def test_a_unit_sees_its_tenant_even_where_the_query_names_no_tenant(pg: Database) -> None:
    async with pg.unit("acme") as unit:
        rows = await unit.execute(text("SELECT tenant FROM people"))
        assert [row[0] for row in rows] == ["acme"]
    async with pg.unit(None) as unit:
        rows = await unit.execute(text("SELECT tenant FROM people"))
        assert {row[0] for row in rows} == {"acme", "other"}


@pytest.mark.parametrize("table", [*TENANT_TABLES, "tenants"])
async def test_without_a_tenant_nothing_is_seen_in_any_table(pg: Database, pg_url: str, table: str) -> None:
    for tenant in (None, "", "acme' OR '1'='1"):
        assert await as_role(pg_url, "callgate_app", tenant, f"SELECT 1 FROM {table}") == []


@pytest.mark.parametrize("table", [*TENANT_TABLES, "tenants"])
async def test_every_table_of_a_tenant_has_its_wall_up_for_its_owner_too(
    pg: Database, pg_url: str, table: str
) -> None:  # fmt: skip
    rows = await as_role(
        pg_url, OWNER, None, f"SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = '{table}'"
    )
    assert [tuple(row) for row in rows] == [(True, True)]
    assert await as_role(pg_url, OWNER, "acme", f"SELECT 1 FROM {table}") == []


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO revisions (tenant, aggregate, revision) VALUES ('other', 'x', 1)",
        "UPDATE people SET tenant = 'other'",
        "INSERT INTO audit (tenant, id, kind, at) VALUES ('other', 'x', 'change', 1)",
    ],
)
async def test_nothing_can_be_written_for_another_tenant(pg: Database, pg_url: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await as_role(pg_url, "callgate_app", "acme", statement)


async def test_rows_of_another_tenant_cannot_be_changed_or_deleted(pg: Database, pg_url: str) -> None:
    await as_role(
        pg_url, "callgate_app", "acme", "UPDATE people SET active = false WHERE tenant = 'other'", "DELETE FROM people"
    )
    rows = await as_role(pg_url, "callgate_system", None, "SELECT tenant, active FROM people")
    assert [tuple(row) for row in rows] == [("other", True)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("statement", ["UPDATE audit SET code = 'x'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_nobody_changes_or_deletes_the_audit(pg: Database, pg_url: str, role: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_role(pg_url, role, "acme", statement)


async def test_the_recording_role_inserts_and_does_nothing_else(pg: Database, pg_url: str) -> None:
    insert = "INSERT INTO audit (tenant, id, kind, at) VALUES ('acme', 'x', 'change', 1) ON CONFLICT DO NOTHING"
    await as_role(pg_url, "callgate_audit", None, insert)
    for table in (*TENANT_TABLES, "tenants", "leases", "replicas", "mail"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(pg_url, "callgate_audit", "acme", f"SELECT 1 FROM {table}")


async def test_partitions_are_no_way_round_the_wall(pg: Database, pg_url: str) -> None:
    names = await as_role(
        pg_url,
        OWNER,
        None,
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit'::regclass",
    )
    assert len(names) >= 5  # the default one, this month and three ahead
    for row in names:
        for role in ROLES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await as_role(pg_url, role, "acme", f"SELECT 1 FROM {row['name']}")


async def test_a_tenants_role_cannot_reach_what_all_tenants_share(pg: Database, pg_url: str) -> None:
    for table in ("leases", "replicas", "mail"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(pg_url, "callgate_app", "acme", f"SELECT 1 FROM {table}")


async def test_our_roles_own_nothing_and_cannot_log_in(pg: Database, pg_url: str) -> None:
    owned = await as_role(
        pg_url, OWNER, None,
        "SELECT relname FROM pg_class JOIN pg_roles ON relowner = pg_roles.oid WHERE rolname LIKE 'callgate\\_%' "
        f"AND rolname <> '{OWNER}'",
    )  # fmt: skip
    assert owned == []
    able = await as_role(
        pg_url, OWNER, None,
        "SELECT rolname FROM pg_roles WHERE rolname IN ('callgate_app', 'callgate_system', 'callgate_audit') "
        "AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole)",
    )  # fmt: skip
    assert able == []


async def test_the_role_and_the_tenant_end_with_the_transaction(pg: Database) -> None:
    async with pg.unit("acme") as unit:
        await unit.bump("rules")
    async with pg._writer.connect() as connection:
        row = (await connection.execute(text("SELECT current_user, current_setting('callgate.tenant', true)"))).one()
    assert row[0] == OWNER
    assert row[1] in (None, "")


async def test_units_of_many_tenants_at_once_keep_apart(pg: Database) -> None:
    async def look(tenant: str) -> set[str]:
        async with pg.unit(tenant, write=False) as unit:
            return {row[0] for row in await unit.execute(text("SELECT tenant FROM people"))}

    async with asyncio.timeout(30):
        found = await asyncio.gather(*(look(name) for name in ("acme", "other", "third") * 10))
    assert found == [{"acme"}, {"other"}, set()] * 10


async def test_partitions_ahead_are_made_by_the_daily_maintenance(
    pg_empty_url: str, pg_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await Database.open(pg_empty_url)
    monkeypatch.setattr("callgate.clock.now", lambda: 1_830_297_600.0)  # 2028-01-01
    async with db.unit("acme") as unit:
        await audit.append(unit, msgspec.structs.replace(CHANGE, at=1_830_297_600_000_001))
    await db.maintain()
    await db.maintain()
    await db.close()
    query = "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'audit'::regclass"
    names = pg_cluster.sql(query, pg_empty_url.rpartition("/")[2])
    # January already has an event in the default partition; it stays there and the others are made
    assert "audit_2028_01" not in names
    for month in ("audit_2028_02", "audit_2028_03", "audit_2028_04"):
        assert month in names
