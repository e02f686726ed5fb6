"""Contract of upstreams, states, definitions, observations and rules. Runs on both databases."""

import msgspec
import pytest

from callgate.errors import Refused
from callgate.fingerprints.states import Review
from callgate.model.definition import (
    BLOCKED,
    DRIFT_DETECTED,
    PENDING_REVIEW,
    REMOVED,
    TRUSTED,
    Definition,
    Observation,
    Observed,
)
from callgate.model.rule import Match, Rule
from callgate.model.upstream import Stdio, Upstream, UpstreamState
from callgate.store import definitions, reviews, rules, states, upstreams
from callgate.store.engine import Database
from callgate.store.observe import observe
from callgate.store.unit import Unit
from tests.support.reviewing import OPERATOR

FILES = Upstream(
    id="ups_1", tenant="default", name="files", kind="stdio", identity="i1",
    stdio=Stdio(command="npx", args=("-y", "x"), env={"B": "2", "A": "1"}),
)  # fmt: skip
WEB = Upstream(id="ups_2", tenant="default", name="web", kind="http", url="https://web.test/mcp", timeout_s=12.5)


def seen(name: str, text: str = "", kind: str = "tool") -> Observed:
    raw = f'{{"name":"{len(name)}","description":"{text}"}}'.encode()
    return Observed(kind=kind, name=name, raw=raw, core=f"c{text}", full=f"f{text}")


async def look(
    unit: Unit,
    *items: Observed,
    expected: int,
    at: float = 10.0,
    upstream: str = "ups_1",
    unlisted: tuple[str, ...] = (),
) -> tuple[Definition, ...]:  # fmt: skip
    observation = Observation(upstream=upstream, definitions=items, seen_at=at, unlisted=unlisted)
    facts = UpstreamState(upstream=upstream, state="ok", era="modern", server_name="S", observed_at=at)
    return await observe(unit, observation, facts, expected, Review())


async def test_upstreams_are_kept_as_given(db: Database) -> None:
    async with db.unit("default") as unit:
        files = await upstreams.add(unit, FILES)
        web = await upstreams.add(unit, WEB)
    async with db.unit("default", write=False) as unit:
        assert await upstreams.get(unit, "ups_1") == files
        assert await upstreams.by_name(unit, "web") == web
        assert await upstreams.page(unit) == (files, web)
        assert await upstreams.page(unit, "ups_1") == (web,)
        assert files.stdio == FILES.stdio
        assert await states.get(unit, "ups_1") == UpstreamState(upstream="ups_1", revision=1)


