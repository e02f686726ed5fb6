"""Parked calls in the control API and the command line, and what reviewers are told of them."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callgate.cli.client import Client
from tests.peers.raw_client import RawClient
from tests.support.ears import Hook, Post, listening
from tests.support.postgres import OWNER, Cluster
from tests.support.refusals import refused
from tests.support.running import Running, running
from tests.support.shop import Shop, open_shop

CANARY = "canary-4711-argument"


@dataclass
class Lab:
    gateway: Running
    shop: Shop
    hook: Hook
    post: Post
    reviewer: Client
    caller: Client
    token: str

    def call(self, **arguments: Any) -> Any:
        with RawClient(f"{self.gateway.url}/mcp", self.token) as client:
            return client.ask("tools/call", {"name": "shop__refund_order", "arguments": arguments})

    @contextmanager
    def parked(self, **arguments: Any) -> Iterator[tuple[str, Future[Any]]]:
        """A call that waits: its approval, and its result to be."""
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.call, **arguments)
            wait_for(self.pending)
            yield self.pending()[0]["id"], waiting

    def pending(self) -> list[dict[str, Any]]:
        return list(self.reviewer.pages("/approvals", state="pending"))


def wait_for(holds: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)


def answered(result: Any) -> bool:
    """Whether it is the shop's own answer."""
    return "callgate/decision" not in result["_meta"]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    place: Path = tmp_path_factory.mktemp("approvals")
    for name, text in (("key", "signing-key"), ("slack", "set below")):
        (place / name).touch(0o600)
        (place / name).write_text(text)
    hook, post = Hook(), Post()
    (place / "slack").write_text(f"{hook.url}/slack")
    settings: dict[str, Any] = {
        "approval_webhook_url": f"{hook.url}/hook", "approval_webhook_key_file": place / "key",
        "approval_slack_url_file": place / "slack", "approval_mail_url": post.url,
        "approval_mail_from": "callgate@acme.test", "public_url": "https://mcp.acme.test", "hold_seconds": 30,
        "allowed_hosts": ("127.0.0.1",),
    }  # fmt: skip
    if request.param == "postgresql":
        pg_cluster.sql(f"CREATE DATABASE control_approvals OWNER {OWNER}")
        settings["database_url"] = pg_cluster.url("control_approvals")
    with listening(hook, post), open_shop() as shop, running(place / "data", **settings) as gateway:
        gateway.add_upstream("shop", shop.url)
        full = gateway.operator.get("/tools/shop__refund_order")["full"]
        gateway.operator.post("/tools/shop__refund_order/approve", {"full": full})
        caller, token = gateway.person("ana@acme.test", "admin")
        reviewer, _ = gateway.person("rev@acme.test", "reviewer")
        gateway.operator.post(
            "/rules",
            {"id": "refunds", "title": "Refunds are looked at", "effect": "require_approval",
             "match": {"tool": ["refund_*"]}, "approval": {"escalate_s": 1, "escalate_to": ["leads"]}},
        )  # fmt: skip
        yield Lab(gateway, shop, hook, post, reviewer, caller, token)


