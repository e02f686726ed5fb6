"""Agent profiles and rules: added, changed, removed, and checked before they are saved."""

import pytest

from tests.peers.raw_client import RawClient
from tests.support.refusals import refused
from tests.support.running import Running
from tests.support.shop import Shop


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
    assert made == {
        **body,
        "when": "",
        "message": "",
        "description": "",
        "owner": "",
        "redact": None,
        "mode": "enforce",
    }
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
        ({"effect": "forbid"}, "$.effect"),
        ({"title": "   "}, "$.title"),
        ({"id": "Bad"}, "$.id"),
        ({"match": {"tools": ["x"]}}, "Did you mean `tool`?"),
        ({"match": {"unless": {"unless": {}}}}, "$.match.unless"),
        ({"match": {"unless": {}}}, "swallow"),
        ({"match": {"tool": [""]}}, "$.match.tool"),
        ({"message": "line\nbreak"}, "$.message"),
        ({"when": "person.emial == 'x'"}, "line 1, column 7"),
        ({"when": "args.force"}, "true or false"),
        ({"when": 7}, "$.when"),
        ({"owner": "x" * 201}, "$.owner"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_place(gateway: Running, wrong: dict[str, object], place: str) -> None:
    body = {"id": "wrong", "title": "T", "effect": "deny", "match": {}} | wrong
    with refused("validation", place):
        gateway.operator.post("/rules", body)


def test_a_condition_decides_through_the_gateway(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("cond", shop.url)
    for tool in gateway.operator.pages("/tools", upstream="cond"):
        gateway.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
    _, token = gateway.person("cond@acme.test", "member")
    rule = {
        "id": "not-1004", "title": "Nobody looks at this order", "effect": "deny", "owner": "sales",
        "match": {"upstream": ["cond"]}, "when": "has(args.order_id) && args.order_id == '1004'", "description": "Why.",
    }  # fmt: skip
    made = gateway.operator.post("/rules", rule)
    assert (made["when"], made["owner"], made["description"]) == (rule["when"], "sales", "Why.")
    with RawClient(f"{gateway.url}/mcp", token) as client:
        assert "cond__read_order" in {tool["name"] for tool in client.tools()}

        def code(**arguments: object) -> str:
            decision = client.call("cond__read_order", **arguments).get("_meta", {}).get("callgate/decision")
            return decision["code"] if decision else "called"

        assert (code(order_id="1001"), code(order_id="1004"), code()) == ("called", "denied_by_rule", "called")
        calls = shop.calls
        gateway.operator.put("/rules/not-1004", {"title": "Odd", "effect": "deny", "when": "args.nothing == 1"})
        assert code(order_id="1001") == "rule_failed"
        gateway.operator.put("/rules/not-1004", {"title": "Nobody", "effect": "deny", "when": "agent.name == ''"})
        assert client.tools() == []
        assert code(order_id="1001") == "denied_by_rule"
        assert shop.calls == calls
    gateway.operator.delete("/rules/not-1004")
    assert "rule_failed" in {one.get("code") for one in gateway.operator.pages("/audit/events")}


def test_a_rule_redacts_through_the_gateway(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("hidden", shop.url)
    for tool in gateway.operator.pages("/tools", upstream="hidden"):
        gateway.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
    _, token = gateway.person("hidden@acme.test", "member")
    rule = {
        "id": "no-customers", "title": "No customers", "effect": "redact", "match": {"upstream": ["hidden"]},
        "redact": {"phase": "result", "members": ["customer"]},
    }  # fmt: skip
    made = gateway.operator.post("/rules", rule)
    assert made["redact"] == {"phase": "result", "members": ["customer"], "action": "mask"}
    with RawClient(f"{gateway.url}/mcp", token) as client:
        orders = client.call("hidden__list_orders")["structuredContent"]["orders"]
        assert orders
        assert {order["customer"] for order in orders} == {"[REDACTED:named_member]"}
    with refused("validation", "did you mean `email`"):
        body = {"title": "No", "effect": "redact", "redact": {"detectors": ["emial"]}}
        gateway.operator.put("/rules/no-customers", body)
    gateway.operator.delete("/rules/no-customers")


def test_an_explanation_names_the_rule_and_what_is_missing(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("why", shop.url)
    gateway.person("why@acme.test", "member")
    rules = [
        {"id": "why-hit", "title": "Hit", "effect": "deny", "match": {"upstream": ["why"]}, "when": "args.n == 1"},
        {"id": "why-near", "title": "Near", "effect": "deny", "match": {"upstream": ["why"], "team": ["sre"]}},
    ]
    for rule in rules:
        gateway.operator.post("/rules", rule)
    ask = {"person": "why@acme.test", "tool": "why__read_order"}
    found = gateway.operator.post("/policies/explain", {**ask, "arguments": {"n": 1}})
    assert (found["decision"], found["rule"], found["callable"]) == ("deny", "why-hit", False)
    by = {one["rule"]: one for one in found["rules"]}
    assert (by["why-hit"]["outcome"], by["why-near"]["missed"], by["why-near"]["almost"]) == ("matched", ["team"], True)
    assert gateway.operator.post("/policies/explain", ask)["decision"] == "allow"
    assert gateway.operator.post("/policies/explain", {**ask, "arguments": {}})["decision"] == "deny"
    for wrong in ({"person": "nobody@acme.test"}, {"tool": "why__nothing"}):
        with refused("not_found"):
            gateway.operator.post("/policies/explain", {**ask, **wrong})
    for rule in rules:
        gateway.operator.delete(f"/rules/{rule['id']}")


def test_lint_knows_what_exists(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("lint", shop.url)
    rule = {"id": "lint-odd", "title": "Odd", "effect": "deny", "match": {"upstream": ["lint"], "tool": ["nothing"]}}
    gateway.operator.post("/rules", rule)
    odd = [one for one in gateway.operator.get("/policies/lint")["oddities"] if one["rule"] == "lint-odd"]
    assert [one["kind"] for one in odd] == ["matches_nothing"]
    gateway.operator.put(
        "/rules/lint-odd",
        {"title": "Odd", "effect": "deny", "match": {"upstream": ["lint"]}, "when": "args.order_id == 'x'"},
    )
    odd = [one for one in gateway.operator.get("/policies/lint")["oddities"] if one["rule"] == "lint-odd"]
    assert [one["kind"] for one in odd] == ["may_fail"]
    assert "lint__list_orders" in odd[0]["sentence"]
    gateway.operator.delete("/rules/lint-odd")


def test_lint_names_shared_accounts_on_tools_that_write(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("acts", shop.url, auth={"mode": "shared", "secret": "x"})
    odd = [one for one in gateway.operator.get("/policies/lint")["oddities"] if one["kind"] == "shared_account"]
    assert [one["rule"] for one in odd] == ["acts"]
    assert "refund_order" in odd[0]["sentence"]
    assert "list_orders" not in odd[0]["sentence"], "it only reads"
    gateway.operator.patch("/upstreams/acts", {"auth": {"mode": "shared", "secret": "x", "writes": "on_behalf_of"}})
    left = [one for one in gateway.operator.get("/policies/lint")["oddities"] if one["kind"] == "shared_account"]
    assert not left
    gateway.operator.delete("/upstreams/acts")
