"""Snapshots are values: a delta gives the same as a load from nothing, and shares what it does not touch."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.fleet.snapshot import Delta, Snapshot, apply
from callgate.model.definition import TRUSTED, Definition
from callgate.model.person import Agent
from callgate.model.rule import Rule
from callgate.model.upstream import Upstream, UpstreamState


def upstream(key: str, name: str = "") -> Upstream:
    return Upstream(id=key, tenant="default", name=name or key, kind="http", url="http://u.test/")


def definition(key: str, owner: str = "u1", kind: str = "tool", name: str = "", full: str = "f") -> Definition:
    name = name or key
    return Definition(
        id=key, tenant="default", upstream=owner, kind=kind, name=name, public_name=f"{owner}__{name}", status=TRUSTED,
        raw=b"{}", core="c", full=full,
    )  # fmt: skip


def test_a_first_delta_fills_every_map() -> None:
    state, rule = UpstreamState("u1", state="ok"), Rule("r", "T", "deny")
    agent = Agent("agt_1", "default", "bot")
    known = apply(
        Snapshot("default"),
        Delta(
            revisions={"rules": 4, "upstreams": 1},
            upstreams=(upstream("u1", "files"),),
            states=(state,),
            definitions=(definition("d1"), definition("d2", kind="prompt"), definition("d3", kind="resource")),
            rules=(rule,),
            agents=(agent,),
        ),
    )
    assert known.upstream_names == {"files": "u1"}
    assert known.states == {"u1": state}
    assert set(known.definitions) == {"d1", "d2", "d3"}
    assert set(known.tools) == {"u1__d1"}
    assert set(known.prompts) == {"u1__d2"}
    assert set(known.by_upstream["u1"]) == {("tool", "d1"), ("prompt", "d2"), ("resource", "d3")}
    assert known.rules.rules == (rule,)
    assert known.rules.version == 4
    assert known.agents == {"bot": agent}


def test_what_a_delta_does_not_touch_is_shared() -> None:
    first = apply(
        Snapshot("default"),
        Delta({}, upstreams=(upstream("u1"), upstream("u2")), definitions=(definition("d1"), definition("d2", "u2"))),
    )
    second = apply(first, Delta({}, definitions=(definition("d1", full="g"),)))
    assert second.upstreams is first.upstreams
    assert second.rules is first.rules
    assert second.agents is first.agents
    assert second.by_upstream["u2"] is first.by_upstream["u2"]
    assert first.definitions["d1"].full == "f"
    assert second.tools["u1__d1"].full == "g"


def test_a_snapshot_cannot_be_changed() -> None:
    known = apply(Snapshot("default"), Delta({"x": 1}, upstreams=(upstream("u1"),), definitions=(definition("d1"),)))
    maps: list[Any] = [known.revisions, known.upstreams, known.tools, known.by_upstream, known.by_upstream["u1"]]
    for each in maps:
        with pytest.raises(TypeError):
            each["x"] = 1


def test_an_upstream_that_is_gone_takes_its_name_state_and_definitions_along() -> None:
    first = apply(
        Snapshot("default"),
        Delta(
            {}, upstreams=(upstream("u1"), upstream("u2")), states=(UpstreamState("u1"), UpstreamState("u2")),
            definitions=(definition("d1"), definition("d2", "u2")),
        ),
    )  # fmt: skip
    second = apply(first, Delta({}, gone_upstreams=("u1", "unknown"), gone_definitions=("d1", "unknown")))
    assert set(second.upstreams) == set(second.states) == set(second.by_upstream) == {"u2"}
    assert second.upstream_names == {"u2": "u2"}
    assert set(second.tools) == {"u2__d2"}


def test_an_upstream_may_be_renamed_and_its_old_name_taken() -> None:
    first = apply(Snapshot("default"), Delta({}, upstreams=(upstream("u1", "a"), upstream("u2", "b"))))
    second = apply(first, Delta({}, upstreams=(upstream("u1", "b"), upstream("u2", "c"))))
    assert second.upstream_names == {"b": "u1", "c": "u2"}


def test_a_definition_that_came_back_under_a_new_id_replaces_the_old_one() -> None:
    first = apply(Snapshot("default"), Delta({}, definitions=(definition("d1", name="t"),)))
    second = apply(first, Delta({}, definitions=(definition("d2", name="t"),), gone_definitions=("d1",)))
    assert second.tools["u1__t"].id == "d2"
    assert second.by_upstream["u1"][("tool", "t")].id == "d2"


def test_an_agent_may_be_renamed_and_removed() -> None:
    first = apply(Snapshot("default"), Delta({}, agents=(Agent("a1", "default", "x"), Agent("a2", "default", "y"))))
    second = apply(first, Delta({}, agents=(Agent("a1", "default", "z"),), gone_agents=("a2",)))
    assert set(second.agents) == {"z"}


def test_a_removed_rule_is_compiled_away() -> None:
    first = apply(Snapshot("default"), Delta({"rules": 1}, rules=(Rule("r", "T", "deny"), Rule("s", "T", "allow"))))
    second = apply(first, Delta({"rules": 2}, gone_rules=("r",)))
    assert [rule.id for rule in second.rules.rules] == ["s"]
    assert second.rules.version == 2


def test_ten_thousand_tools_arrive_in_one_delta_and_one_change_touches_one() -> None:
    many = tuple(definition(f"d{number}", f"u{number % 7}") for number in range(10_000))
    first = apply(Snapshot("default"), Delta({}, definitions=many))
    assert len(first.tools) == 10_000
    second = apply(first, Delta({}, definitions=(definition("d5", "u5", full="new"),)))
    assert sum(second.tools[name] is not first.tools[name] for name in first.tools) == 1
    assert second.by_upstream["u6"] is first.by_upstream["u6"]
    assert Delta({}, definitions=many).size == 10_000


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "drop"]), st.sampled_from(["d1", "d2", "d3", "d4"]), st.sampled_from(["f", "g", "h"])
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=5))
def test_any_row_of_deltas_gives_what_one_load_would_give(history: list[list[tuple[str, str, str]]]) -> None:
    rows: dict[str, Definition] = {}
    known = Snapshot("default")
    for steps in history:
        changed: dict[str, Definition] = {}
        gone: set[str] = set()
        for kind, key, full in steps:
            if kind == "put":
                changed[key] = rows[key] = definition(key, "u1" if key < "d3" else "u2", full=full)
                gone.discard(key)
            else:
                rows.pop(key, None)
                changed.pop(key, None)
                gone.add(key)
        known = apply(known, Delta({}, definitions=tuple(changed.values()), gone_definitions=tuple(gone)))
    loaded = apply(Snapshot("default"), Delta({}, definitions=tuple(rows.values())))
    assert plain(known) == plain(loaded)


def plain(snapshot: Snapshot) -> object:
    owners = {key: dict(entries) for key, entries in snapshot.by_upstream.items()}
    return dict(snapshot.definitions), dict(snapshot.tools), owners


def test_frozen_maps_are_what_others_get() -> None:
    known: Mapping[str, int] = apply(Snapshot("default"), Delta({"rules": 1})).revisions
    assert isinstance(known, MappingProxyType)
    assert msgspec.structs.asdict(Rule("r", "T", "deny"))["revision"] == 0
