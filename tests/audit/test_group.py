"""Group commit on the loop: what shares a sync, in which order it is told, and what a slow disk does to the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from callgate.audit.disk import Disk
from callgate.audit.group import Group, GroupWriter
from callgate.audit.rotation import Rotation
from callgate.audit.writer import tell
from tests.audit.disks import FaultyDisk


class Log:
    """What a writer has reported; groups of marks only are left out."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.works = 0

    def report(self, group: Group, error: OSError | None) -> None:
        if lines := [line for line, _ in group.items if line]:
            self.groups.append(lines)
        tell(asyncio.get_running_loop(), [done for _, done in group.items], error)

    def working(self) -> None:
        self.works += 1


@pytest.fixture(params=["kernel", "thread"])
async def faulty(request: pytest.FixtureRequest) -> FaultyDisk:
    return FaultyDisk(kernel=request.param == "kernel")


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def writer(tmp_path: Path, faulty: FaultyDisk, log: Log) -> AsyncIterator[GroupWriter]:
    files = Rotation(tmp_path, 1_000, list)
    await files.start()
    made = GroupWriter(faulty.on(asyncio.get_running_loop()), files, log.report, log.working)
    yield made
    await made.drain(20)


def put(writer: GroupWriter, line: bytes, done: Callable[[BaseException | None], None] | None = None) -> None:
    writer.queue.append((line, done))
    writer.wake()


async def reached(writer: GroupWriter) -> BaseException | None:
    async with asyncio.timeout(20):
        return await writer.mark()


async def test_what_comes_in_one_iteration_of_the_loop_shares_a_sync(
    writer: GroupWriter, log: Log, faulty: FaultyDisk
) -> None:
    for number in range(5):
        put(writer, b"%d" % number)
    assert log.groups == []
    assert await reached(writer) is None
    assert log.groups == [[b"0", b"1", b"2", b"3", b"4"]]
    assert faulty.syncs == 1


async def test_nothing_but_a_mark_needs_no_sync(writer: GroupWriter, faulty: FaultyDisk) -> None:
    assert await reached(writer) is None
    assert faulty.syncs == 0


async def test_what_callbacks_write_goes_into_the_next_group_and_groups_keep_their_order(
    writer: GroupWriter, log: Log
) -> None:
    told: list[bytes] = []

    def then(line: bytes, left: int) -> Callable[[BaseException | None], None]:
        def done(error: BaseException | None) -> None:
            assert error is None
            told.append(line)
            if left:
                put(writer, line + b"+", then(line + b"+", left - 1))

        return done

    for name in (b"a", b"b", b"c"):
        put(writer, name, then(name, 20))
    while len(told) < 63:
        assert await reached(writer) is None
    ends = [b"+" * depth for depth in range(21)]
    assert log.groups == [[b"a" + end, b"b" + end, b"c" + end] for end in ends]
    assert told == [line for group in log.groups for line in group]
    segments = writer._files.segments
    assert b"".join(segment.unloaded(100_000) for segment in segments).split() == told


async def test_a_sync_that_hangs_does_not_hold_up_the_loop(
    writer: GroupWriter, log: Log, faulty: FaultyDisk
) -> None:  # fmt: skip
    faulty.hold()
    put(writer, b"stuck")
    async with asyncio.timeout(20):
        await faulty.reached.wait()
        ran = asyncio.Event()
        asyncio.get_running_loop().call_soon(ran.set)
        await ran.wait()
    assert log.groups == []
    assert writer.current is not None
    put(writer, b"behind it")
    faulty.go_on()
    assert await reached(writer) is None
    assert log.groups == [[b"stuck"], [b"behind it"]]


async def test_a_callback_that_raises_stops_nothing(writer: GroupWriter, log: Log) -> None:
    handled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: handled.append(context["exception"]))

    def raising(_error: BaseException | None) -> None:
        raise LookupError

    put(writer, b"one", raising)
    assert await reached(writer) is None
    assert len(handled) == 1
    put(writer, b"two")
    assert await reached(writer) is None
    assert log.groups[0] == [b"one"]
    assert log.groups[-1] == [b"two"]


async def test_draining_a_broken_journal_mends_it_at_once_and_writes_what_waits(
    writer: GroupWriter, log: Log, faulty: FaultyDisk
) -> None:
    faulty.sync = OSError(5, "Input/output error")
    put(writer, b"lost")
    assert await reached(writer) is not None
    faulty.sync = None
    put(writer, b"kept")
    await writer.drain(20)
    assert log.works == 1
    assert writer.queue == []
    assert log.groups[-1] == [b"kept"]
    assert writer._files.segments[-1].unloaded(100) == b"kept\n"


async def test_draining_gives_up_on_a_disk_that_stays_broken(
    writer: GroupWriter, log: Log, faulty: FaultyDisk
) -> None:  # fmt: skip
    faulty.sync = OSError(5, "Input/output error")
    put(writer, b"lost")
    assert await reached(writer) is not None
    put(writer, b"waits")
    async with asyncio.timeout(20):
        await writer.drain(20)
    assert writer.queue == [(b"waits", None)]


async def test_draining_gives_up_on_a_disk_that_hangs(
    writer: GroupWriter, faulty: FaultyDisk
) -> None:  # fmt: skip
    faulty.hold()
    put(writer, b"stuck")
    await faulty.reached.wait()
    await writer.drain(0.01)
    assert writer.current is not None
    faulty.go_on()


async def test_a_disk_that_is_closed_and_still_calls_back_does_no_harm(tmp_path: Path, log: Log) -> None:
    files = Rotation(tmp_path, 1_000, list)
    await files.start()
    writer = GroupWriter(Disk(asyncio.get_running_loop()), files, log.report, log.working)
    await writer.drain(20)
    count = len(log.groups)
    writer._synced(None)
    assert len(log.groups) == count
