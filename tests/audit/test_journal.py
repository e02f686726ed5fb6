"""The embedded recorder on a disk that is full, slow, read-only or rotating."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from callgate.audit import journal, rotation
from callgate.audit.disk import Disk
from callgate.audit.journal import JournalRecorder
from callgate.audit.segment import Segment
from callgate.errors import Refused
from callgate.model.entry import Entry
from callgate.model.event import Intent
from callgate.store import audit
from callgate.store.engine import Database
from tests.audit.disks import FaultyDisk, add
from tests.support.events import intent, outcome
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def embedded(sqlite_url: str) -> AsyncIterator[Database]:
    db = await Database.open(sqlite_url)
    yield db
    await db.close()


async def started(
    db: Database, directory: Path, segment_bytes: int = 20_000, disk: Callable[[asyncio.AbstractEventLoop], Disk] = Disk
) -> JournalRecorder:
    assert db.path is not None
    recorder = JournalRecorder(directory / "journal", db.path, segment_bytes=segment_bytes, disk=disk)
    await recorder.start()
    return recorder


async def entries(db: Database) -> dict[str, Entry]:
    async with db.unit("default", write=False) as unit:
        return {entry.id: entry for entry in await audit.page(unit, None, 1000)}


def test_on_a_full_disk_records_are_refused_and_taken_again_when_there_is_room(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.audit.full_disk", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert (seen["before"], seen["during"], seen["at_once"], seen["after"]) == (
        "recorded", "not_recorded", "not_recorded", "recorded",
    )  # fmt: skip
    assert seen["healthy_during"] is False
    assert seen["relaxed"] == "recorded"  # answered at once, and written when there was room
    assert seen["found"] == {"before": "result", "after": None, "at_once": "absent"}
    assert seen["during_outcome"] in ("refused", "absent")


async def test_a_directory_that_cannot_be_made_stops_the_start(embedded: Database, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file is in the way")
    with pytest.raises(Refused, match="journal") as caught:
        await started(embedded, tmp_path)
    assert caught.value.code == "not_recorded"


async def test_files_rotate_are_loaded_and_deleted_and_open_calls_survive_it(
    embedded: Database, tmp_path: Path
) -> None:  # fmt: skip
    recorder = await started(embedded, tmp_path)
    still_open = intent()
    await recorder.record(still_open)
    for _ in range(10):
        calls = [intent() for _ in range(30)]
        await asyncio.gather(*(recorder.record(call) for call in calls))
        await asyncio.gather(*(recorder.record(outcome(call)) for call in calls))
    await recorder.flush()
    left = [path.read_bytes().strip(b"\0") for path in (tmp_path / "journal").iterdir()]
    written = [data for data in left if data]  # one that is empty was made ahead
    assert len(written) == 1
    assert still_open.id.encode() in written[0]
    assert len(left) <= 2
    found = await entries(embedded)
    assert len(found) == 301
    assert [entry.id for entry in found.values() if entry.outcome is None] == [still_open.id]
    await recorder.stop()


@pytest.mark.parametrize("kernel", [True, False])
async def test_rotating_and_loading_under_load_keep_every_record(
    embedded: Database, tmp_path: Path, kernel: bool
) -> None:  # fmt: skip
    recorder = await started(embedded, tmp_path, 8_000, FaultyDisk(kernel=kernel).on)
    ended: list[str] = []

    async def calls() -> None:
        for _ in range(25):
            made = intent()
            await recorder.record(made)
            await recorder.record(outcome(made))
            ended.append(made.id)

    async def loading() -> None:
        while len(ended) < 400:
            await recorder.flush()

    await asyncio.gather(*(calls() for _ in range(16)), loading())
    await recorder.stop()
    found = await entries(embedded)
    assert {key for key, entry in found.items() if entry.outcome == "result"} == set(ended)
    assert list((tmp_path / "journal").iterdir()) == []


async def test_much_that_waits_is_loaded_without_a_quiet_moment(
    embedded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_IDLE_S", 0.05)
    recorder = await started(embedded, tmp_path, 5_000)

    async def loaded() -> bool:
        await recorder.record(intent())
        return len(await entries(embedded)) > 50

    await until(loaded)
    await recorder.stop()


async def test_a_sync_that_hangs_refuses_in_time_and_heals_when_it_comes_through(
    embedded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk()
    recorder = await started(embedded, tmp_path, disk=disk.on)
    first = intent()
    await recorder.record(first)
    disk.hold()
    monkeypatch.setattr(journal, "LONGEST_S", 0.05)
    stuck, queued = intent(), intent()
    results: asyncio.Queue[BaseException | None] = asyncio.Queue()
    recorder.write(stuck, results.put_nowait)
    await disk.reached.wait()  # the loop goes on while the disk does not
    recorder.write(queued, results.put_nowait)
    async with asyncio.timeout(10):
        assert [type(await results.get()).__name__ for _ in range(2)] == ["NotDurable"] * 2
    assert not recorder.healthy
    await refused_end(recorder, first)
    disk.go_on()

    async def healed() -> bool:
        return recorder.healthy

    await until(healed)
    second = intent()
    await recorder.record(second)
    await recorder.record(outcome(second))
    await recorder.flush()
    found = await entries(embedded)
    assert found[second.id].outcome == "result"
    # an end that was refused at once is known to be missing
    assert (found[first.id].outcome, found[first.id].code) == ("unknown", "not_recorded")
    # it got to the disk after the call had been refused, and the audit says so
    assert (found[stuck.id].outcome, found[stuck.id].code) == ("refused", "not_recorded")
    assert queued.id not in found
    await recorder.stop()


async def test_a_database_that_is_locked_delays_loading_but_not_recording(embedded: Database, tmp_path: Path) -> None:
    recorder = await started(embedded, tmp_path)
    made = intent()
    async with embedded.unit("default") as unit:
        await unit.bump("rules")
        await recorder.record(made)
        flushing = asyncio.create_task(recorder.flush())
        await recorder.record(outcome(made))
        assert recorder.healthy
    async with asyncio.timeout(15):
        await flushing
    await recorder.flush()
    assert (await entries(embedded))[made.id].outcome == "result"
    await recorder.stop()


async def test_a_database_that_is_gone_leaves_the_journal_for_the_next_start(
    embedded: Database, tmp_path: Path
) -> None:  # fmt: skip
    recorder = JournalRecorder(tmp_path / "journal", tmp_path / "missing" / "callgate.db")
    await recorder.start()
    made = intent()
    await recorder.record(made)
    with pytest.raises(Refused) as caught:
        await recorder.flush()
    assert caught.value.code == "store_unavailable"
    await recorder.stop()
    assert len(list((tmp_path / "journal").iterdir())) == 1
    again = await started(embedded, tmp_path)
    assert (await entries(embedded))[made.id].outcome == "unknown"
    await again.stop()


async def test_an_outcome_in_a_later_file_closes_the_intent_of_an_earlier_one(
    embedded: Database, tmp_path: Path
) -> None:  # fmt: skip
    directory = tmp_path / "journal"
    directory.mkdir()
    made = intent()
    segment = Segment.create(directory / "1.journal", 4096)
    add(segment, msgspec.json.encode(made) + b"\n")
    segment.close()
    segment = Segment.create(directory / "2.journal", 4096)
    add(segment, msgspec.json.encode(outcome(made)) + b"\n")
    segment.close()
    recorder = await started(embedded, tmp_path)
    assert (await entries(embedded))[made.id].outcome == "result"
    await recorder.stop()


NO_SPACE = OSError(28, "No space left on device")


class Faults:
    """Makes syncing, writing and the making of files fail while `sync`, `write` or `create` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk = FaultyDisk()
        self.write: BaseException | None = None
        self.create: BaseException | None = None
        self.created = 0
        write, create = Segment.write, Segment.create

        def failing_write(segment: Segment, data: bytes) -> None:
            if self.write is not None:
                raise self.write
            write(segment, data)

        def failing_create(path: Path, reserve: int) -> Segment:
            self.created += 1
            if self.create is not None:
                raise self.create
            return create(path, reserve)

        monkeypatch.setattr(Segment, "write", failing_write)
        monkeypatch.setattr(Segment, "create", failing_create)
        monkeypatch.setattr(rotation, "RETRY_S", 0.01)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


