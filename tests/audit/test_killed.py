"""Killed at any moment: what was told durable is in the audit; what was open is `unknown` (promise 3).

Real processes and SIGKILL. The moments are spread by how much the process has said before it is killed.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from callgate.audit.abandoned import settle
from callgate.audit.opening import open_recorder
from callgate.model.entry import Entry
from callgate.store import audit, replicas
from callgate.store.engine import Database

ROOT = Path(__file__).parents[2]


def run_and_kill(kind: str, where: str, after: int) -> tuple[set[str], set[str]]:
    """Let the child say `after` lines, then kill it. (ids of durable intents, ids of durable outcomes)."""
    command = [sys.executable, "-m", "tests.audit.child", kind, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        assert said == ["ready\n"]
        while len(said) <= after:
            said.append(child.stdout.readline())
        child.kill()
        said += child.stdout.read().splitlines(keepends=True)
    whole = [line.split() for line in said if line.endswith("\n") and line != "ready\n"]
    return {key for kind, key in whole if kind == "I"}, {key for kind, key in whole if kind == "O"}


async def everything(db: Database) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    after = None
    async with db.unit("default", write=False) as unit:
        while page := await audit.page(unit, after, 1000):
            found |= {entry.id: entry for entry in page}
            after = audit.cursor(page[-1])
    return found


@pytest.mark.parametrize("after", [1, 7, 100, 1500])
async def test_a_killed_embedded_gateway_loses_nothing_it_said_was_durable(tmp_path: Path, after: int) -> None:
    intents, outcomes = run_and_kill("sqlite", str(tmp_path), after)
    db = await Database.open(f"sqlite:///{tmp_path}/callgate.db")
    recorder = await open_recorder(db, tmp_path)  # the next start replays
    found = await everything(db)
    await recorder.stop()
    await db.close()
    assert intents <= found.keys()
    assert {found[key].outcome for key in outcomes} <= {"result"}
    assert None not in {entry.outcome for entry in found.values()}
    still_open = {key for key in intents - outcomes if found[key].outcome == "unknown"}
    assert len([entry for entry in found.values() if entry.outcome == "unknown"]) <= 8
    assert still_open <= intents


@pytest.mark.parametrize(
    "kills",
    [(50, 3, 400), pytest.param(tuple(number * 37 % 1009 + 1 for number in range(60)), marks=pytest.mark.soak)],
    ids=["three", "sixty"],
)
async def test_killed_again_and_again_the_record_stays_whole(tmp_path: Path, kills: tuple[int, ...]) -> None:
    intents: set[str] = set()
    outcomes: set[str] = set()
    for after in kills:
        more = run_and_kill("sqlite", str(tmp_path), after)
        intents |= more[0]
        outcomes |= more[1]
    db = await Database.open(f"sqlite:///{tmp_path}/callgate.db")
    recorder = await open_recorder(db, tmp_path)
    found = await everything(db)
    await recorder.stop()
    await db.close()
    assert intents <= found.keys()
    assert {found[key].outcome for key in outcomes} == {"result"}
    assert None not in {entry.outcome for entry in found.values()}


@pytest.mark.postgres
async def test_a_killed_replica_loses_nothing_it_said_was_durable(pg_url: str) -> None:
    intents, outcomes = run_and_kill("postgresql", pg_url, 300)
    db = await Database.open(pg_url)
    found = await everything(db)
    assert intents <= found.keys()
    assert {found[key].outcome for key in outcomes} == {"result"}

    async with db.unit(None) as unit:
        await replicas.heartbeat(unit, "r1", {}, b"", {})
    assert await settle(db) == 0  # it may still live
    left = {key for key, entry in found.items() if entry.outcome is None}
    assert await settle(db, silent=-60) == len(left)
    found = await everything(db)
    assert {found[key].outcome for key in left} <= {"unknown"}
    assert await settle(db, silent=-60) == 0
    await db.close()
