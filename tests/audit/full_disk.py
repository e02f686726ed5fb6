"""A process whose disk becomes full and free again: a file-size limit of 0 makes every write fail as a full disk does.

argv: a directory. Prints one JSON object of what was seen.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path

from callgate.audit.journal import JournalRecorder
from callgate.errors import Refused
from callgate.store import audit
from callgate.store.engine import Database
from tests.support.events import intent, outcome
from tests.support.waiting import until


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def attempt(recorder: JournalRecorder, event: object) -> str:
    try:
        await recorder.record(event)  # type: ignore[arg-type]
    except Refused as refused:
        return refused.code
    return "recorded"


async def main(directory: Path) -> None:
    db = await Database.open(f"sqlite:///{directory}/callgate.db")
    assert db.path is not None
    recorder = JournalRecorder(directory / "journal", db.path, segment_bytes=20_000)
    await recorder.start()
    before, during, at_once, after = intent(), intent(), intent(), intent()
    seen: dict[str, object] = {"before": await attempt(recorder, before)}
    answered = outcome(before, durability="relaxed")
    limit(0)
    seen["relaxed"] = await attempt(recorder, answered)
    seen["during"] = await attempt(recorder, during)
    seen["healthy_during"] = recorder.healthy
    seen["at_once"] = await attempt(recorder, at_once)
    limit(resource.RLIM_INFINITY)

    async def works() -> bool:
        return recorder.healthy

    await until(works)
    seen["after"] = await attempt(recorder, after)
    await recorder.flush()
    async with db.unit("default", write=False) as unit:
        found = {entry.id: entry.outcome for entry in await audit.page(unit)}
    seen["found"] = {
        name: found.get(event.id, "absent")
        for name, event in (("before", before), ("after", after), ("at_once", at_once))
    }
    seen["during_outcome"] = found.get(during.id, "absent")
    await recorder.stop()
    await db.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
