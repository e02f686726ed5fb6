"""Promise 2 over any history: a tool is callable only with the exact content that a reviewer approved and that the last
complete observation has seen. The real store, the real transitions and a replica's snapshot against a small model."""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callgate.errors import Refused
from callgate.fingerprints.canonical import fingerprint
from callgate.fingerprints.states import Review
from callgate.model.definition import Definition, Observation
from callgate.model.upstream import UpstreamState
from callgate.store import definitions, reviews, states, tenants
from callgate.store.engine import Database
from callgate.store.observe import observe
from tests.support.replicas import add_upstream, new_fleet
from tests.support.reviewing import OPERATOR

T = TypeVar("T")
NAMES = ("read", "write", "Write", "a.b")
TEXTS = st.sampled_from(["one", "two", "three"])
LISTS = st.dictionaries(st.sampled_from(NAMES), st.tuples(TEXTS, st.booleans()), max_size=4)


def raw(name: str, text: str, odd: bool) -> bytes:
    """A tool; an odd one has a member twice and can never be trusted."""
    extra = b',"x":1,"x":2' if odd else b""
    return f'{{"name":"{name}","description":"{text}"'.encode() + extra + b"}"


@dataclass
class Known:
    """What the model holds of one tool."""

    seen: str
    odd: bool
    approved: str | None = None
    blocked: bool = False
    removed: bool = False
    absent: bool = False  # the last complete look did not list it

    @property
    def callable(self) -> bool:
        return self.approved == self.seen and not (self.blocked or self.removed or self.odd)


class Trust(RuleBasedStateMachine):
    """Observations, reviews, blocks and changes of identity in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = tempfile.TemporaryDirectory()
        self.model: dict[str, Known] = {}
        self.number = 0
        self.ids: dict[str, str] = {}
        self.public: dict[str, str] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        self.db = self.run(Database.open(f"sqlite:///{Path(self.place.name) / 'callgate.db'}"))
        self.run(self._prepare())

    async def _prepare(self) -> None:
        async with self.db.unit(None) as unit:
            await tenants.ensure(unit, "default")
        await add_upstream(self.db)
        self.fleet = new_fleet(self.db, "r1")
        await self.fleet.refresh()

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.run(self.db.close())
        self.runner.close()
        self.place.cleanup()

    async def _observe(self, listed: dict[str, tuple[str, bool]], expected: int, unlisted: bool) -> None:
        seen = tuple(fingerprint("tool", name, raw(name, *what)) for name, what in listed.items())
        observation = Observation("ups_1", seen, float(self.number + 1), ("tool",) if unlisted else ())
        async with self.db.unit("default") as unit:
            await observe(unit, observation, UpstreamState("ups_1", state="ok"), expected, Review())

    @rule(listed=LISTS)
    def a_complete_look(self, listed: dict[str, tuple[str, bool]]) -> None:
        self.run(self._observe(listed, self.number, unlisted=False))
        self.number += 1
        for name, (text, odd) in listed.items():
            full = fingerprint("tool", name, raw(name, text, odd)).full
            known = self.model.setdefault(name, Known(full, odd))
            known.seen, known.odd, known.removed, known.absent = full, odd, False, False
        for name, known in self.model.items():
            if name not in listed:
                known.absent = True
                known.removed = not known.blocked

    @rule()
    def a_look_whose_tools_could_not_be_listed(self) -> None:
        self.run(self._observe({}, self.number, unlisted=True))
        self.number += 1

    @rule(listed=LISTS, behind=st.integers(1, 3))
    def a_look_that_came_too_late(self, listed: dict[str, tuple[str, bool]], behind: int) -> None:
        self.refused("conflict", self._observe(listed, self.number - behind, unlisted=False))

    @rule()
    def an_error(self) -> None:
        async def broken() -> None:
            async with self.db.unit("default") as unit:
                await states.broken(unit, "ups_1", "It is away.")

        self.run(broken())

    def refused(self, code: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            self.run(work)
        except Refused as refused:
            if refused.code != code:
                raise
        else:
            raise AssertionError(f"this should be refused with {code}")

    def known(self) -> dict[str, Definition]:
        return {item.name: item for item in self.fleet.view("default").definitions.values()}

    async def _approve(self, name: str, full: str) -> None:
        async with self.db.unit("default") as unit:
            await reviews.approve(unit, OPERATOR, self.ids[name], full)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), stale=st.booleans())
    def a_review(self, data: st.DataObject, stale: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        known = self.model[name]
        work = self._approve(name, "0" * 64 if stale else known.seen)
        if known.removed or known.odd:
            self.refused("validation", work)
        elif stale:
            self.refused("stale_hash", work)
        else:
            self.run(work)
            known.approved, known.blocked, known.removed = known.seen, False, known.absent

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def a_block(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))

        async def block() -> None:
            async with self.db.unit("default") as unit:
                await reviews.block(unit, OPERATOR, self.ids[name])

        self.run(block())
        self.model[name].approved = None
        self.model[name].blocked, self.model[name].removed = True, False

    @rule()
    def another_identity(self) -> None:
        async def reset() -> None:
            async with self.db.unit("default") as unit:
                await definitions.reset(unit, "ups_1", "operator:0")

        self.run(reset())
        for known in self.model.values():
            known.approved = None

    @invariant()
    def only_what_was_approved_and_last_seen_is_callable(self) -> None:
        if not hasattr(self, "fleet"):
            return
        self.run(self.fleet.refresh())
        found = self.known()
        assert {name: item.callable for name, item in found.items()} == {
            name: known.callable for name, known in self.model.items()
        }
        for name, item in found.items():
            assert self.ids.setdefault(name, item.id) == item.id
            assert self.public.setdefault(name, item.public_name) == item.public_name
            if item.callable:
                assert fingerprint("tool", name, item.raw).full == item.approved_full
        assert len({name.lower() for name in self.public.values()}) == len(self.public)


Trust.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
test_only_trusted_tools_are_callable_after_any_history = Trust.TestCase
