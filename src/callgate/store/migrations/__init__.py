"""Alembic migrations, shipped with the package and run by `store.migrate` in the process that opens the store.

A migration that has landed is never edited; a change of the schema is a new one.
They must never import `store.schema` (it moves on) or anything of the layers above.
"""
