"""Runs the migrations with Alembic. Loaded by `store.migrate` when a database is not at the newest schema.

Fail closed: whatever goes wrong is raised, and the caller's transaction undoes all of it.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def config() -> Config:
    """Where the migrations are; there is no ini file."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return found


def to_head(connection: Connection) -> None:
    """Bring the schema up to date in the connection's open transaction."""
    found = config()
    found.attributes["connection"] = connection
    command.upgrade(found, "head")
