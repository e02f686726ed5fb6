"""Promise 2 over random histories of upstreams and reviewers, on a real store: a tool is callable only while the last
complete observation lists exactly what was approved, or differs from it in nothing but texts and the upstream is set to
`pin`; agents get the approved content in either case. Without a reviewer only `trust_on_first_use` approves."""

import asyncio
import functools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.model.definition import BLOCKED, PENDING_REVIEW, REMOVED, TRUSTED, Definition, Observed
from callgate.model.finding import Finding
from callgate.model.upstream import PIN, REVIEW_MODES, TRUST_ON_FIRST_USE, Upstream
from callgate.store import definitions, reviews, tenants, upstreams
from callgate.store.engine import Database
from callgate.upstreams.catalog import Catalog
from callgate.upstreams.facts import Item
from tests.support.observed import Shelf, facts
from tests.support.replicas import add_upstream, new_fleet
from tests.support.reviewing import OPERATOR, NoScanner

Key = tuple[str, str]
NAMES = ("read", "write", "read twice")
PLAIN, TEXT = b'{"name":"x"}', b'{"name":"x","description":"y"}'  # they differ in texts alone
SUSPECT = b'{"name":"x","inputSchema":{"description":"suspect"}}'  # the scanner sees something in it
ODD = b'{"name":"x","name":"x"}'  # quarantined
CONTENTS = (PLAIN, TEXT, SUSPECT, ODD)


class Suspicious(NoScanner):
    """Sees something in one of the contents."""

    version = "1"

    async def scan(
        self, tenant: str, upstream: Upstream, items: tuple[Observed, ...], known: Mapping[Key, Definition]
    ) -> Mapping[Key, tuple[Finding, ...]]:
        saw = (Finding("test.suspect", 1, "instruction_override", "medium", "", 0, 1),)
        return {(item.kind, item.name): saw if item.raw == SUSPECT else () for item in items}


@dataclass
class Expected:
    """What one tool should be, by the words of the design alone."""

    listed: bytes | None = None
    approved: bytes | None = None
    blocked: bool = False
    pinned: bool = False

    @property
    def trusted(self) -> bool:
        if self.approved is None or self.blocked:
            return False
        return self.listed == self.approved and self.listed != ODD

    @property
    def callable(self) -> bool:
        return self.trusted or self.pinned

    def is_seen(self, listed: bytes | None, mode: str) -> None:
        """What a complete look makes of it."""
        self.listed = listed
        texts_only = {listed, self.approved} == {PLAIN, TEXT}
        self.pinned = mode == PIN and texts_only and not self.blocked


@functools.cache
def migrated() -> bytes:
    """A migrated, empty store."""

    async def make(path: Path) -> None:
        await (await Database.open(f"sqlite:///{path}")).close()

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "callgate.db"
        asyncio.run(make(path))
        return path.read_bytes()


