"""The confused deputy: everybody at the gateway is the same, static client at the vendor, which asks nobody twice.

An attacker who has a client of their own at the gateway tries to get a code or token of somebody who allowed the
gateway at that vendor before (MCP security best practices, "Confused Deputy Problem")."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.openid import Guarded, Provider, open_guarded, open_provider
from tests.support.robot import Page, Robot
from tests.support.running import Running, running
from tests.support.signing_in import Client, account, ask

EVIL = "https://evil.example/collect"
ACCOUNTS: dict[str, dict[str, Any]] = {"vendor-ana": {}, "vendor-mal": {}}


class Lab:
    def __init__(self, run: Running, provider: Provider, shop: Guarded) -> None:
        self.run = run
        self.provider = provider
        self.shop = shop
        self.ana, self.mal = account(run, "ana@acme.test"), account(run, "mal@acme.test")

    def begin(self, robot: Robot) -> str:
        """Where the vendor's sign-in begins for somebody: the address with their state."""
        return robot.submit(robot.get("/connections/shop"), follow=False).location

    def back(self, robot: Robot, start: str, login: str) -> str:
        """Where the vendor would send the browser back to, with the code."""
        page = robot.get(start, follow=False)
        while True:
            if "<form" in page.text:
                page = robot.submit(page, login=login, follow=False)
            elif page.location.startswith(f"{self.run.url}/connections/callback/"):
                return page.location
            else:
                page = robot.get(page.location, follow=False)

    def who(self, email: str) -> str:
        token = self.run.operator.post("/tokens", {"person": email})["token"]
        page = ask(self.run.url, token, "tools/call", {"name": "shop__list_orders", "arguments": {}})
        text: str = page.json["result"]["content"][0]["text"]
        return text


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with (
        running(tmp_path_factory.mktemp("deputy"), client_documents="off") as run,
        open_provider(ACCOUNTS) as provider,
        open_guarded(provider) as shop,
    ):
        run.add_upstream("shop", shop.url, auth={"mode": "on_behalf_of"})
        upstream = run.operator.get("/upstreams/shop")["id"]
        body = {"redirect_uris": [f"{run.url}/connections/callback/{upstream}"], "client_name": "the gateway"}
        page = Robot(provider.issuer).request(
            "POST", f"{provider.issuer}/reg", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        assert page.status == 201, page.text
        static = {"client_id": page.json["client_id"], "secret": page.json["client_secret"]}
        run.operator.patch("/upstreams/shop", {"auth": {"mode": "on_behalf_of", **static}})
        found = Lab(run, provider, shop)
        for robot, login in ((found.ana, "vendor-ana"), (found.mal, "vendor-mal")):
            assert "is connected" in robot.get(found.back(robot, found.begin(robot), login)).words
        run.operator.post("/upstreams/shop/refresh")
        for tool in run.operator.get("/tools")["items"]:
            run.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found


def test_the_static_client_is_used_and_asks_nobody_twice(lab: Lab) -> None:
    """What makes the attack possible at all: from now on the vendor gives a code without a page."""
    start = lab.begin(lab.ana)
    page = lab.ana.get(start, follow=False)
    hops = 0
    while not page.location.startswith(lab.run.url):
        assert "<form" not in page.text
        page = lab.ana.get(page.location, follow=False)
        hops += 1
    assert hops < 6
    assert "code=" in page.location


def test_the_attackers_client_gets_a_page_of_ours_and_nothing_else(lab: Lab) -> None:
    """Ana follows the attacker's link: their client, their redirect. She is asked here first, whatever the vendor
    remembers, and sees where it would go; nothing was given to anybody until she answers."""
    attacker = Client(lab.run.url, EVIL)
    attacker.register()
    before = lab.shop.calls
    page = lab.ana.get(attacker.authorize_url(), follow=False)
    assert page.status == 200
    assert "evil.example" in page.words
    assert "Location" not in page.headers
    frames = page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in frames
    denied = lab.ana.submit(page, answer="deny", follow=False)
    assert "code" not in parse_qs(urlsplit(denied.location).query)
    assert lab.shop.calls == before


def test_the_attackers_flow_does_not_end_in_her_browser(lab: Lab) -> None:
    """They begin a connection and have her browser finish it: it would be her account in their hands."""
    theirs = lab.begin(lab.mal)
    caught = lab.back(lab.ana, theirs, "vendor-ana")
    page = lab.ana.get(caught)
    assert page.status >= 400
    assert "not begun in this browser" in page.words
    assert lab.mal.get(caught).status >= 400, "and it is used up"
    assert lab.who("mal@acme.test") == "for vendor-mal"
    assert lab.who("ana@acme.test") == "for vendor-ana"


def test_her_code_in_their_flow_is_good_for_nothing(lab: Lab) -> None:
    """A code of hers that leaked, put into a flow that they began (code injection)."""
    hers = parse_qs(urlsplit(lab.back(lab.ana, lab.begin(lab.ana), "vendor-ana")).query)
    theirs = lab.back(lab.mal, lab.begin(lab.mal), "vendor-mal")
    own = parse_qs(urlsplit(theirs).query)
    page: Page = lab.mal.get(theirs.replace(own["code"][0], hers["code"][0]))
    assert page.status >= 400
    assert "gave no token" in page.words, "the verifier is another one"
    assert lab.who("mal@acme.test") == "for vendor-mal"


def test_a_token_of_the_gateway_is_none_of_the_vendors(lab: Lab) -> None:
    """What a client holds here opens nothing there, and what the vendor gave opens nothing here."""
    tokens = Client(lab.run.url).login(lab.ana)
    assert lab.shop.subject(f"Bearer {tokens['access_token']}") is None
    seen = [one for one in lab.shop.seen_authorization if one and lab.shop.subject(one)]
    assert seen
    assert ask(lab.run.url, seen[-1].removeprefix("Bearer ")).status == 401
    assert all(tokens["access_token"] not in (one or "") for one in lab.shop.seen_authorization)