async def refused(recorder: JournalRecorder) -> None:
    with pytest.raises(Refused) as caught:
        await recorder.record(intent())
    assert caught.value.code == "not_recorded"


async def refused_end(recorder: JournalRecorder, of: Intent) -> None:
    with pytest.raises(Refused) as caught:
        await recorder.record(outcome(of))
    assert caught.value.code == "not_recorded"


@pytest.mark.parametrize("fault", ["sync", "write"])
async def test_after_a_failure_nothing_is_taken_until_a_fresh_file_works(
    embedded: Database, tmp_path: Path, faults: Faults, fault: str
) -> None:
    recorder = await started(embedded, tmp_path, disk=faults.disk.on)
    before, after = intent(), intent()
    await recorder.record(before)
    at_fault = faults if fault == "write" else faults.disk
    setattr(at_fault, fault, NO_SPACE)
    faults.create = NO_SPACE
    await refused(recorder)
    assert not recorder.healthy
    await refused(recorder)

    async def tried_again() -> bool:
        return faults.created > 3

    await until(tried_again)
    faults.create = None  # there is room for a file, but not for what has to be in it
    made = faults.created

    async def tried_to_carry() -> bool:
        return faults.created > made + 1

    await until(tried_to_carry)
    assert not recorder.healthy
    setattr(at_fault, fault, None)

    async def healed() -> bool:
        return recorder.healthy

    await until(healed)
    await recorder.record(after)
    await recorder.flush()
    assert {before.id, after.id} <= (await entries(embedded)).keys()
    assert len(list((tmp_path / "journal").iterdir())) == 1
    await recorder.stop()