class Histories(RuleBasedStateMachine):
    """Every step is what somebody may do; the invariant looks through the snapshot that calls are resolved in."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="callgate-histories-"))
        (self.directory / "callgate.db").write_bytes(migrated())
        self.runner = asyncio.Runner()
        self.expected: dict[str, Expected] = {}
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.db = await Database.open(f"sqlite:///{self.directory / 'callgate.db'}")
        async with self.db.unit(None) as unit:
            await tenants.ensure(unit, "default")
        self.fleet: Fleet = new_fleet(self.db, "r1")
        self.shelf = Shelf()
        self.catalog = Catalog(self.db, self.fleet, self.shelf, Suspicious())

    @initialize()
    def one_upstream(self) -> None:
        self.upstream: Upstream = self.runner.run(add_upstream(self.db))
        self.runner.run(self.fleet.refresh())

    def teardown(self) -> None:
        self.runner.run(self.catalog.close())
        self.runner.run(self.db.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    # -- what the upstream does ------------------------------------------------------------------------------------

    @rule(offer=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CONTENTS)))
    def a_complete_look(self, offer: dict[str, bytes]) -> None:
        self._look(offer)
        mode = self.upstream.review
        for name, raw in offer.items():
            if name not in self.expected:
                clean = mode == TRUST_ON_FIRST_USE and raw in (PLAIN, TEXT)
                self.expected[name] = Expected(approved=raw if clean else None)
        for name, tool in self.expected.items():
            tool.is_seen(offer.get(name), mode)

    @rule(mode=st.sampled_from(REVIEW_MODES))
    def choosing_how_tools_come_to_be_trusted(self, mode: str) -> None:
        before = self.upstream.review

        async def choose() -> None:
            changed = msgspec.structs.replace(self.upstream, review=mode)
            async with self.db.unit("default") as unit:
                self.upstream = await upstreams.update_one(unit, changed)
                if before == PIN != mode:
                    await definitions.unpin(unit, "ups_1")
            await self.fleet.refresh()

        self.runner.run(choose())
        for tool in self.expected.values():
            tool.pinned = tool.pinned and mode == PIN

    def _look(self, offer: dict[str, bytes]) -> None:
        self.shelf.offers["ups_1"] = facts(*(Item("tool", name, raw) for name, raw in offer.items()))
        assert self.runner.run(self.catalog.look(self.upstream)).state == "ok"

    @rule()
    def a_look_that_fails(self) -> None:
        self.shelf.offers["ups_1"] = Refused("upstream_timeout")
        assert self.runner.run(self.catalog.look(self.upstream)).state == "broken"

    @rule(offer=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CONTENTS)))
    def a_look_without_the_list_of_tools(self, offer: dict[str, bytes]) -> None:
        self.shelf.offers["ups_1"] = facts(unlisted={"tool": "It timed out."})
        assert self.runner.run(self.catalog.look(self.upstream)).state == "ok"

    @rule(offer=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CONTENTS)))
    def a_look_that_loses_the_race(self, offer: dict[str, bytes]) -> None:
        winner = {name: tool.listed for name, tool in self.expected.items() if tool.listed is not None}

        async def race() -> None:
            late = Shelf()
            late.offers["ups_1"] = facts(*(Item("tool", name, raw) for name, raw in offer.items()))
            late.held["ups_1"] = go = asyncio.Event()
            other = Catalog(self.db, self.fleet, late, Suspicious())
            look = asyncio.ensure_future(other.look(self.upstream))
            await late.next_asked()
            self.shelf.offers["ups_1"] = facts(*(Item("tool", name, raw) for name, raw in winner.items()))
            await self.catalog.look(self.upstream)
            go.set()
            await look

        self.runner.run(race())
        for name, tool in self.expected.items():
            tool.is_seen(winner.get(name), self.upstream.review)

    # -- what people do --------------------------------------------------------------------------------------------

    def _definition(self, name: str) -> Definition:
        return self.fleet.view("default").by_upstream["ups_1"][("tool", name)]

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def approving_what_is_on_the_screen(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.expected)))
        shown, tool = self._definition(name), self.expected[name]
        code = self.runner.run(self._approve(shown.id, shown.full))
        if shown.status == REMOVED or shown.quarantined:
            assert code == "validation"
        else:
            assert code == ""
            tool.approved, tool.blocked, tool.pinned = shown.raw, False, False

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def approving_what_was_on_the_screen_before(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.expected)))
        assert self.runner.run(self._approve(self._definition(name).id, "0" * 64)) in ("stale_hash", "validation")

    async def _approve(self, definition: str, full: str) -> str:
        """The code of the refusal, "" when it was approved."""
        try:
            async with self.db.unit("default") as unit:
                await reviews.approve(unit, OPERATOR, definition, full)
        except Refused as refused:
            return refused.code
        await self.fleet.refresh()
        return ""

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def blocking(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.expected)))

        async def block() -> None:
            async with self.db.unit("default") as unit:
                await reviews.block(unit, OPERATOR, self._definition(name).id)
            await self.fleet.refresh()

        self.runner.run(block())
        tool = self.expected[name]
        tool.blocked, tool.approved, tool.pinned = True, None, False

    @rule()
    def making_it_another_program(self) -> None:
        async def change() -> None:
            changed = msgspec.structs.replace(self.upstream, identity=self.upstream.identity + "x")
            async with self.db.unit("default") as unit:
                self.upstream = await upstreams.update_one(unit, changed)
                await definitions.reset(unit, "ups_1", "operator:0")
            await self.fleet.refresh()

        self.runner.run(change())
        for tool in self.expected.values():
            tool.approved, tool.pinned = None, False

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def only_what_was_approved_is_callable(self) -> None:
        known = self.fleet.view("default").by_upstream.get("ups_1", {}) if self.expected else {}
        tools = {name: item for (kind, name), item in known.items() if kind == "tool"}
        assert {name: item.callable for name, item in tools.items()} == {
            name: tool.callable for name, tool in self.expected.items()
        }
        for name, item in tools.items():
            if item.callable:
                assert item.offered == self.expected[name].approved
                assert item.fingerprint == item.approved_full

    @invariant()
    def statuses_tell_the_same(self) -> None:
        for name, tool in self.expected.items():
            status = self._definition(name).status
            assert (status == TRUSTED) == tool.trusted
            assert (status == BLOCKED) == tool.blocked
            if tool.listed is not None and tool.approved is None and not tool.blocked:
                assert status == PENDING_REVIEW
            if tool.listed is None and not tool.blocked:
                assert status == REMOVED


_SLOW = (HealthCheck.too_slow,)


class TestHistories(Histories.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes it
    settings = settings(max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=_SLOW)


@pytest.mark.soak
class TestManyHistories(Histories.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes it
    settings = settings(max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=_SLOW)
