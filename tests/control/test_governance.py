"""Governance as code: the same document twice changes once, and what is missing is named."""

from typing import Any

import pytest

from tests.support.refusals import refused
from tests.support.running import Running
from tests.support.shop import Shop


def document(shop: Shop, name: str, **more: Any) -> dict[str, Any]:
    return {"upstreams": [{"name": name, "url": shop.url, "allow_private": True}], **more}


def apply(gateway: Running, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    done: dict[str, Any] = gateway.operator.post("/governance/apply", {"document": value, **more})
    return done


def changed(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["action"], one["kind"], one["name"]) for one in result["changes"]]


def test_everything_of_a_document_is_made_once(gateway: Running, shop: Shop) -> None:
    value = document(
        shop,
        "gov",
        people=[{"email": "gov@acme.test", "roles": ["reviewer"], "teams": ["red"]}],
        agents=[{"name": "gov-bot", "upstreams": ["gov"]}],
        rules=[{"id": "gov-rule", "title": "No refunds", "effect": "deny", "match": {"tool": ["refund*"]}}],
    )
    planned = gateway.operator.post("/governance/plan", {"document": value})
    done = apply(gateway, value)
    assert (
        changed(planned)
        == changed(done)
        == [
            ("add", "person", "gov@acme.test"),
            ("add", "agent", "gov-bot"),
            ("add", "upstream", "gov"),
            ("add", "rule", "gov-rule"),
        ]
    )
    assert [(one["kind"], one["name"], one["final"]) for one in done["missing"]] == [("upstream", "gov", False)]
    gateway.operator.post("/upstreams/gov/refresh")
    assert apply(gateway, value) == {"changes": [], "missing": []}


def test_planning_changes_nothing(gateway: Running, shop: Shop) -> None:
    before = gateway.operator.get("/replicas")["revisions"]
    gateway.operator.post("/governance/plan", {"document": document(shop, "planned")})
    with refused("not_found"):
        gateway.operator.get("/upstreams/planned")
    after = gateway.operator.get("/replicas")["revisions"]
    assert {name: after[name] for name in ("upstreams", "rules") if name in after} == {
        name: before[name] for name in ("upstreams", "rules") if name in before
    }


