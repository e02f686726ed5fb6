"""Bringing a database to the newest schema, by whichever process opens it first.

Fail closed: a schema that this program does not know (written by a newer one) is refused before anything is written.
Processes that race wait for each other: SQLite by its write lock, PostgreSQL by an advisory lock.
"""

from importlib import import_module

from sqlalchemy import Connection, inspect, text

from callgate.errors import Refused

ADVISORY_LOCK = 0x63616C6C67617465  # "callgate"
ROLES = ("callgate_app", "callgate_system", "callgate_audit")
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")  # oldest first


def to_head(connection: Connection) -> None:
    """Migrate inside the connection's open transaction. Raises `Refused`: schema_too_new, store_unavailable."""
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    current = _current(connection)
    unknown = sorted(current - set(REVISIONS))
    if unknown:
        raise Refused(
            "schema_too_new",
            f"The database has schema {', '.join(unknown)}, which this Callgate does not know; upgrade Callgate.",
        )
    if postgresql:
        _ensure_roles(connection)
    if current != {REVISIONS[-1]}:
        # loaded only when there is something to do: Alembic holds 9 MB, which no running gateway needs
        import_module("callgate.store.migrations.upgrade").to_head(connection)


def _current(connection: Connection) -> set[str]:
    if not inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def _ensure_roles(connection: Connection) -> None:
    """Make the roles that own nothing, and let the connecting role act as them."""
    role = connection.execute(text("SELECT current_user")).scalar_one()
    existing = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
    lacking = [
        name
        for name in ROLES
        if name not in existing
        or not connection.execute(text("SELECT pg_has_role(:name, 'MEMBER')"), {"name": name}).scalar_one()
    ]
    if not lacking:
        return
    mine = connection.execute(text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"))
    if not mine.scalar_one():
        lines = [f"CREATE ROLE {name} NOLOGIN;" for name in lacking if name not in existing]
        lines += [f'GRANT {name} TO "{role}";' for name in lacking]
        raise Refused(
            "store_unavailable",
            f"The database role {role} may not create roles. Run this once as a superuser: {' '.join(lines)}",
        )
    quoted = '"' + role.replace('"', '""') + '"'
    for name in lacking:
        # roles belong to the whole server, so another database's migration may make them at the same time
        connection.execute(
            text(
                f"DO $$ BEGIN CREATE ROLE {name} NOLOGIN; "
                "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            )
        )
        connection.execute(text(f"GRANT {name} TO {quoted}"))
