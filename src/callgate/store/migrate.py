"""Bringing a database to the newest schema, by whichever process opens it first.

Fail closed: a schema that this program does not know (written by a newer one) is refused before anything is written.
Processes that race wait for each other: SQLite by its write lock, PostgreSQL by an advisory lock.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from callgate.errors import Refused

ADVISORY_LOCK = 0x63616C6C67617465  # "callgate"
ROLES = ("callgate_app", "callgate_system", "callgate_audit")
_HERE = Path(__file__).parent / "migrations"


def to_head(connection: Connection) -> None:
    """Migrate inside the connection's open transaction. Raises `Refused`: schema_too_new, store_unavailable."""
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_heads()
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = sorted(set(current) - known)
    if unknown:
        raise Refused(
            "schema_too_new",
            f"The database has schema {', '.join(unknown)}, which this Callgate does not know; upgrade Callgate.",
        )
    if postgresql:
        _ensure_roles(connection)
    if set(current) != set(script.get_heads()):
        command.upgrade(config, "head")


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