def test_tools_are_trusted_by_pattern_and_by_hash(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("pat", shop.url)
    full = gateway.operator.get("/tools/pat__refund_order")["full"]
    tools = [
        {"upstream": "pat", "tool": "*_order*"},
        {"upstream": "pat", "tool": "refund_order", "status": "blocked"},
        {"upstream": "pat", "tool": "delete_*"},
    ]
    done = apply(gateway, document(shop, "pat", tools=tools))
    assert sorted(changed(done)) == [
        ("block", "tool", "pat__refund_order"),
        ("trust", "tool", "pat__list_orders"),
        ("trust", "tool", "pat__read_order"),
    ]
    assert done["missing"] == [
        {"kind": "tool", "name": "pat: delete_*", "reason": "the upstream has no such tool", "final": True}
    ]
    tools = [{"upstream": "pat", "tool": "refund_order"}]
    blocked = apply(gateway, document(shop, "pat", tools=tools))
    assert full in blocked["missing"][0]["reason"]
    done = apply(gateway, document(shop, "pat", tools=[{**tools[0], "full": full}]))
    assert changed(done) == [("trust", "tool", "pat__refund_order")]


def test_a_drifted_tool_needs_its_hash(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("drift", shop.url)
    value = document(shop, "drift", tools=[{"upstream": "drift", "tool": "list_orders"}])
    apply(gateway, value)
    shop.tools[0]["title"] = "Another"
    gateway.operator.post("/upstreams/drift/refresh")
    result = apply(gateway, value)
    assert result["changes"] == []
    assert "drifted" in result["missing"][0]["reason"]
    stale = document(shop, "drift", tools=[{"upstream": "drift", "tool": "list_orders", "full": "0" * 64}])
    assert "look at the diff" in apply(gateway, stale)["missing"][0]["reason"]


def test_what_is_exported_applies_without_a_change(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("exp", shop.url, auth={"mode": "shared", "secret": "s3cret"})
    full = gateway.operator.get("/tools/exp__list_orders")["full"]
    gateway.operator.post("/tools/exp__list_orders/approve", {"full": full})
    rule = {"id": "exp", "title": "T", "effect": "allow", "match": {"unless": {"role": ["admin"]}}}
    gateway.operator.post("/rules", rule)
    exported = gateway.operator.get("/governance/export")
    [upstream] = [one for one in exported["upstreams"] if one["name"] == "exp"]
    assert upstream["auth"] == {"mode": "shared", "secret": {"env": "EXP_SECRET"}}
    assert "timeout_s" not in upstream
    assert {"upstream": "exp", "tool": "list_orders", "full": full} in exported["tools"]
    secrets = {"EXP_SECRET": "s3cret"}
    assert apply(gateway, exported, secrets=secrets)["changes"] == []
    other = apply(gateway, exported, secrets={"EXP_SECRET": "another"})
    assert changed(other) == [("change", "upstream", "exp")]
    with refused("validation", "EXP_SECRET"):
        apply(gateway, exported)


def test_pruning_removes_what_is_not_named_in_the_sections_that_are_there(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("kept", shop.url)
    gateway.operator.post("/agents", {"name": "pruned-bot"})
    done = apply(gateway, {"agents": []}, prune=True)
    assert ("remove", "agent", "pruned-bot") in changed(done)
    assert gateway.operator.get("/upstreams/kept")["name"] == "kept"
    before = {one["name"] for one in gateway.operator.pages("/upstreams")}
    done = apply(gateway, {"upstreams": [], "rules": []}, prune=True)
    assert {name for action, kind, name in changed(done) if (action, kind) == ("remove", "upstream")} == before


def test_a_deactivated_person_is_not_let_in_by_a_file(gateway: Running) -> None:
    gateway.operator.post("/people", {"email": "left@acme.test"})
    gateway.operator.post("/people/left@acme.test/deactivate")
    result = apply(gateway, {"people": [{"email": "left@acme.test"}]})
    assert result["changes"] == []
    assert "callgate people reactivate left@acme.test" in result["missing"][0]["reason"]


def test_a_program_in_a_file_needs_the_operator_unless_it_is_there_already(gateway: Running) -> None:
    admin, _ = gateway.person("files@acme.test", "admin")
    value = {"upstreams": [{"name": "prog", "stdio": {"command": "/bin/false"}, "enabled": False}]}
    with refused("operator_only"):
        admin.post("/governance/apply", {"document": value})
    apply(gateway, value)
    assert admin.post("/governance/apply", {"document": value})["changes"] == []
    value["upstreams"][0]["stdio"] = {"command": "/bin/true"}
    with refused("operator_only"):
        admin.post("/governance/apply", {"document": value})


@pytest.mark.parametrize(
    ("value", "saying"),
    [
        ({"agents": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({"tools": [{"upstream": "nobody", "tool": "*"}]}, "no upstream `nobody`"),
        ({"upstreams": [{"name": "x"}]}, "either"),
        ({"rules": [{"id": "x", "title": "x", "effect": "deny", "match": {"unless": {}}}]}, "swallow"),
        ({"peple": []}, "Did you mean `people`?"),
    ],
)
def test_a_wrong_document_changes_nothing(gateway: Running, value: dict[str, Any], saying: str) -> None:
    value = {"people": [{"email": "never@acme.test"}], **value}
    with refused("validation", saying):
        apply(gateway, value)
    with refused("not_found"):
        gateway.operator.get("/people/never@acme.test")


def test_who_answers_for_an_agent_stands_in_the_file(gateway: Running) -> None:
    value = {"people": [{"email": "keeper@acme.test"}], "agents": [{"name": "kept-bot", "owner": "keeper@acme.test"}]}
    assert ("add", "agent", "kept-bot") in changed(apply(gateway, value))
    assert gateway.operator.get("/agents/kept-bot")["owner"] == "keeper@acme.test"
    assert apply(gateway, value)["changes"] == []
    text = gateway.operator.get("/governance/export")
    assert {"name": "kept-bot", "owner": "keeper@acme.test"} in text["agents"]
    gone = {"agents": [{"name": "kept-bot"}]}
    assert changed(apply(gateway, gone)) == [("change", "agent", "kept-bot")]
    with refused("validation", "no active person nobody@acme.test"):
        apply(gateway, {"agents": [{"name": "kept-bot", "owner": "nobody@acme.test"}]})
