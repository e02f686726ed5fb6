"""Agent profiles and rules: added, changed, removed, and checked before they are saved."""

import pytest

from tests.support.refusals import refused
from tests.support.running import Running


def test_an_agent_profile_lives_and_ends(gateway: Running) -> None:
    made = gateway.operator.post("/agents", {"name": "support", "upstreams": ["zendesk", "docs-*"]})
    assert made["upstreams"] == ["docs-*", "zendesk"]
    with refused("conflict"):
        gateway.operator.post("/agents", {"name": "support"})
    assert gateway.operator.put("/agents/support", {"upstreams": None})["upstreams"] is None
    assert gateway.operator.get("/agents/support")["id"] == made["id"]
    assert made["id"] in {one["id"] for one in gateway.operator.pages("/agents")}
    gateway.operator.delete("/agents/support")
    for again in (gateway.operator.get, gateway.operator.delete):
        with refused("not_found"):
            again("/agents/support")


@pytest.mark.parametrize("name", ["", "Upper", "two__lines", "-x", "x-", "a" * 33, "ü"])
def test_an_agent_has_a_plain_name(gateway: Running, name: str) -> None:
    with refused("validation", "$.name"):
        gateway.operator.post("/agents", {"name": name})


def test_a_rule_lives_and_ends(gateway: Running) -> None:
    body = {"id": "no-deletes", "title": "No deletes", "effect": "deny", "match": {"tool": ["*delete*"]}}
    made = gateway.operator.post("/rules", body)
    assert made == {**body, "message": ""}
    with refused("conflict"):
        gateway.operator.post("/rules", body)
    changed = gateway.operator.put(
        "/rules/no-deletes",
        {"title": "No", "effect": "deny", "match": {"unless": {"team": ["sre"]}}, "message": "Ask."},
    )
    assert (changed["match"], changed["message"]) == ({"unless": {"team": ["sre"]}}, "Ask.")
    assert gateway.operator.get("/rules/no-deletes") == changed
    assert changed in list(gateway.operator.pages("/rules"))
    gateway.operator.delete("/rules/no-deletes")
    with refused("not_found"):
        gateway.operator.get("/rules/no-deletes")
    with refused("not_found"):
        gateway.operator.put("/rules/no-deletes", {"title": "No", "effect": "deny"})


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"effect": "require_approval"}, "$.effect"),
        ({"title": "   "}, "$.title"),
        ({"id": "Bad"}, "$.id"),
        ({"match": {"tools": ["x"]}}, "Did you mean `tool`?"),
        ({"match": {"unless": {"unless": {}}}}, "$.match.unless"),
        ({"match": {"unless": {}}}, "swallow"),
        ({"match": {"tool": [""]}}, "$.match.tool"),
        ({"message": "line\nbreak"}, "$.message"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_place(gateway: Running, wrong: dict[str, object], place: str) -> None:
    body = {"id": "wrong", "title": "T", "effect": "deny", "match": {}} | wrong
    with refused("validation", place):
        gateway.operator.post("/rules", body)
