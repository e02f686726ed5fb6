"""One look becomes one observation: complete or an error, never partial, and never on top of a newer one."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from callgate.errors import Refused
from callgate.fingerprints.canonical import fingerprint
from callgate.fingerprints.states import Terms
from callgate.fleet.sync import Fleet
from callgate.model.definition import DRIFT_DETECTED, PENDING_REVIEW, REMOVED, TRUSTED, Definition
from callgate.model.upstream import Upstream, UpstreamState
from callgate.store import reviews, revisions, upstreams
from callgate.store.engine import Database
from callgate.upstreams import catalog as looking
from callgate.upstreams.catalog import Catalog, observed, says_nothing_new
from callgate.upstreams.facts import Item
from tests.support.observed import Shelf, facts, tool
from tests.support.replicas import add_upstream, fleet
from tests.support.reviewing import OPERATOR, NoScanner

UPSTREAM = Upstream(id="ups_1", tenant="default", name="files", kind="http", url="http://127.0.0.1:9/mcp")


@pytest.fixture
async def replica(db: Database) -> AsyncIterator[Fleet]:
    async with fleet(db, "r1") as found:
        yield found


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def catalog(db: Database, replica: Fleet, shelf: Shelf) -> AsyncIterator[Catalog]:
    found = Catalog(db, replica, shelf, NoScanner())
    yield found
    await found.close()


@pytest.fixture
async def files(db: Database) -> Upstream:
    return await add_upstream(db)


def known(replica: Fleet, kind: str = "tool") -> dict[str, Definition]:
    found = replica.view("default").by_upstream.get("ups_1", {})
    return {name: item for (of_kind, name), item in found.items() if of_kind == kind}


def statuses(replica: Fleet, kind: str = "tool") -> dict[str, str]:
    return {name: item.status for name, item in known(replica, kind).items()}


async def approve(db: Database, replica: Fleet, name: str) -> None:
    definition = known(replica)[name]
    async with db.unit("default") as unit:
        await reviews.approve(unit, OPERATOR, definition.id, definition.full)
    await replica.refresh()


async def definitions_revision(db: Database) -> int:
    async with db.unit("default", write=False) as unit:
        return (await revisions.of_tenant(unit)).get("definitions", 0)


async def test_a_look_is_written_and_visible_here_when_it_returns(
    db: Database, replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = facts(tool("read"), Item("prompt", "p", b'{"name":"p"}'), instructions="Be kind.")
    state = await catalog.look(files)
    assert (state.state, state.observation, state.era, state.server_name) == ("ok", 1, "modern", "Shelf")
    assert statuses(replica) == {"read": PENDING_REVIEW}
    assert statuses(replica, "prompt") == {"p": PENDING_REVIEW}
    assert known(replica, "instructions")[""].raw == b'"Be kind."'


async def test_an_error_marks_the_upstream_broken_and_changes_no_definition(
    db: Database, replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = facts(tool("read"))
    await catalog.look(files)
    await approve(db, replica, "read")
    before = await definitions_revision(db)
    shelf.offers["ups_1"] = Refused("upstream_invalid", "The pages go round in a circle.")
    state = await catalog.look(files)
    assert (state.state, state.reason, state.observation) == ("broken", "The pages go round in a circle.", 1)
    assert known(replica)["read"].callable
    assert await definitions_revision(db) == before


async def test_a_list_that_failed_keeps_what_was_known_of_its_kind(
    replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = facts(tool("read"), Item("prompt", "p", b'{"name":"p"}'))
    await catalog.look(files)
    shelf.offers["ups_1"] = facts(tool("read"), unlisted={"prompt": "It timed out."})
    state = await catalog.look(files)
    assert (state.state, state.reason) == ("ok", "prompt: It timed out.")
    assert statuses(replica, "prompt") == {"p": PENDING_REVIEW}
    shelf.offers["ups_1"] = facts(tool("read"))
    await catalog.look(files)
    assert statuses(replica, "prompt") == {"p": REMOVED}


async def test_a_change_of_one_byte_is_drift_and_changing_back_is_trust(
    db: Database, replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = facts(tool("read", "a"))
    await catalog.look(files)
    await approve(db, replica, "read")
    shelf.offers["ups_1"] = facts(tool("read", "b"))
    await catalog.look(files)
    assert statuses(replica) == {"read": DRIFT_DETECTED}
    shelf.offers["ups_1"] = facts(tool("read", "a"))
    await catalog.look(files)
    assert statuses(replica) == {"read": TRUSTED}


async def test_a_look_that_says_nothing_new_counts_but_moves_no_definition(
    db: Database, replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.offers["ups_1"] = facts(tool("read"), tool("write"), instructions="Hm.")
    await catalog.look(files)
    before = await definitions_revision(db)

    def hash_again(*_: object) -> None:
        raise AssertionError("what is known with the same bytes is not hashed again")

    monkeypatch.setattr(looking, "fingerprint", hash_again)
    monkeypatch.setattr(looking, "observe", hash_again)
    assert (await catalog.look(files)).observation == 2
    assert await definitions_revision(db) == before


async def test_of_two_owners_that_look_at_once_one_counts(db: Database, replica: Fleet, files: Upstream) -> None:
    one, other = Shelf(), Shelf()
    one.offers["ups_1"] = facts(tool("one"))
    other.offers["ups_1"] = facts(tool("other"))
    one.held["ups_1"] = other.held["ups_1"] = go = asyncio.Event()
    catalogs = (Catalog(db, replica, one, NoScanner()), Catalog(db, replica, other, NoScanner()))
    looks = [asyncio.ensure_future(catalog.look(files)) for catalog in catalogs]
    await one.next_asked()
    await other.next_asked()
    go.set()
    async with asyncio.timeout(20):
        states = await asyncio.gather(*looks)
    assert [state.observation for state in states] == [1, 1]
    assert [state.state for state in states] == ["ok", "ok"]
    assert len(known(replica)) == 1
    for catalog in catalogs:
        await catalog.close()


async def test_a_look_at_what_the_upstream_was_before_is_not_written(
    db: Database, replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = facts(tool("read"))
    shelf.held["ups_1"] = go = asyncio.Event()
    look = asyncio.ensure_future(catalog.look(files))
    await shelf.next_asked()
    async with db.unit("default") as unit:
        await upstreams.update_one(unit, msgspec.structs.replace(files, identity="another"))
    go.set()
    async with asyncio.timeout(20):
        assert (await look).state == "new"
    assert known(replica) == {}


async def test_a_look_at_a_removed_upstream_leaves_nothing(
    db: Database, replica: Fleet, catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = Refused("upstream_unavailable")
    async with db.unit("default") as unit:
        await upstreams.remove(unit, files.id)
    assert await catalog.look(files) == UpstreamState(files.id)


async def test_who_asks_during_a_look_gets_the_one_after(catalog: Catalog, shelf: Shelf, files: Upstream) -> None:
    shelf.offers["ups_1"] = facts(tool("read"))
    shelf.held["ups_1"] = go = asyncio.Event()
    first = asyncio.ensure_future(catalog.look(files))
    await shelf.next_asked()
    later = [asyncio.ensure_future(catalog.look(files)) for _ in range(5)]
    go.set()
    async with asyncio.timeout(20):
        assert (await first).observation == 1
        assert {state.observation for state in await asyncio.gather(*later)} == {2}
    assert shelf.looks["ups_1"] == 2


async def test_upstreams_that_hang_give_their_places_up(
    db: Database, catalog: Catalog, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "PATIENCE_SECONDS", 0.01)
    hanging = [await add_upstream(db, f"ups_h{number}", f"hanging-{number}") for number in range(looking.AT_ONCE)]
    quick = await add_upstream(db, "ups_quick", "quick")
    shelf.offers["ups_quick"] = facts(tool("read"))
    for one in hanging:
        shelf.held[one.id] = asyncio.Event()
    looks = [asyncio.ensure_future(catalog.look(one)) for one in hanging]
    for _ in hanging:
        await shelf.next_asked()
    async with asyncio.timeout(20):
        assert (await catalog.look(quick)).state == "ok"
    assert not any(look.done() for look in looks)
    await catalog.close()
    await asyncio.gather(*looks, return_exceptions=True)


async def test_a_look_without_end_is_broken_off(
    catalog: Catalog, shelf: Shelf, files: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(looking, "LOOK_SECONDS", 0.02)
    shelf.held["ups_1"] = asyncio.Event()
    async with asyncio.timeout(20):
        state = await catalog.look(files)
    assert state.state == "broken"
    assert "not complete" in state.reason


async def test_an_unexpected_error_marks_the_upstream_broken_too(
    catalog: Catalog, shelf: Shelf, files: Upstream
) -> None:
    shelf.offers["ups_1"] = RecursionError("deep")
    with pytest.raises(RecursionError):
        await catalog.look(files)
    async with asyncio.timeout(20):
        await asyncio.gather(*catalog._tasks)
    assert (await catalog.state(files)).state == "broken"


def test_known_bytes_keep_their_hashes_and_others_are_hashed() -> None:
    same, changed = tool("same"), tool("changed")
    before = {
        ("tool", item.name): _definition(item, full="known", status=PENDING_REVIEW)
        for item in (same, tool("changed", "x"))
    }
    seen = observed(UPSTREAM, facts(same, changed, unlisted={"prompt": "why"}), 5.0, before)
    assert [item.full for item in seen.definitions if item.kind == "tool"] == [
        "known",
        fingerprint("tool", "changed", changed.raw).full,
    ]
    assert seen.unlisted == ("prompt",)


@pytest.mark.parametrize(
    ("status", "approved", "listed", "nothing_new"),
    [
        (PENDING_REVIEW, None, True, True),
        (PENDING_REVIEW, None, False, False),
        (TRUSTED, "f", True, True),
        (TRUSTED, "f", False, False),
        (REMOVED, "f", True, False),
        (REMOVED, "f", False, True),
        ("blocked", None, True, True),
        ("blocked", None, False, True),
        (DRIFT_DETECTED, "other", True, True),
        (TRUSTED, "other", True, False),
    ],
)
def test_only_what_leaves_every_status_says_nothing_new(
    status: str, approved: str | None, listed: bool, nothing_new: bool
) -> None:
    item = tool("read")
    known = _definition(item, "f", status, approved)
    before = {("tool", "read"): msgspec.structs.replace(known, listed=listed)}
    assert _nothing_new(before, *([item] if listed else [])) is nothing_new
    otherwise = {("tool", "read"): msgspec.structs.replace(known, listed=not listed)}
    assert not _nothing_new(otherwise, *([item] if listed else []))
    assert not _nothing_new(before, item, tool("new"))


def _nothing_new(before: dict[tuple[str, str], Definition], *items: Item) -> bool:
    """The same server as before, offering these."""
    server = observed(UPSTREAM, facts(), 5.0, {}).definitions[0]
    own = _definition(Item("server", "", server.raw), server.full, PENDING_REVIEW)
    known = {**before, ("server", ""): own}
    return says_nothing_new(known, observed(UPSTREAM, facts(*items), 5.0, known), Terms(), "")


def _definition(item: Item, full: str, status: str, approved: str | None = None) -> Definition:
    return Definition(
        id="def_1", tenant="default", upstream="ups_1", kind=item.kind, name=item.name, public_name=item.name,
        status=status, raw=item.raw, core="c", full=full, approved_full=approved,
    )  # fmt: skip