def test_reviewers_are_told_everywhere_without_an_argument(lab: Lab) -> None:
    lab.hook.failures = 1  # what fails is tried again
    with lab.parked(order_id=CANARY) as (approval, waiting):
        wait_for(lambda: {path for path, *_ in lab.hook.heard} == {"/hook", "/slack"} and len(lab.post.mails) >= 1)
        wait_for(lambda: len([1 for path, *_ in lab.hook.heard if path == "/hook"]) >= 1)
        lab.reviewer.post(f"/approvals/{approval}/approve", {"reason": "ok"})
        assert answered(waiting.result(30))
    _, headers, body, raw = next(one for one in lab.hook.heard if one[0] == "/hook")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    expected = base64.b64encode(hmac.digest(b"signing-key", signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (body["type"], body["approval"], body["person"]) == ("approval.requested", approval, "ana@acme.test")
    assert body["link"] == f"https://mcp.acme.test/api/v1/approvals/{approval}"
    receivers, _ = lab.post.mails[0]
    assert set(receivers) >= {"rev@acme.test"}
    assert "ana@acme.test" not in receivers
    told = [raw.decode() for *_, raw in lab.hook.heard] + [text for _, text in lab.post.mails]
    assert not any(CANARY in one for one in told)


def test_what_waits_long_is_escalated(lab: Lab) -> None:
    lead, _ = lab.gateway.person("lead@acme.test", "member")
    lab.gateway.operator.patch("/people/lead@acme.test", {"teams": ["leads"]})
    with lab.parked(order_id="A-2") as (approval, waiting):
        wait_for(lambda: lab.reviewer.get(f"/approvals/{approval}")["escalated"])
        wait_for(lambda: any(body.get("type") == "approval.escalated" for _, _, body, _ in lab.hook.heard))
        assert json.loads(lead.get(f"/approvals/{approval}")["arguments"]) == {"order_id": "A-2"}
        lead.post(f"/approvals/{approval}/deny", {"reason": "no"})
        assert "no" in waiting.result(30)["content"][0]["text"]


def test_answers_are_for_those_who_may_and_on_record(lab: Lab) -> None:
    before = lab.shop.calls
    auditor, _ = lab.gateway.person("aud@acme.test", "auditor")
    member, _ = lab.gateway.person("mem@acme.test", "member")
    with lab.parked(order_id="A-3") as (approval, waiting):
        for client in (lab.caller, auditor):
            seen = client.get(f"/approvals/{approval}")
            assert (seen["may_answer"], seen["arguments"]) == (False, None)
            with refused("forbidden"):
                client.post(f"/approvals/{approval}/approve", {"reason": "mine"})
        with refused("not_found"):
            member.post(f"/approvals/{approval}/approve", {"reason": "x"})
        with refused("validation"):
            lab.reviewer.post(f"/approvals/{approval}/approve", {"reason": " "})
        lab.reviewer.post(f"/approvals/{approval}/approve", {"reason": "seen", "reuse_for": "10m"})
        assert answered(waiting.result(30))
    assert answered(lab.call(order_id="A-3"))  # the same call, within the time
    assert lab.shop.calls == before + 2
    with refused("conflict"):
        lab.reviewer.post(f"/approvals/{approval}/deny", {"reason": "too late"})
    events = list(lab.gateway.operator.pages("/audit/events"))
    change = next(one for one in events if one["action"] == "approvals.approve" and one["subject"] == approval)
    assert (change["actor"], change["before"], change["after"]) == ("rev@acme.test", "pending", "approved")
    calls = [one for one in events if one["approval"] == approval]
    assert [one["decision"] for one in calls] == ["require_approval"] * 2
    assert all(one["args_hash"] for one in calls)


def test_odd_arguments_are_shown_as_they_are(lab: Lab) -> None:
    odd = "\u202eevil\u0007"
    with lab.parked(order_id=odd) as (approval, waiting):
        shown = lab.reviewer.get(f"/approvals/{approval}")["arguments"]
        assert json.loads(shown) == {"order_id": odd}
        assert shown.isascii()
        lab.reviewer.post(f"/approvals/{approval}/deny", {"reason": "odd"})
        waiting.result(30)


def test_a_tool_that_drifts_while_its_call_waits_is_not_called(lab: Lab) -> None:
    """Last: the tool stays as it drifted."""
    before = lab.shop.calls
    with lab.parked(order_id="A-9") as (approval, waiting):
        refund = next(tool for tool in lab.shop.tools if tool["name"] == "refund_order")
        refund["description"] = "Refunds an order, and a little more."
        lab.gateway.operator.post("/upstreams/shop/refresh")
        result = waiting.result(30)
    assert result["_meta"]["callgate/decision"]["code"] == "tool_not_trusted"
    assert lab.reviewer.get(f"/approvals/{approval}")["state"] == "void"
    with refused("conflict"):
        lab.reviewer.post(f"/approvals/{approval}/approve", {"reason": "too late"})
    assert lab.shop.calls == before
