"""The recorder that fits the store."""

from pathlib import Path

from callgate.audit.journal import JournalRecorder
from callgate.audit.postgresql import PostgreSQLRecorder
from callgate.store.engine import Database


async def open_recorder(db: Database, data_dir: Path) -> JournalRecorder | PostgreSQLRecorder:
    """A started recorder: a journal under `data_dir` for SQLite, straight into PostgreSQL otherwise.

    Raises `Refused`: not_recorded, store_unavailable. A gateway without a durable sink must not start (promise 3).
    """
    if db.path is None:
        recorder: JournalRecorder | PostgreSQLRecorder = PostgreSQLRecorder(db.url)
    else:
        recorder = JournalRecorder(data_dir / "journal", db.path)
    await recorder.start()
    return recorder
