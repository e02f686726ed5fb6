"""Alembic's entry: the connection is handed in by `store.migrate`; there is no offline mode and no ini file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
context.run_migrations()
