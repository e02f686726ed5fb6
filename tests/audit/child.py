"""A process that records calls until it is killed, and says on stdout what it was told is durable.

argv: `sqlite <directory>` or `postgresql <url>`. Prints `I <id>` and `O <id>`, each after the recorder's callback.
"""

import asyncio
import os
import sys
from pathlib import Path

import uvloop

from callgate.audit.journal import JournalRecorder
from callgate.audit.postgresql import PostgreSQLRecorder
from callgate.model.event import Intent
from callgate.store.engine import Database
from tests.support.events import intent, outcome

CALLERS = 8


async def call(recorder: JournalRecorder | PostgreSQLRecorder) -> None:
    made: Intent = intent()
    await recorder.record(made)
    os.write(1, f"I {made.id}\n".encode())
    await recorder.record(outcome(made))
    os.write(1, f"O {made.id}\n".encode())


async def caller(recorder: JournalRecorder | PostgreSQLRecorder) -> None:
    while True:
        await call(recorder)


async def main(kind: str, where: str) -> None:
    if kind == "sqlite":
        directory = Path(where)
        db = await Database.open(f"sqlite:///{directory}/callgate.db")
        assert db.path is not None
        # small files, so that a kill also falls into rotating and loading
        recorder: JournalRecorder | PostgreSQLRecorder = JournalRecorder(
            directory / "journal", db.path, segment_bytes=30_000
        )
    else:
        recorder = PostgreSQLRecorder(where)
    await recorder.start()
    os.write(1, b"ready\n")
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller(recorder))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
