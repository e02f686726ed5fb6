"""Versions of the rules: drafts, stored tests, conflicts, publishing, rolling back, and trials of all of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callgate.errors import Refused
from tests.peers.raw_client import RawClient
from tests.support.postgres import OWNER, Cluster
from tests.support.refusals import refused
from tests.support.running import Running, running
from tests.support.shop import open_shop

READ, REFUND = "shop__read_order", "shop__refund_order"


@dataclass
class Lab:
    gateway: Running
    token: str

    def call(self, tool: str, **arguments: Any) -> str:
        """`done`, or the code of the refusal."""
        with RawClient(f"{self.gateway.url}/mcp", self.token) as client:
            result = client.ask("tools/call", {"name": tool, "arguments": arguments})
        code: str = result["_meta"].get("callgate/decision", {}).get("code", "done")
        return code

    def draft(self, name: str, **content: Any) -> Any:
        return self.gateway.operator.put(f"/policies/drafts/{name}", content)

    def publish(self, name: str) -> Any:
        return self.gateway.operator.post(f"/policies/drafts/{name}/publish", {"note": f"publish {name}"})

    def versions(self) -> list[dict[str, Any]]:
        return list(self.gateway.operator.pages("/policies/versions"))

    def listed(self) -> set[str]:
        with RawClient(f"{self.gateway.url}/mcp", self.token) as client:
            return {tool["name"] for tool in client.tools()}


def rule(key: str, tool: str, effect: str = "deny", **more: Any) -> dict[str, Any]:
    return {"id": key, "title": f"Rule {key}", "effect": effect, "match": {"tool": [tool]}, **more}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    place: Path = tmp_path_factory.mktemp("drafts")
    more: dict[str, Any] = {}
    if request.param == "postgresql":
        pg_cluster.sql(f"CREATE DATABASE control_drafts OWNER {OWNER}")
        more["database_url"] = pg_cluster.url("control_drafts")
    with open_shop() as shop, running(place / "data", **more) as gateway:
        gateway.add_upstream("shop", shop.url)
        for tool in (READ, REFUND):
            full = gateway.operator.get(f"/tools/{tool}")["full"]
            gateway.operator.post(f"/tools/{tool}/approve", {"full": full})
        _, token = gateway.person("ana@acme.test", "member")
        yield Lab(gateway, token)


@pytest.fixture(autouse=True)
def clean(lab: Lab) -> Iterator[None]:
    """Each test begins and ends without rules, tests and drafts."""
    yield
    for one in lab.gateway.operator.get("/policies/drafts"):
        lab.gateway.operator.delete(f"/policies/drafts/{one['name']}")
    lab.draft("empty", rules=[], tests=[], default="allow", rebase=True)
    lab.publish("empty")


def test_a_draft_does_nothing_until_it_is_published_and_can_be_taken_back(lab: Lab) -> None:
    lab.draft("spring", rules=[rule("no-refunds", "refund_*")])
    assert lab.call(REFUND, order_id="A-1001") == "done"
    differences = lab.gateway.operator.get("/policies/drafts/spring/diff")["differences"]
    assert differences == [{"action": "add", "kind": "rule", "id": "no-refunds", "fields": []}]
    published = lab.publish("spring")
    assert published["in_force"]
    assert lab.call(REFUND, order_id="A-1001") == "denied_by_rule"
    with refused("not_found"):
        lab.gateway.operator.get("/policies/drafts/spring")
    events = lab.gateway.operator.get("/audit/events", limit=500)["items"]
    denied = next(one for one in reversed(events) if one["code"] == "denied_by_rule")
    assert denied["ruleset"] == published["version"]
    before = lab.versions()[1]["version"]
    back = lab.gateway.operator.post("/policies/rollback", {"version": before, "note": "it broke refunds"})
    assert (back["back_to"], back["version"]) == (before, published["version"] + 1)
    assert lab.call(REFUND, order_id="A-1001") == "done"
    newest = lab.versions()[0]
    assert (newest["note"], newest["actor"].startswith("operator:")) == ("it broke refunds", True)


def test_every_change_is_a_version(lab: Lab) -> None:
    count = len(lab.versions())
    operator = lab.gateway.operator
    operator.post("/rules", rule("one", "refund_*"))
    operator.put("/rules/one", {"title": "One", "effect": "allow"})
    operator.post("/governance/apply", {"document": {"rules": [rule("a", "x"), rule("b", "y")]}})
    operator.post("/governance/apply", {"document": {"rules": [rule("a", "x"), rule("b", "y")]}})  # changes nothing
    operator.delete("/rules/one")
    found = lab.versions()
    assert len(found) == count + 4
    assert [one["note"] for one in found[:4]] == ["removed one", "governance file", "changed one", "added one"]
    content = operator.get(f"/policies/versions/{found[0]['version']}")
    assert [one["id"] for one in content["rules"]] == ["a", "b"]


def test_of_two_drafts_from_one_version_the_second_is_a_conflict(lab: Lab) -> None:
    for name in ("first", "second"):
        lab.draft(name, rules=[rule(name, "refund_*")])
    lab.publish("first")
    with pytest.raises(Refused, match="in force now") as caught:
        lab.publish("second")
    assert caught.value.code == "conflict"
    assert lab.gateway.operator.get("/policies/drafts/second")["stale"]
    lab.draft("second", rebase=True)
    lab.publish("second")
    assert [one["id"] for one in lab.gateway.operator.get("/rules")["items"]] == ["second"]


def test_two_drafts_that_are_published_at_once_are_one_version(lab: Lab) -> None:
    names = [f"draft{number}" for number in range(4)]
    for name in names:
        lab.draft(name, rules=[rule(name, "refund_*")])
    before = len(lab.versions())
    codes: list[str] = []
    people = [lab.gateway.person(f"{name}@acme.test", "admin")[0] for name in names]

    def publish(number: int) -> bool:
        try:
            people[number].post(f"/policies/drafts/{names[number]}/publish", {"note": "at once"})
        except Refused as refusal:
            codes.append(refusal.code)
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(publish, range(4))) == [False, False, False, True]
    assert codes == ["conflict"] * 3
    assert len(lab.versions()) == before + 1


def test_an_edition_guards_a_draft(lab: Lab) -> None:
    made = lab.draft("shared", rules=[rule("a", "x")])
    lab.draft("shared", rules=[rule("b", "x")], edition=made["edition"])
    with refused("conflict"):
        lab.draft("shared", rules=[rule("c", "x")], edition=made["edition"])


def test_stored_tests_block_a_bad_version_whoever_makes_it(lab: Lab) -> None:
    tests = [
        {"id": "members-read", "tool": READ, "expect": "allow"},
        {"id": "ana-may-not-force", "tool": REFUND, "person": "ana@acme.test", "expect": "deny", "rule": "no-force",
         "arguments": {"order_id": "A-1", "force": True}},
    ]  # fmt: skip
    force = rule("no-force", "refund_*", when="has(args.force) && args.force == true")
    lab.draft("tested", rules=[force], tests=tests)
    assert lab.gateway.operator.post("/policies/test", {"draft": "tested"}) == {"tests": 2, "failures": []}
    lab.publish("tested")
    changes: tuple[Callable[[], Any], ...] = (
        lambda: lab.gateway.operator.delete("/rules/no-force"),
        lambda: lab.gateway.operator.post("/rules", rule("no-reads", "read_*")),
        lambda: lab.gateway.operator.post("/governance/apply", {"document": {"rules": []}, "prune": True}),
    )
    for change in changes:
        with refused("tests_failed"):
            change()
    with pytest.raises(Refused, match="members-read: expected allow, but it is deny by the rule no-reads"):
        lab.gateway.operator.post("/rules", rule("no-reads", "read_*"))
    assert [one["id"] for one in lab.gateway.operator.get("/rules")["items"]] == ["no-force"]
    assert lab.gateway.operator.post("/policies/test", {}) == {"tests": 2, "failures": []}


def test_a_test_about_what_does_not_exist_fails(lab: Lab) -> None:
    tests = [
        {"id": "a", "tool": "shop__gone", "expect": "allow"},
        {"id": "b", "tool": READ, "expect": "allow", "person": "nobody@acme.test"},
    ]
    lab.draft("odd", tests=tests)
    found = lab.gateway.operator.post("/policies/test", {"draft": "odd"})["failures"]
    assert [one["test"] for one in found] == ["a", "b"]


def test_what_no_rule_allows_can_be_denied_by_default(lab: Lab) -> None:
    lab.draft("closed", rules=[rule("reads", "read_*", "allow")], default="deny")
    assert lab.listed() >= {READ, REFUND}
    lab.publish("closed")
    assert (lab.call(READ, order_id="A-1001"), lab.call(REFUND, order_id="A-1001")) == ("done", "denied_by_rule")
    assert lab.listed() == {READ}
    assert lab.gateway.operator.get("/governance/export")["options"] == {"default_effect": "deny"}


def test_shadow_rules_are_recorded_and_do_nothing(lab: Lab) -> None:
    lab.gateway.operator.post("/rules", rule("maybe", "refund_*", mode="shadow"))
    lab.gateway.operator.post("/rules", rule("odd", "read_*", mode="shadow", when="args.missing == 1"))
    assert (lab.call(REFUND, order_id="A-1001"), lab.call(READ, order_id="A-1001")) == ("done", "done")
    assert lab.listed() >= {READ, REFUND}
    events = lab.gateway.operator.get("/audit/events", limit=500)["items"]
    shadows = [one["shadow"] for one in events if one["type"] == "call"][-2:]
    assert shadows == ["deny:maybe", "failed:odd"]


def test_a_simulation_says_what_would_change_and_what_nobody_can_know(lab: Lab) -> None:
    for _ in range(3):
        lab.call(REFUND, order_id="A-1001")
    lab.call(READ, order_id="A-1001")
    rules = [rule("no-refunds", "refund_*"), rule("some-reads", "read_*", when="args.order_id == 'A-1'")]
    lab.draft("strict", rules=rules)
    found = lab.gateway.operator.post("/policies/simulate", {"draft": "strict", "since": "1h"})
    assert found["by_rule"].keys() == {"no-refunds"}
    assert found["changed"] == found["by_rule"]["no-refunds"] == found["by_tool"][REFUND] >= 3
    assert found["by_person"] == {"ana@acme.test": found["changed"]}
    assert found["unknown"] == found["unknown_by_rule"]["some-reads"] >= 1
    assert found["examples"][0]["call"].startswith("cal_")
    assert lab.gateway.operator.post("/policies/simulate", {"since": "1h"})["calls"] == found["calls"]


def test_a_preview_is_what_the_person_finds(lab: Lab) -> None:
    lab.draft("next", rules=[rule("no-refunds", "refund_*"), rule("ask", "read_*", "require_approval")])
    found = lab.gateway.operator.post("/policies/preview", {"person": "ana@acme.test", "draft": "next"})
    seen = {one["tool"]: (one["listed"], one["decision"], one["rule"]) for one in found}
    assert seen[REFUND] == (False, "deny", "no-refunds")
    assert seen[READ] == (True, "require_approval", "ask")
    explained = lab.gateway.operator.post(
        "/policies/explain", {"person": "ana@acme.test", "tool": REFUND, "draft": "next"}
    )
    assert (explained["decision"], explained["rule"]) == ("deny", "no-refunds")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"rules": [rule("a", "x"), rule("a", "y")]}, "stands there twice"),
        ({"rules": [rule("a", "x", when="args.x ==")]}, "line 1"),
        ({"rules": [{**rule("a", "x"), "efect": "deny"}]}, "efect"),
        ({"default": "maybe"}, "must be one of allow, deny"),
        ({"tests": [{"id": "t", "tool": READ, "expect": "perhaps"}]}, "expect"),
        ({"rules": [rule("a", "x", limit={"kind": "cost", "most": 1, "cost": -1})]}, "cost"),
    ],
)
def test_a_bad_draft_is_refused_with_its_place(lab: Lab, content: dict[str, Any], place: str) -> None:
    with pytest.raises(Refused, match=place):
        lab.draft("bad", **content)


def test_a_blocked_call_is_judged_again_with_what_it_brought(lab: Lab) -> None:
    operator = lab.gateway.operator
    force = rule("no-force", "refund_*", when="has(args.force) && args.force == 'canary-force'")
    operator.post("/rules", force)
    assert lab.call(REFUND, order_id="A-1001", force="canary-force") == "denied_by_rule"
    blocked = operator.get("/audit/events", limit=500)["items"][-1]["id"]
    with refused("not_found"):
        operator.post("/policies/retest", {"call": blocked})
    operator.patch("/options", {"keep_arguments_s": 3600})
    assert lab.call(REFUND, order_id="A-1001", force="canary-force") == "denied_by_rule"
    events = [one for one in operator.get("/audit/events", limit=500)["items"] if one["code"] == "denied_by_rule"]
    blocked = events[-1]["id"]
    now = operator.post("/policies/retest", {"call": blocked})
    assert (now["before"], now["before_rule"], now["decision"]) == ("deny", "no-force", "deny")
    lab.draft("softer", rules=[{**force, "when": "has(args.force) && args.force == 'other'"}])
    assert operator.post("/policies/retest", {"call": blocked, "draft": "softer"})["decision"] == "allow"
    assert "canary-force" not in str(now)
    files = [path.read_bytes() for path in lab.gateway.settings.data_dir.rglob("*") if path.is_file()]
    rules = str(operator.get("/rules")).encode()
    assert b"canary-force" in rules  # the rule itself names it; no file but the store of rules does
    assert sum(one.count(b'"force": "canary-force"') + one.count(b'"force":"canary-force"') for one in files) == 0
    operator.patch("/options", {"keep_arguments_s": 0})
    with refused("not_found"):
        operator.post("/policies/retest", {"call": blocked})


def test_nothing_but_its_end_undoes_a_kill_switch(lab: Lab) -> None:
    operator = lab.gateway.operator
    before = lab.versions()[0]["version"]
    lab.draft("older", rules=[rule("other", "x")])
    thrown = operator.post("/kills", {"upstream": "shop", "reason": "It leaks."})["id"]
    assert lab.call(READ, order_id="A-1001") == "denied_by_rule"
    operator.post("/policies/rollback", {"version": before, "note": "back"})
    operator.post("/governance/apply", {"document": {"rules": []}, "prune": True})
    lab.draft("older", rebase=True)
    assert operator.get("/policies/drafts/older/diff")["differences"] == [
        {"action": "add", "kind": "rule", "id": "other", "fields": []}
    ]
    lab.publish("older")
    with refused("validation"):
        operator.delete(f"/rules/{thrown}")
    with refused("validation"):
        operator.put(f"/rules/{thrown}", {"title": "x", "effect": "allow"})
    with refused("validation"):
        operator.post("/rules", rule("kill-me", "x"))
    assert lab.call(READ, order_id="A-1001") == "denied_by_rule"
    assert thrown not in str(operator.get("/governance/export"))
    operator.delete(f"/kills/{thrown}")
    assert lab.call(READ, order_id="A-1001") == "done"
    assert [one["id"] for one in operator.get("/rules")["items"]] == ["other"]


def test_a_number_that_no_version_can_have_is_refused(lab: Lab) -> None:
    for number in (-1, 2**31, 10**36):
        with pytest.raises(Refused) as caught:
            lab.gateway.operator.post("/policies/rollback", {"version": number, "note": "nowhere"})
        assert (caught.value.code, "version" in str(caught.value)) == ("validation", True)
