"""Calls on behalf of people: an upstream behind a real OpenID provider, two people, one gateway."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.openid import Guarded, Provider, open_guarded, open_provider
from tests.support.robot import Page, Robot
from tests.support.running import Running, on_each
from tests.support.signing_in import account, ask

ACCOUNTS = {
    "vendor-ana": {"email": "ana@acme.test", "email_verified": True},
    "vendor-ben": {"email": "ben@acme.test", "email_verified": True},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with open_provider(ACCOUNTS) as found:
        yield found


@pytest.fixture(scope="module")
def shop(provider: Provider) -> Iterator[Guarded]:
    with open_guarded(provider) as found:
        yield found


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shop: Guarded) -> Iterator[Running]:
    with on_each(request, tmp_path_factory) as found:
        found.add_upstream("shop", shop.url, auth={"mode": "on_behalf_of"})
        yield found


def connect(robot: Robot, provider: Provider, login: str, upstream: str = "shop") -> Page:
    """Everything that a person does to connect an account."""
    page = robot.get(f"/connections/{upstream}")
    assert "Connect your account" in page.words, page.words
    return provider.sign_in(robot, robot.submit(page), login)


def approve(run: Running) -> None:
    run.operator.post("/upstreams/shop/refresh")
    for tool in run.operator.get("/tools")["items"]:
        if tool["status"] != "trusted":
            run.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})


def call(run: Running, token: str) -> Page:
    return ask(run.url, token, "tools/call", {"name": "shop__list_orders", "arguments": {}})


def test_two_people_call_as_themselves(run: Running, provider: Provider, shop: Guarded) -> None:
    ana, ben = account(run, "ana@acme.test"), account(run, "ben@acme.test")
    page = ana.get("/connections")
    assert "not connected" in page.words
    page = ana.get("/connections/shop")
    assert provider.issuer.removeprefix("http://") in page.words, "it says where one will sign in"
    assert "is connected" in connect(ana, provider, "vendor-ana").words
    approve(run)
    token = run.operator.post("/tokens", {"person": "ana@acme.test"})["token"]
    other = run.operator.post("/tokens", {"person": "ben@acme.test"})["token"]
    assert "for vendor-ana" in call(run, token).text
    lacking = call(run, other)
    assert lacking.json["result"]["isError"] is True
    assert f"{run.url}/connections/shop" in lacking.text
    assert lacking.json["result"]["_meta"]["callgate/decision"]["code"] == "connection_required"
    assert "is connected" in connect(ben, provider, "vendor-ben").words
    assert "for vendor-ben" in call(run, other).text
    seen: dict[str, list[str]] = {"vendor-ana": [], "vendor-ben": []}

    def many(token: str, who: str) -> None:
        for _ in range(25):
            seen[who].append(call(run, token).json["result"]["content"][0]["text"])

    threads = [
        threading.Thread(target=many, args=args)
        for args in ((token, "vendor-ana"), (other, "vendor-ben"))
        for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {who: set(texts) for who, texts in seen.items()} == {who: {f"for {who}"} for who in seen}
    listed = run.operator.get("/connections", person="ana@acme.test")["items"]
    assert [(one["upstream"], one["state"]) for one in listed] == [("shop", "connected")]
    assert run.operator.post("/connections/shop/test", person="ana@acme.test") == {"upstream": "shop", "ok": True}


def test_what_is_disconnected_is_used_no_more_and_revoked(run: Running, provider: Provider, shop: Guarded) -> None:
    cyd = account(run, "cyd@acme.test")
    connect(cyd, provider, "vendor-ana")
    token = run.operator.post("/tokens", {"person": "cyd@acme.test"})["token"]
    assert "for vendor-ana" in call(run, token).text
    page = cyd.get("/connections/shop")
    cyd.submit(page, 1)
    assert "connection_required" in call(run, token).text


def test_a_flow_is_finished_only_where_it_was_begun(run: Running, provider: Provider) -> None:
    """The attacker begins to connect, and has the victim open the rest: nothing is made of it for either."""
    attacker, victim = account(run, "eve@acme.test"), account(run, "vic@acme.test")
    page = attacker.submit(attacker.get("/connections/shop"), follow=False)
    vendor = victim.get(page.location)
    done = provider.sign_in(victim, vendor, "vendor-ben")
    assert done.status == 409
    assert "not begun in this browser" in done.words
    for email in ("eve@acme.test", "vic@acme.test"):
        assert run.operator.get("/connections", person=email)["items"][0]["state"] == "not_connected"


def test_the_answer_of_another_issuer_makes_no_grant(run: Running, provider: Provider) -> None:
    robot = account(run, "mix@acme.test")
    page = robot.submit(robot.get("/connections/shop"), follow=False)
    state = page.query["state"]
    back = page.query["redirect_uri"]
    done = robot.get(f"{back}?state={state}&code=x&iss=https://evil.test")
    assert done.status == 409
    assert "another authorization server" in done.words
    again = robot.get(f"{back}?state={state}&code=x&iss={provider.issuer}")
    assert "not begun in this browser" in again.words, "a state is good once"


def test_nothing_is_begun_by_looking(run: Running) -> None:
    robot = account(run, "look@acme.test")
    before = robot.seen.copy()
    assert robot.get("/connections/shop").status == 200
    assert len(robot.seen) == len(before) + 1
    assert robot.post("/connections/shop", {}, follow=False).status == 403
    assert Robot(run.url).get("/connections/shop", follow=False).location.startswith(f"{run.url}/signin")


def test_a_token_that_the_upstream_refuses_early_is_replaced_within_the_call(
    run: Running, provider: Provider, shop: Guarded
) -> None:
    dan = account(run, "dan@acme.test")
    connect(dan, provider, "vendor-ben")
    token = run.operator.post("/tokens", {"person": "dan@acme.test"})["token"]
    assert "for vendor-ben" in call(run, token).text
    refused, calls = shop.refused, len(shop.subjects)
    shop.distrust()
    for _ in range(3):
        assert "for vendor-ben" in call(run, token).text
    assert (shop.refused, len(shop.subjects)) == (refused + 1, calls + 3)
