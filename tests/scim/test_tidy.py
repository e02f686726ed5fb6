"""What identity providers send off the specification, put into its words; everything else is left as it is."""

import json
from typing import Any

import pytest

from callgate.scim import tidy
from tests.scim.client import ENTERPRISE
from tests.support.refusals import refused


def tidied(path: str, *operations: Any) -> Any:
    return json.loads(tidy.patch(json.dumps({"Operations": operations}).encode(), path))["Operations"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"Operations": 7}', b'{"Operations": [7]}', b"\xff"])
def test_what_is_no_patch_is_left_for_the_protocol(body: bytes) -> None:
    left = tidy.patch(body, "/Users/per_1")
    assert left == body or json.loads(left) == json.loads(body)


def test_a_manager_is_an_object() -> None:
    path = f"{ENTERPRISE}:manager"
    given = {"op": "Add", "path": path, "value": "per_2"}, {"op": "Replace", "path": path, "value": ""}
    assert tidied("/Users/per_1", *given) == [
        {"op": "Add", "path": path, "value": {"value": "per_2"}},
        {"op": "remove", "path": path},
    ]


def test_the_own_id_says_nothing_and_another_one_is_left() -> None:
    own, other = ({"op": "replace", "value": {"id": one, "displayName": "x"}} for one in ("grp_1", "grp_2"))
    assert tidied("/Groups/grp_1", own, other) == [{"op": "replace", "value": {"displayName": "x"}}, other]


def test_neighbours_are_merged_and_their_order_stays() -> None:
    def add(one: str) -> Any:
        return {"op": "add", "path": "members", "value": [{"value": one}]}

    def out(*ids: str) -> Any:
        return {"op": "remove", "path": f'members[value eq "{" ".join(ids)}"]'}

    listed = {"op": "Remove", "path": "members", "value": [{"value": "c", "$ref": None}]}
    name = {"op": "replace", "path": "displayName", "value": "x"}
    assert tidied("/Groups/grp_1", out("a"), out("b"), listed, add("d"), add("e"), name, add("f"), out("g")) == [
        out("a", "b", "c"),
        {"op": "add", "path": "members", "value": [{"value": "d"}, {"value": "e"}]},
        name,
        add("f"),
        out("g"),
    ]
    assert tidy.leavers(out("a", "b")["path"]) == frozenset("ab")
    assert tidy.leavers('members[display eq "a"]') is None


def test_what_would_take_long_is_refused() -> None:
    title = {"op": "replace", "path": "title", "value": "x"}
    assert len(tidied("/Users/per_1", *[title] * tidy.MAX_OPERATIONS)) == tidy.MAX_OPERATIONS
    long = {"op": "remove", "path": f'members[value eq "{"x" * tidy.MAX_PATH}"]'}
    for operations in ([title] * (tidy.MAX_OPERATIONS + 1), [long]):
        with refused("validation", "at most"):
            tidied("/Users/per_1", *operations)
    many = [{"op": "remove", "path": f'members[value eq "{number}"]'} for number in range(2000)]
    assert len(tidied("/Groups/grp_1", *many)) == 1


def test_a_removal_that_names_no_ids_is_left() -> None:
    odd: list[Any] = [
        {"op": "remove", "path": "members", "value": [{"display": "Ana"}]},
        {"op": "remove", "path": "members", "value": [{"value": 'x"] or members[value eq "y'}]},
        {"op": "remove", "path": "members"},
        {"op": "remove"},
    ]
    assert tidied("/Groups/grp_1", *odd) == odd