async def test_upstream_names_are_unique_while_they_live(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        web = await upstreams.add(unit, WEB)
        for work in (
            upstreams.add(unit, msgspec.structs.replace(WEB, id="ups_3", name="files")),
            upstreams.update_one(unit, msgspec.structs.replace(web, name="files")),
        ):
            with pytest.raises(Refused, match="files"):
                await work
        with pytest.raises(Refused, match="no such"):
            await upstreams.update_one(unit, msgspec.structs.replace(web, id="ups_9", name="other"))
        await upstreams.remove(unit, "ups_1")
        renamed = await upstreams.update_one(unit, msgspec.structs.replace(web, name="files"))
        assert (await upstreams.by_name(unit, "files")) == renamed


async def test_deleting_an_upstream_takes_state_and_definitions_along_but_the_audit_still_knows_names(
    db: Database,
) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        await upstreams.remove(unit, "ups_1")
        with pytest.raises(Refused):
            await upstreams.remove(unit, "ups_1")
    async with db.unit("default", write=False) as unit:
        assert await upstreams.changed_since(unit, 0) == ((), ("ups_1",))
        assert await states.changed_since(unit, 0) == ((), ("ups_1",))
        assert await definitions.changed_since(unit, 0) == ((), (tool.id,))
        assert await upstreams.names_of(unit, ["ups_1"]) == {"ups_1": "files"}
        assert await definitions.names_of(unit, [tool.id]) == {tool.id: "files__read"}
        assert await definitions.get(unit, tool.id) is None


async def test_a_first_observation_puts_everything_under_review(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = await look(unit, seen("read"), seen("p", kind="prompt"), seen("file:///x", kind="resource"), expected=0)
    async with db.unit("default", write=False) as unit:
        assert {item.public_name for item in made} == {"files__read", "files__p", "file:///x"}
        assert {item.status for item in made} == {PENDING_REVIEW}
        assert set(await definitions.of_upstream(unit, "ups_1")) == set(made)
        tool = await definitions.by_public_name(unit, "tool", "files__read")
        assert tool is not None
        assert (tool.raw, tool.first_seen, tool.last_seen) == (seen("read").raw, 10.0, 10.0)
        assert [item.full for item in await definitions.versions(unit, tool.id)] == ["f"]
        state = await states.get(unit, "ups_1")
        assert state is not None
        assert (state.state, state.era, state.observation) == ("ok", "modern", 1)


async def test_a_lost_race_is_a_conflict_and_changes_nothing(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, seen("read"), expected=0)
    for expected in (0, 2):
        with pytest.raises(Refused) as caught:
            async with db.unit("default") as unit:
                await look(unit, seen("other"), expected=expected)
        assert caught.value.code == "conflict"
    async with db.unit("default", write=False) as unit:
        assert [item.name for item in await definitions.of_upstream(unit, "ups_1")] == ["read"]


async def test_an_uneventful_observation_raises_no_revision(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, seen("read"), expected=0)
    async with db.unit("default") as unit:
        assert await look(unit, seen("read"), expected=1, at=20.0) == ()
        assert unit.wakes == {}
        state = await states.get(unit, "ups_1")
        assert state is not None
        assert (state.observation, state.observed_at) == (2, 20.0)


async def test_drift_keeps_what_was_approved_and_every_version(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        await reviews.approve(unit, OPERATOR, tool.id, "f")
        (drifted,) = await look(unit, seen("read", "evil"), expected=1, at=20.0)
        assert (drifted.status, drifted.approved_full, drifted.full) == (DRIFT_DETECTED, "f", "fevil")
        assert not drifted.callable
        (back,) = await look(unit, seen("read"), expected=2, at=30.0)
        assert back.callable
        assert await definitions.get(unit, tool.id) == back
        found = await definitions.versions(unit, tool.id)
        assert [(item.full, item.first_seen, item.last_seen) for item in found] == [
            ("f", 10.0, 30.0),
            ("fevil", 20.0, 20.0),
        ]
        assert (await definitions.version(unit, tool.id, "fevil")) == found[1]
        assert (await definitions.version(unit, tool.id, "nothing")) is None


async def test_what_vanishes_is_removed_and_comes_back_as_the_same_row(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        (gone,) = await look(unit, expected=1, at=20.0)
        assert (gone.status, gone.last_seen) == (REMOVED, 10.0)
        (back,) = await look(unit, seen("read"), expected=2, at=30.0)
        assert (back.id, back.status, back.public_name) == (tool.id, PENDING_REVIEW, "files__read")


async def test_a_list_that_could_not_be_had_leaves_its_definitions_alone(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, seen("read"), seen("p", kind="prompt"), expected=0)
        changed = await look(unit, expected=1, unlisted=("prompt",))
        assert [(item.kind, item.status) for item in changed] == [("tool", REMOVED)]


async def test_public_names_that_clients_may_confuse_are_told_apart(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = await look(unit, *(seen(name) for name in ("Read", "read", "re.ad", "re/ad", "x" * 100)), expected=0)
        public = [item.public_name for item in made]
        assert len({name.lower() for name in public}) == 5
        assert all(len(name) <= 64 for name in public)


async def test_a_public_name_is_never_given_to_another_tool(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, seen("read"), expected=0)
        await upstreams.remove(unit, "ups_1")
        await upstreams.add(unit, msgspec.structs.replace(FILES, id="ups_9"))
        again, other = await look(unit, seen("read"), seen("READ"), expected=0, upstream="ups_9")
        assert again.public_name == "files__read"  # the same upstream name and tool name: the same tool
        assert other.public_name.lower() != "files__read"


async def test_a_renamed_upstream_keeps_its_public_names_from_its_successor(db: Database) -> None:
    async with db.unit("default") as unit:
        old = await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        await upstreams.update_one(unit, msgspec.structs.replace(old, name="old-files"))
        await upstreams.add(unit, msgspec.structs.replace(FILES, id="ups_9"))
        (successor,) = await look(unit, seen("read"), expected=0, upstream="ups_9")
        assert tool.public_name == "files__read"
        assert successor.public_name != tool.public_name


async def test_odd_names_and_long_uris_survive(db: Database) -> None:
    odd = ("nul\0nul", "\ud800lone", "ünï→", "")
    long = "file:///" + "x" * 5000
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, *(seen(name) for name in odd), seen(long, kind="resource"), expected=0)
    async with db.unit("default") as unit:
        assert {item.name for item in await definitions.of_upstream(unit, "ups_1")} == {*odd, long}
        assert await look(unit, *(seen(name) for name in odd), seen(long, kind="resource"), expected=1) == ()


async def test_a_list_that_names_a_tool_twice_makes_one(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (made,) = await look(unit, seen("read", "one"), seen("read", "two"), expected=0)
        assert made.full == "fone"


async def test_two_thousand_tools_are_one_observation(db: Database) -> None:
    tools = [seen(f"tool_{number}", str(number)) for number in range(2000)]
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        assert len(await look(unit, *tools, expected=0)) == 2000
    async with db.unit("default") as unit:
        assert await look(unit, *tools, expected=1) == ()
        changed, _ = await definitions.changed_since(unit, 0)
        assert len(changed) == 2000
        assert len(await definitions.page(unit, limit=5000)) == 1000


async def test_approving_takes_exactly_the_hash_that_was_shown(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        with pytest.raises(Refused) as caught:
            await reviews.approve(unit, OPERATOR, tool.id, "other")
        assert caught.value.code == "stale_hash"
        assert (await reviews.approve(unit, OPERATOR, tool.id, "f")).callable
        blocked = await reviews.block(unit, OPERATOR, tool.id)
        assert (blocked.status, blocked.approved_full) == (BLOCKED, None)
        with pytest.raises(Refused):
            await reviews.block(unit, OPERATOR, "def_unknown")


async def test_the_quarantined_and_the_removed_cannot_be_approved(db: Database) -> None:
    bad = msgspec.structs.replace(seen("bad"), quarantined="duplicate member name")
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        made = await look(unit, bad, seen("gone"), expected=0)
        await look(unit, bad, expected=1)
        for item in made:
            with pytest.raises(Refused) as caught:
                await reviews.approve(unit, OPERATOR, item.id, item.full)
            assert caught.value.code == "validation"


@pytest.mark.parametrize("blocked_first", [True, False])
async def test_what_vanished_while_it_was_blocked_is_removed_when_it_is_approved(
    db: Database, blocked_first: bool
) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        if blocked_first:
            await reviews.block(unit, OPERATOR, tool.id)
        (gone,) = await look(unit, expected=1)
        assert not gone.listed
        if not blocked_first:
            await reviews.block(unit, OPERATOR, tool.id)
        assert await look(unit, expected=2) == ()
        approved = await reviews.approve(unit, OPERATOR, tool.id, "f")
        assert (approved.status, approved.approved_full, approved.callable) == (REMOVED, "f", False)
        assert await look(unit, expected=3) == ()
        (back,) = await look(unit, seen("read"), expected=4)
        assert back.listed
        assert back.callable


async def test_a_blocked_tool_that_came_back_is_trusted_when_it_is_approved(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        (tool,) = await look(unit, seen("read"), expected=0)
        await reviews.block(unit, OPERATOR, tool.id)
        await look(unit, expected=1)
        await look(unit, seen("read"), expected=2, unlisted=("tool",))
        (back,) = await definitions.of_upstream(unit, "ups_1")
        assert (back.status, back.listed) == (BLOCKED, True)
        await look(unit, expected=3, unlisted=("tool",))
        assert (await reviews.approve(unit, OPERATOR, tool.id, "f")).callable


async def test_a_reset_sends_everything_but_blocked_and_removed_back_to_review(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        trusted, blocked, removed = await look(unit, seen("a"), seen("b"), seen("c"), expected=0)
        for item in (trusted, removed):
            await reviews.approve(unit, OPERATOR, item.id, "f")
        await reviews.block(unit, OPERATOR, blocked.id)
        await look(unit, seen("a"), seen("b"), expected=1)
        await definitions.reset(unit, "ups_1", "operator:0")
        found = {item.id: (item.status, item.approved_full) for item in await definitions.page(unit)}
    assert found == {
        trusted.id: (PENDING_REVIEW, None), blocked.id: (BLOCKED, None), removed.id: (REMOVED, None),
    }  # fmt: skip


async def test_definitions_are_filtered_in_pages(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await upstreams.add(unit, WEB)
        tool, _ = await look(unit, seen("a"), seen("p", kind="prompt"), expected=0)
        await look(unit, seen("b"), expected=0, upstream="ups_2")
        await reviews.approve(unit, OPERATOR, tool.id, "f")
        assert [item.name for item in await definitions.page(unit, kind="tool", upstream="ups_1")] == ["a"]
        assert [item.name for item in await definitions.page(unit, status=TRUSTED)] == ["a"]
        assert len(await definitions.page(unit, kind="tool")) == 2


async def test_a_broken_upstream_keeps_what_was_known(db: Database) -> None:
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, seen("read"), expected=0)
        broken = await states.broken(unit, "ups_1", "no answer\0")
        assert (broken.state, broken.reason, broken.era, broken.observation) == ("broken", "no answer\0", "modern", 1)
    async with db.unit("default") as unit:
        assert await states.broken(unit, "ups_1", "no answer\0") == broken
        assert unit.wakes == {}
        assert await states.page(unit) == (broken,)
        assert await states.page(unit, "ups_1") == ()
        with pytest.raises(Refused):
            await states.broken(unit, "ups_9", "x")


async def test_rules_are_replaced_by_id_deleted_and_come_back(db: Database) -> None:
    rule = Rule(
        id="r1", title="T", effect="deny", match=Match(tool=("x*",), unless=Match(team=("sre",))), message="No."
    )
    async with db.unit("default") as unit:
        added = await rules.put(unit, rule)
        assert added == msgspec.structs.replace(rule, revision=1)
    async with db.unit("default") as unit:
        changed = await rules.put(unit, msgspec.structs.replace(rule, effect="allow"))
        await rules.put(unit, msgspec.structs.replace(rule, id="r2"))
        assert await rules.get(unit, "r1") == changed
        assert [item.id for item in await rules.page(unit)] == ["r1", "r2"]
    async with db.unit("default") as unit:
        await rules.remove(unit, "r1")
        with pytest.raises(Refused):
            await rules.remove(unit, "r1")
        assert await rules.changed_since(unit, 2) == ((), ("r1",))
    async with db.unit("default") as unit:
        back = await rules.put(unit, rule)
        assert await rules.changed_since(unit, 3) == ((back,), ())


async def test_many_tools_are_approved_together_and_each_is_judged_by_its_own_hash(db: Database) -> None:
    bad = msgspec.structs.replace(seen("bad"), quarantined="duplicate member name")
    many = [seen(f"tool_{number}", str(number)) for number in range(1200)]
    async with db.unit("default") as unit:
        await upstreams.add(unit, FILES)
        await look(unit, seen("read"), seen("gone"), bad, *many, expected=0)
        await look(unit, seen("read"), bad, *many, expected=1)
    shown = {f"files__tool_{number}": f"f{number}" for number in range(1200)}
    shown |= {"files__read": "stale", "files__gone": "f", "files__bad": "f", "files__nothing": "f"}
    async with db.unit("default") as unit:
        answer = await reviews.approve_many(unit, OPERATOR, shown)
        assert list(answer) == list(shown)
        codes = {name: after.code for name, (_, after) in answer.items() if isinstance(after, Refused)}
    assert codes == {
        "files__read": "stale_hash", "files__gone": "validation", "files__bad": "validation",
        "files__nothing": "not_found",
    }  # fmt: skip
    async with db.unit("default", write=False) as unit:
        found = {one.public_name: one for one in await definitions.of_upstream(unit, "ups_1")}
    assert {name for name, one in found.items() if one.callable} == shown.keys() - codes.keys()
    assert len({one.revision for one in found.values() if one.callable}) == 1


async def test_approving_nothing_raises_no_revision(db: Database) -> None:
    async with db.unit("default") as unit:
        assert isinstance((await reviews.approve_many(unit, OPERATOR, {"nobody": "f"}))["nobody"][1], Refused)
        assert unit.wakes == {}
