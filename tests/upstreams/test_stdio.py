"""stdio upstreams as real, isolated children: messages, ends, back-off, and what stderr keeps."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.upstreams import stdio
from callgate.upstreams.exchange import Answered, Failed
from callgate.upstreams.process import Backoff, ChildSpec
from callgate.upstreams.stdio import Children
from tests.upstreams.scripted import last, peer, pooled, program, value
from tests.upstreams.test_duplex import TALK, call

SYSTEM_PYTHON = "/usr/bin/python3"  # outside of homes, so that every user can run it


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can pass: children may run as one of them."""
    base = Path(tempfile.mkdtemp(prefix="callgate-test-"))
    base.chmod(0o711)
    shutil.copy(TALK, base / "talk.py")
    (base / "talk.py").chmod(0o644)
    try:
        yield base
    finally:
        shutil.rmtree(base)


def children(place: Path, *options: str, command: str = SYSTEM_PYTHON) -> Children:
    def make(upstream: Upstream, variables: dict[str, str]) -> ChildSpec:
        return ChildSpec(
            upstream=upstream.id,
            command=command,
            args=(str(place / "talk.py"), *options),
            runtime_dir=place / "runtime",
            private_paths=(place / "data",),
            env=variables,
        )

    (place / "data").mkdir(mode=0o700)
    return Children(make)


async def test_an_isolated_child_is_called_and_called_again(place: Path) -> None:
    async with pooled(children(place)) as upstreams:
        for _ in range(3):
            assert (await value(await upstreams.start(program(), peer(), call("x"))))["name"] == "x"
        assert len((await value(await upstreams.start(program(), peer(), call("big"))))["text"]) == 5_000_000


async def test_a_child_that_ends_fails_its_call_with_how_it_ended(place: Path) -> None:
    async with pooled(children(place)) as upstreams:
        end = await last(await upstreams.start(program(), peer(), call("exit")))
        assert isinstance(end, Failed)
        assert end.code == "upstream_broke_off"
        assert "code 3" in end.detail
        assert isinstance(await last(await upstreams.start(program(), peer(), call("x"))), Answered)


async def test_a_child_that_ends_at_the_probe_is_started_again_for_the_handshake(place: Path) -> None:
    async with pooled(children(place, "--die-on-probe")) as upstreams:
        exchange = await upstreams.start(program(), peer(), call("x"))
        assert exchange.era == "legacy"
        await value(exchange)


async def test_a_command_that_keeps_failing_backs_off_and_says_so(place: Path) -> None:
    talking = children(place, command=str(place / "missing"))
    reasons = []
    for _ in range(6):
        with pytest.raises(Refused) as caught:
            await talking.spawn(program(), {})
        assert caught.value.code == "upstream_unavailable"
        reasons.append(caught.value.detail)
    assert "missing" in reasons[0]
    assert "the next try is in" in reasons[-1]


async def test_a_child_that_was_closed_on_purpose_does_not_count_as_failed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Backoff) -> float:
        raise AssertionError("nothing has failed")

    monkeypatch.setattr(Backoff, "next", never)
    async with pooled(children(place)) as upstreams:
        for _ in range(3):
            await value(await upstreams.start(program(), peer(), call("x")))
            await upstreams.forget("up1")


async def test_stderr_is_kept_for_whoever_runs_the_upstream(place: Path) -> None:
    (place / "talk.py").write_text("import sys\nprint('no \\x1b[31m key', file=sys.stderr)\nsys.exit(1)\n")
    talking = children(place)
    async with pooled(talking) as upstreams:
        with pytest.raises(Refused):
            await upstreams.start(program(), peer(), call("x"))
        assert "key" in upstreams.stderr("up1")
        assert "\x1b" not in upstreams.stderr("up1")
        assert upstreams.stderr("other") == ""


async def test_what_stderr_keeps_is_bounded_by_upstreams(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "_MAX_STDERR", 1)
    talking = children(place)
    for name in ("up1", "up2"):
        upstream = Upstream(id=name, tenant="default", name="u", kind="stdio")
        channel = await talking.spawn(upstream, {})
        async with asyncio.timeout(20):
            await channel.close()
    assert list(talking._stderr) == ["up2"]
