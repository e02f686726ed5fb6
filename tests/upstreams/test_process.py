"""Children as the gateway uses them: lines both ways, floods, endings. Real processes, in whatever isolation works."""

import asyncio
import gc
import json
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from callgate.upstreams.process import Backoff, Child, ChildLimits, ChildSpec, Isolation, ProcessError, spawn
from callgate.upstreams.process_errors import ExitInfo
from tests.upstreams.sandbox_support import SYSTEM_PYTHON, place

ECHO = "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)"
IGNORE = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 15)]\n"
READY = "print('ready', flush=True)\n"
FOREVER = "import time\nwhile True: time.sleep(60)\n"


class Maker:
    """Starts children from a few lines of Python and ends them after the test."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.children: list[Child] = []
        (base / "data").mkdir(mode=0o700)

    def spec(self, code: str, **more: object) -> ChildSpec:
        arguments = {"command": SYSTEM_PYTHON, "args": ("-c", code), **more}
        return ChildSpec(
            upstream="test", runtime_dir=self.base / "run", private_paths=(self.base / "data",), **arguments
        )

    async def __call__(self, code: str, **more: object) -> Child:
        child = await spawn(self.spec(code, **more))
        self.children.append(child)
        return child


@pytest.fixture
async def make() -> AsyncIterator[Maker]:
    with place("self") as base:
        maker = Maker(base)
        yield maker
        for child in maker.children:
            await asyncio.wait_for(child.kill(), 10)


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def first(child: Child) -> bytes:
    async with asyncio.timeout(15):
        return await anext(child.messages())


async def rest(child: Child) -> list[bytes]:
    async with asyncio.timeout(15):
        return [line async for line in child.messages()]


# --- messages -----------------------------------------------------------------------------------------------------


async def test_lines_go_in_and_come_out(make: Maker) -> None:
    child = await make(ECHO)
    messages = child.messages()
    for text in (b"one", "zwölf".encode(), b'{"a": "\\n"}'):
        await child.send(text)
        assert await anext(messages) == b"got " + text
    await child.stop(2)
    assert await rest(child) == []
    assert child.exited.result() == ExitInfo(code=0)


async def test_a_large_message_passes_both_ways(make: Maker) -> None:
    child = await make(ECHO)
    text = b"x" * 5_000_000
    await asyncio.gather(child.send(text), got := asyncio.ensure_future(first(child)))
    assert got.result() == b"got " + text


async def test_line_ends_of_windows_and_empty_lines_are_no_part_of_messages(make: Maker) -> None:
    child = await make("import sys; sys.stdout.buffer.write(b'a\\r\\n\\n  \\n\\r\\nb\\nlast without end')")
    messages = child.messages()
    assert [await anext(messages), await anext(messages)] == [b"a", b"b"]
    with pytest.raises(ProcessError, match="code 0"):
        await anext(messages)


async def test_a_message_with_a_newline_in_it_is_not_sent(make: Maker) -> None:
    child = await make(ECHO)
    with pytest.raises(ValueError, match="one line"):
        await child.send(b"one\ntwo")


async def test_a_message_over_the_cap_ends_the_child(make: Maker) -> None:
    child = await make(
        "print('fine')\nprint('x' * 200_000, flush=True)\n" + FOREVER, limits=ChildLimits(message_bytes=100_000)
    )
    messages = child.messages()
    assert await anext(messages) == b"fine"
    with pytest.raises(ProcessError, match="more than 100000 bytes"):
        await anext(messages)
    await asyncio.wait_for(child.exited, 10)
    with pytest.raises(ProcessError, match="more than 100000 bytes"):
        await child.send(b"x")


async def test_a_line_that_never_ends_is_held_only_up_to_the_cap(make: Maker) -> None:
    code = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    child = await make(code, limits=ChildLimits(message_bytes=1_000_000))
    with pytest.raises(ProcessError, match="more than 1000000 bytes"):
        await first(child)


async def test_messages_that_nobody_takes_stop_their_writer(make: Maker) -> None:
    child = await make("n = 0\nwhile True:\n    n += 1; print(n, 'x' * 1000)")
    await until(lambda: child._stdout._paused)
    assert child._queued < 3_000_000
    messages = child.messages()
    for number in range(1, 5001):
        assert (await anext(messages)).startswith(b"%d " % number)


async def test_a_child_that_does_not_read_blocks_its_sender_and_nobody_else(make: Maker) -> None:
    deaf, other = await make(READY + FOREVER), await make(ECHO)
    sending = asyncio.create_task(deaf.send(b"x" * 10_000_000))
    await other.send(b"hello")
    assert await first(other) == b"got hello"
    assert not sending.done()
    await deaf.stop(0.2)
    with pytest.raises(ProcessError):
        await asyncio.wait_for(sending, 5)


# --- stderr -------------------------------------------------------------------------------------------------------


async def test_stderr_is_kept_by_lines_and_made_harmless(make: Maker) -> None:
    text = "'a\\x1b[31mred\\x07\\nb\\u202e\\u200b\\tc\\xe9\\n'"
    child = await make(f"import sys\nsys.stderr.buffer.write({text}.encode() + b'\\xff\\nopen')")
    await asyncio.wait_for(child.exited, 10)
    await until(lambda: child.stderr_tail().endswith("open"))
    assert child.stderr_tail() == "a\\x1b[31mred\\x07\nb\\u202e\\u200b cé\n\ufffd\nopen"


async def test_a_flood_of_stderr_is_kept_small_and_hurts_nobody(make: Maker) -> None:
    code = (
        "import sys, threading\n"
        "def flood():\n"
        "    while True: sys.stderr.write('line ' + 'x' * 500 + '\\n')\n"
        "threading.Thread(target=flood, daemon=True).start()\n"
    )
    child, other = await make(code + ECHO), await make(ECHO)
    for _ in range(20):
        await child.send(b"a")
        await other.send(b"b")
    for _ in range(20):
        assert await first(child) == b"got a"
        assert await first(other) == b"got b"
    await until(lambda: "line" in child.stderr_tail())
    assert len(child.stderr_tail()) <= 64 * 1024 + 4096


async def test_a_stderr_line_without_end_is_cut(make: Maker) -> None:
    child = await make("import sys\nsys.stderr.write('y' * 1_000_000)\n" + READY + FOREVER)
    assert await first(child) == b"ready"
    await until(lambda: len(child.stderr_tail()) >= 4096)
    assert len(child.stderr_tail()) == 4096


# --- starting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"command": "/nonexistent/tool"}, "was not found"),
        ({"command": "no-such-tool-here"}, "was not found"),
        ({"cwd": Path("/nonexistent")}, "working directory"),
    ],
)
async def test_what_cannot_start_says_why(make: Maker, more: dict[str, object], why: str) -> None:
    with pytest.raises(ProcessError, match=why):
        await make(ECHO, **more)


async def test_a_script_whose_interpreter_is_missing_says_so(make: Maker) -> None:
    tool = make.base / "tool"
    tool.write_text("#!/nonexistent/interpreter\n")
    tool.chmod(0o755)
    with pytest.raises(ProcessError, match="interpreter"):
        await make("", command=str(tool))


async def test_a_start_that_takes_too_long_leaves_nothing(make: Maker) -> None:
    with pytest.raises(ProcessError, match="did not start within 0"):
        await make(ECHO, limits=ChildLimits(start_seconds=0.0))


async def test_a_cancelled_start_leaves_nothing(make: Maker) -> None:
    for ticks in range(12):
        starting = asyncio.create_task(spawn(make.spec(ECHO)))
        for _ in range(ticks):
            await asyncio.sleep(0.003)
        starting.cancel()
        result = (await asyncio.gather(starting, return_exceptions=True))[0]
        if isinstance(result, Child):
            await result.kill()
        else:
            assert isinstance(result, asyncio.CancelledError)
    await until(lambda: not children())


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def test_a_child_that_ends_at_once_is_started_and_ended(make: Maker) -> None:
    child = await make("import sys; sys.exit(3)")
    assert await asyncio.wait_for(child.exited, 10) == ExitInfo(code=3)
    with pytest.raises(ProcessError, match="code 3"):
        await rest(child)
    with pytest.raises(ProcessError, match="code 3"):
        await child.send(b"x")


async def test_a_child_killed_by_a_signal_says_which(make: Maker) -> None:
    child = await make("import os; os.abort()")
    assert await asyncio.wait_for(child.exited, 10) == ExitInfo(signal=signal.SIGABRT)
    assert str(child.exited.result()) == "The server's process was ended by signal 6."


async def test_a_child_that_closes_its_output_but_lives_is_told_apart(make: Maker) -> None:
    child = await make("import os\nos.close(1)\n" + FOREVER)
    with pytest.raises(ProcessError, match="closed its output"):
        await rest(child)


async def test_limits_are_in_force(make: Maker) -> None:
    code = (
        "import json, resource as r\nnames = [n for n in dir(r) if n.startswith('RLIMIT_')]\n"
        "print(json.dumps({n: r.getrlimit(getattr(r, n))[1] for n in names}))"
    )
    limits = ChildLimits(open_files=77, file_bytes=1234567, address_space=2**40)
    child = await make(code, limits=limits)
    got = json.loads(await first(child))
    assert (got["RLIMIT_NOFILE"], got["RLIMIT_FSIZE"], got["RLIMIT_CORE"]) == (77, 1234567, 0)
    assert got["RLIMIT_AS"] == 2**40
    assert got["RLIMIT_CPU"] == resource.RLIM_INFINITY
    if child.isolation == "uid":
        assert got["RLIMIT_NPROC"] == 1024


async def test_a_fork_bomb_meets_its_limit(make: Maker) -> None:
    code = (
        "import os, time\nn = 0\ntry:\n    for _ in range(200):\n"
        "        if os.fork() == 0: time.sleep(60)\n        n += 1\n"
        "except OSError as error: print(n, error.errno, flush=True)\n" + FOREVER
    )
    child = await make(code, limits=ChildLimits(processes=30))
    if child.isolation != "uid":
        pytest.skip("only a user id of its own can be counted")
    count, code_of_error = (await first(child)).split()
    assert int(count) < 30
    assert int(code_of_error) == 11
    await child.kill()


# --- ending -------------------------------------------------------------------------------------------------------


async def test_stop_closes_stdin_first(make: Maker) -> None:
    child = await make(IGNORE + ECHO + "\nopen(__import__('os').environ['HOME'] + '/clean', 'w').close()")
    await child.send(b"x")
    await first(child)
    await child.stop(10)
    assert child.exited.result() == ExitInfo(code=0)
    assert list(make.base.glob("run/*/clean"))


async def test_stop_asks_before_it_kills(make: Maker) -> None:
    code = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(7))\n" + READY + FOREVER
    child = await make(code)
    assert await first(child) == b"ready"
    await child.stop(4)
    assert child.exited.result() == ExitInfo(code=7)


async def test_stop_kills_what_does_not_listen(make: Maker) -> None:
    child = await make(IGNORE + READY + FOREVER)
    assert await first(child) == b"ready"
    await child.stop(0.2)
    assert child.exited.done()
    await child.stop(0.2)
    await child.kill()


async def test_a_cancelled_stop_still_ends_the_child(make: Maker) -> None:
    child = await make(IGNORE + READY + FOREVER)
    assert await first(child) == b"ready"
    stopping = asyncio.create_task(child.stop(60))
    await asyncio.sleep(0.05)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await asyncio.wait_for(child.exited, 10)


async def test_no_zombie_and_no_descriptor_is_left(make: Maker) -> None:
    async def live_and_die() -> None:
        child = await spawn(make.spec(ECHO))
        await child.stop(2)
        crashed = await spawn(make.spec("raise SystemExit(1)"))
        await asyncio.wait_for(crashed.exited, 10)
        await crashed.kill()
        killed = await spawn(make.spec(FOREVER))
        await killed.kill()
        with pytest.raises(ProcessError):
            await spawn(make.spec(ECHO, cwd=Path("/nonexistent")))

    await live_and_die()  # a loop opens descriptors of its own when it is first used
    before = descriptors()
    for _ in range(3):
        await live_and_die()
    await until(lambda: descriptors() <= before)
    await until(lambda: not children())


async def test_a_killed_launcher_takes_the_child_along_and_is_noticed(make: Maker) -> None:
    child = await make(READY + FOREVER)
    if not child.namespaces:
        pytest.skip("without a PID namespace only the child itself dies with its launcher")
    assert await first(child) == b"ready"
    os.kill(child._process.pid, signal.SIGKILL)
    assert await asyncio.wait_for(child.exited, 10) == ExitInfo()
    with pytest.raises(ProcessError):
        await rest(child)


async def test_unsandboxed_children_work_where_they_are_allowed(make: Maker) -> None:
    child = await make(ECHO, isolation=Isolation.NONE, allow_unsandboxed=True)
    assert child.isolation == "none"
    await child.send(b"x")
    assert await first(child) == b"got x"


def test_backoff_doubles_up_to_its_most() -> None:
    backoff = Backoff(first=1, most=10)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