async def test_where_no_further_file_can_be_made_the_present_one_grows(
    embedded: Database, tmp_path: Path, faults: Faults
) -> None:
    recorder = await started(embedded, tmp_path, 4_096)
    faults.create = NO_SPACE
    calls = [intent() for _ in range(40)]
    for call in calls:
        await recorder.record(call)
    assert recorder.healthy
    await recorder.flush()
    assert len(await entries(embedded)) == 40
    await recorder.stop()


async def test_stopping_on_a_full_disk_ends(embedded: Database, tmp_path: Path, faults: Faults) -> None:
    recorder = await started(embedded, tmp_path)
    faults.write = faults.create = NO_SPACE
    await refused(recorder)
    async with asyncio.timeout(10):
        await recorder.stop()


async def test_memory_that_runs_out_while_writing_refuses_and_heals(
    embedded: Database, tmp_path: Path, faults: Faults
) -> None:
    recorder = await started(embedded, tmp_path)
    faults.write = MemoryError()
    await refused(recorder)
    assert not recorder.healthy
    faults.write = None

    async def healed() -> bool:
        return recorder.healthy

    await until(healed)
    await recorder.record(intent())
    await recorder.stop()


async def test_relaxed_outcomes_are_answered_at_once_and_synced_together_soon_after(
    embedded: Database, tmp_path: Path
) -> None:
    disk = FaultyDisk()
    recorder = await started(embedded, tmp_path, disk=disk.on)
    calls = [intent() for _ in range(3)]
    await asyncio.gather(*(recorder.record(call) for call in calls))
    syncs = disk.syncs
    disk.hold()
    for call in calls:
        await recorder.record(outcome(call, durability="relaxed"))
    async with asyncio.timeout(20):
        await disk.reached.wait()
    assert disk.syncs == syncs + 1
    disk.go_on()
    await recorder.flush()
    found = await entries(embedded)
    assert {found[call.id].outcome for call in calls} == {"result"}
    await recorder.stop()


async def test_what_a_stop_cannot_write_any_more_is_refused(
    embedded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_DRAIN_S", 0.01)
    disk = FaultyDisk()
    recorder = await started(embedded, tmp_path, disk=disk.on)
    disk.hold()
    results: list[BaseException | None] = []
    recorder.write(intent(), results.append)
    await disk.reached.wait()
    await recorder.stop()
    assert [type(error).__name__ for error in results] == ["NotDurable"]
    assert not recorder.healthy


async def test_a_group_that_came_through_while_the_process_stood_still_is_not_refused(
    embedded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = await started(embedded, tmp_path)
    monkeypatch.setattr(journal, "LONGEST_S", 0.0)  # every group that is looked at seems late
    monkeypatch.setattr(journal, "_WATCH_S", 0.0)
    for _ in range(20):
        await recorder.record(intent())
    assert recorder.healthy
    await recorder.stop()


async def test_a_load_that_fails_behind_the_calls_is_tried_again(
    embedded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_IDLE_S", 0.01)
    monkeypatch.setattr(journal, "LONGEST_S", 0.05)
    directory = tmp_path / "later"
    recorder = JournalRecorder(tmp_path / "journal", directory / "callgate.db")
    await recorder.start()
    made = intent()
    recorder.write(made, lambda _error: None)

    async def tried() -> bool:
        return "load" in recorder._timers and recorder._wrote > 0

    await until(tried)
    directory.mkdir()
    later = await Database.open(f"sqlite:///{directory}/callgate.db")

    async def loaded() -> bool:
        return made.id in await entries(later)

    await until(loaded)
    await recorder.stop()
    await later.close()
