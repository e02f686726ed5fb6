"""Files of the journal follow each other: ahead of time, with the open intents first."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callgate.audit import rotation
from callgate.audit.disk import Disk
from callgate.audit.rotation import Rotation
from callgate.audit.segment import Segment
from tests.audit.disks import FaultyDisk
from tests.support.waiting import until

OPEN = [b"open-1", b"open-2"]


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Rotation]:
    made = Rotation(tmp_path, 100, lambda: OPEN)
    await made.start()
    yield made
    await made.close()


def write(files: Rotation, size: int) -> None:
    files.write([b"x" * (size - 1)])
    files.settle()


def sizes(directory: Path) -> list[int]:
    return [path.stat().st_size for path in directory.iterdir()]


async def spare_made(files: Rotation) -> None:
    async def made() -> bool:
        return files._spare is not None

    await until(made)


async def test_the_next_file_is_made_when_the_present_one_is_half_full(files: Rotation, tmp_path: Path) -> None:
    write(files, 50)
    assert files._making is None
    write(files, 1)
    await spare_made(files)
    assert len(sizes(tmp_path)) == 2
    assert len(files.segments) == 1


async def test_the_next_file_counts_once_the_open_intents_are_durable_in_it(files: Rotation) -> None:
    write(files, 101)
    await spare_made(files)
    files.write([b"new"])
    assert len(files.segments) == 1
    files.settle()
    assert [segment.unloaded(1_000)[-17:] for segment in files.segments] == [
        b"x" * 16 + b"\n",
        b"open-1\nopen-2\nnew\n"[-17:],
    ]
    assert files.segments[1].durable == 18


async def test_the_present_file_grows_while_the_next_one_is_being_made(files: Rotation) -> None:
    write(files, 101)
    write(files, 101)
    assert [segment.durable for segment in files.segments] == [202]
    await spare_made(files)
    write(files, 10)
    assert len(files.segments) == 2


async def test_a_file_that_cannot_be_made_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    files = Rotation(tmp_path, 100, list)
    await files.start()
    with monkeypatch.context() as patch:

        def refuse(_path: Path, _reserve: int) -> Segment:
            raise OSError(28, "No space left on device")

        patch.setattr(Segment, "create", refuse)
        write(files, 60)
        making = files._making
        assert making is not None
        await asyncio.wait([making])
    write(files, 60)
    assert files._making is None  # not at once
    monkeypatch.setattr(rotation, "RETRY_S", 0.0)
    files._not_before = 0.0
    write(files, 60)
    await spare_made(files)
    await files.close()


async def test_after_a_failure_in_the_next_file_it_is_dropped_and_another_begins_with_the_open_intents(
    files: Rotation, tmp_path: Path
) -> None:
    disk = Disk(asyncio.get_running_loop())
    write(files, 101)
    await spare_made(files)
    files.write([b"refused"])
    assert await files.mend(disk)
    assert [segment.unloaded(1_000) for segment in files.segments] == [b"x" * 100 + b"\n", b"open-1\nopen-2\n"]
    assert len(sizes(tmp_path)) == 2
    disk.close()


async def test_after_a_failure_what_was_not_durable_is_cut_off_and_the_file_made_ahead_is_used(
    files: Rotation, tmp_path: Path
) -> None:
    disk = Disk(asyncio.get_running_loop())
    write(files, 60)
    files.write([b"refused"])
    assert files._making is not None  # mending waits for it
    assert await files.mend(disk)
    assert files.segments[0].path.stat().st_size == 60
    assert len(sizes(tmp_path)) == 2
    disk.close()


async def test_a_file_that_cannot_be_synced_mends_nothing_and_is_not_left(files: Rotation, tmp_path: Path) -> None:
    faulty = FaultyDisk()
    faulty.sync = OSError(5, "Input/output error")
    disk = faulty.on(asyncio.get_running_loop())
    files.write([b"refused"])
    assert not await files.mend(disk)
    assert len(sizes(tmp_path)) == 1
    faulty.sync = None
    assert await files.mend(disk)
    disk.close()


async def test_closing_leaves_no_file_that_was_made_ahead(files: Rotation, tmp_path: Path) -> None:
    write(files, 60)
    await files.close()
    assert sizes(tmp_path) == [100]
