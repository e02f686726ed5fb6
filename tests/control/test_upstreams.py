"""Upstreams through the API: checked before they are saved, looked at, and sent back to review when they change."""

from pathlib import Path

import pytest

from tests.support.refusals import refused
from tests.support.running import Running
from tests.support.shop import Shop

METADATA = ("http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://metadata.google.internal/x")


def test_an_upstream_is_added_and_looked_at(gateway: Running, shop: Shop) -> None:
    seen = gateway.add_upstream("shop", shop.url)
    assert (seen["state"], seen["era"], seen["server_name"]) == ("ok", "modern", "callgate-demo")
    assert seen["tools"] == {
        "pending_review": 5,
        "trusted": 0,
        "drift_detected": 0,
        "blocked": 0,
        "removed": 0,
    }
    shown = gateway.operator.get("/upstreams/shop")
    assert shown["instructions"].startswith("A small shop.")
    assert "shop" in {one["name"] for one in gateway.operator.pages("/upstreams")}
    with refused("conflict", "shop"):
        gateway.operator.post("/upstreams", {"name": "shop", "url": "https://mcp.example/mcp"})


@pytest.mark.parametrize("url", METADATA)
def test_a_metadata_address_stays_shut_even_for_the_operator(gateway: Running, url: str) -> None:
    with refused("unsafe_target", "no setting opens it"):
        gateway.operator.post("/upstreams", {"name": "meta", "url": url, "allow_private": True})
    with refused("not_found"):
        gateway.operator.get("/upstreams/meta")


def test_a_private_address_needs_the_operator(gateway: Running, shop: Shop) -> None:
    admin, _ = gateway.person("ana@acme.test", "admin")
    with refused("unsafe_target", "allow_private"):
        gateway.operator.post("/upstreams", {"name": "private", "url": "http://10.0.0.7/mcp"})
    with refused("operator_only", "private addresses"):
        admin.post("/upstreams", {"name": "private", "url": shop.url, "allow_private": True})
    gateway.add_upstream("private", shop.url)
    with refused("unsafe_target"):
        admin.patch("/upstreams/private", {"url": "http://169.254.169.254/"})
    assert admin.patch("/upstreams/private", {"timeout_s": 20})["timeout_s"] == 20


def test_a_program_needs_the_operator(gateway: Running) -> None:
    admin, _ = gateway.person("ana@acme.test", "admin")
    with refused("operator_only", "runs a program"):
        admin.post("/upstreams", {"name": "prog", "stdio": {"command": "/bin/true"}})


@pytest.mark.parametrize(
    ("url", "code", "saying"),
    [
        ("ftp://x/", "validation", "an http or https URL"),
        ("http://host example/", "validation", "an http or https URL"),
        ("http://user:pw@host.example/", "unsafe_target", "configure a credential"),
        ("http://host.example/#x", "unsafe_target", "fragment"),
        ("http://2130706433/", "unsafe_target", "dotted quad"),
        ("http://h\u00f6st.example/", "unsafe_target", "outside ASCII"),
    ],
)
def test_an_odd_url_is_refused(gateway: Running, url: str, code: str, saying: str) -> None:
    with refused(code, saying):
        gateway.operator.post("/upstreams", {"name": "odd", "url": url})


@pytest.mark.parametrize(
    ("body", "saying"),
    [
        ({}, "either"),
        ({"url": "https://a.example/", "stdio": {"command": "x"}}, "either"),
        ({"url": "https://a.example/", "auth": {"mode": "shared"}}, "needs a `secret`"),
        ({"url": "https://a.example/", "auth": {"secret": "x"}}, "to be `shared`"),
        ({"stdio": {"command": "x"}, "auth": {"mode": "shared", "secret": "x"}}, "secret_env"),
        ({"stdio": {"command": "x", "env": {"A": "1"}, "secret_env": {"A": "2"}}}, "A stands in"),
        ({"url": "https://a.example/", "auth": {"mode": "by_magic"}}, "$.auth.mode"),
        ({"stdio": {"command": "x", "env": {"1A": "1"}}}, "$.stdio.env"),
    ],
)
def test_a_half_upstream_is_refused(gateway: Running, body: dict[str, object], saying: str) -> None:
    with refused("validation", saying):
        gateway.operator.post("/upstreams", {"name": "half", **body})


def test_another_url_sends_every_tool_back_to_review(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("moves", shop.url)
    tool = gateway.operator.get("/tools/moves__list_orders")
    gateway.operator.post("/tools/moves__list_orders/approve", {"full": tool["full"]})
    before = gateway.operator.get("/upstreams/moves")["identity"]
    assert gateway.operator.patch("/upstreams/moves", {"timeout_s": 30})["tools"]["trusted"] == 1
    changed = gateway.operator.patch("/upstreams/moves", {"url": shop.url + "/"})
    assert changed["tools"]["trusted"] == 0
    assert gateway.operator.get("/upstreams/moves")["identity"] != before
    assert gateway.operator.get("/tools/moves__list_orders")["status"] == "pending_review"


def test_a_program_stays_a_program_and_a_url_a_url(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("kind", shop.url)
    with refused("validation", "add another one"):
        gateway.operator.patch("/upstreams/kind", {"stdio": {"command": "x"}})


def test_a_secret_is_sent_and_never_shown(gateway: Running, shop: Shop) -> None:
    secret = "canary-4711-secret"
    auth = {"mode": "shared", "secret": secret, "header": "X-Api-Key", "scheme": ""}
    gateway.add_upstream("secret", shop.url, auth=auth)
    shown = gateway.operator.get("/upstreams/secret")
    assert shown["auth"]["has_secret"] is True
    known = [shown["auth"][name] for name in ("mode", "header", "scheme", "kind")]
    assert known == ["shared", "X-Api-Key", "", "secret"]
    assert secret not in str(shown)
    gateway.operator.patch("/upstreams/secret", {"auth": {"mode": "shared"}})
    gateway.operator.post("/upstreams/secret/refresh")
    assert shop.seen_authorization[-1] == f"Bearer {secret}"
    for path in gateway.settings.data_dir.rglob("*"):
        if path.is_file():
            assert secret.encode() not in Path(path).read_bytes()
    gateway.operator.patch("/upstreams/secret", {"auth": {"mode": "none"}})
    assert gateway.operator.get("/upstreams/secret")["auth"]["has_secret"] is False


def test_a_broken_upstream_says_why_and_keeps_its_tools(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("breaks", shop.url)
    shop.away = True
    seen = gateway.operator.post("/upstreams/breaks/refresh")
    assert seen["state"] == "broken"
    assert seen["reason"]
    assert seen["tools"]["pending_review"] == 5


def test_a_removed_upstream_takes_its_tools_along(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("goes", shop.url)
    gateway.operator.delete("/upstreams/goes")
    for path in ("/upstreams/goes", "/tools/goes__list_orders"):
        with refused("not_found"):
            gateway.operator.get(path)
    with refused("not_found"):
        gateway.operator.post("/upstreams/goes/refresh")


def test_a_switched_off_upstream_is_shown_as_such(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("off", shop.url)
    assert gateway.operator.patch("/upstreams/off", {"enabled": False})["state"] == "disabled"
