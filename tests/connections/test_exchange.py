"""Calls as the person without a page to open: tokens out of their sign-in, by exchange (RFC 8693) or by an identity
assertion towards another company's Callgate."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from callgate.errors import Refused
from tests.support.openid import Guarded, Provider, free_port, open_guarded, open_provider
from tests.support.robot import Page, Robot
from tests.support.running import Running, on_each, running
from tests.support.shop import open_shop
from tests.support.signing_in import ask

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SECRET = "a secret of the provider"
ACCOUNTS: dict[str, dict[str, Any]] = {
    name: {"email": f"{name}@acme.test", "email_verified": True} for name in ("ana", "ben", "cleo", "dan")
}
PROVIDER: dict[str, Any] = {
    "client_id": "callgate", "secret": SECRET, "scopes": ["openid", "email", "profile", "offline_access"],
    "domains": ["acme.test"], "allow_private": True, "keep_tokens": True,
}  # fmt: skip
AUTH: dict[str, Any] = {"mode": "on_behalf_of", "kind": "token_exchange", "provider": "acme"}


def client_of(run: Running) -> dict[str, Any]:
    return {
        "client_id": "callgate", "client_secret": SECRET, "redirect_uris": [f"{run.url}/signin/callback"],
        "grant_types": ["authorization_code", "refresh_token", EXCHANGE],
        "backchannel_logout_uri": f"{run.url}/signin/backchannel/acme",
    }  # fmt: skip


class Lab:
    def __init__(self, run: Running, provider: Provider, shop: Guarded) -> None:
        self.run = run
        self.provider = provider
        self.shop = shop

    def sign_in(self, login: str) -> tuple[Robot, str]:
        robot = Robot(self.run.url)
        page = self.provider.sign_in(robot, robot.get("/signin/with/acme"), login)
        assert page.status == 200, page.words
        return robot, self.token(login)

    def token(self, login: str) -> str:
        token: str = self.run.operator.post("/tokens", {"person": f"{login}@acme.test"})["token"]
        return token

    def call(self, token: str, tool: str = "shop__list_orders") -> Page:
        return ask(self.run.url, token, "tools/call", {"name": tool, "arguments": {}})


def said(page: Page) -> str:
    text: str = page.json["result"]["content"][0]["text"]
    return text


def code(page: Page) -> str:
    found: str = page.json["result"].get("_meta", {}).get("callgate/decision", {}).get("code", "done")
    return found


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with (
        on_each(request, tmp_path_factory) as run,
        open_provider(ACCOUNTS, clients=[client_of(run)], exchange=True, accessSeconds=5) as provider,
        open_guarded(provider) as shop,
    ):
        run.operator.put("/providers/acme", {"issuer": provider.issuer, **PROVIDER})
        run.add_upstream("shop", shop.url, auth=AUTH)
        found = Lab(run, provider, shop)
        found.sign_in("ana")
        run.operator.post("/upstreams/shop/refresh")
        for tool in run.operator.get("/tools")["items"]:
            run.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found


def test_who_signed_in_calls_as_themselves_at_once(lab: Lab) -> None:
    tokens = {login: lab.sign_in(login)[1] for login in ("ana", "ben")}
    answers: dict[str, list[str]] = {"ana": [], "ben": []}

    def work(login: str) -> None:
        for _ in range(20):
            answers[login].append(said(lab.call(tokens[login])))

    threads = [threading.Thread(target=work, args=(login,)) for login in answers for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for login, found in answers.items():
        assert set(found) == {f"for {login}"}
    assert lab.shop.refused == 0


def test_short_tokens_are_made_anew_from_a_renewed_sign_in(lab: Lab) -> None:
    _, token = lab.sign_in("ana")
    before = lab.provider.counts()
    seen: set[str] = set()
    end = time.monotonic() + 30
    while lab.provider.counts()["exchanges"] <= before["exchanges"] + 2 and time.monotonic() < end:
        seen.add(said(lab.call(token)))
        time.sleep(0.1)
    assert seen == {"for ana"}
    after = lab.provider.counts()
    assert after["refreshes"] > before["refreshes"]
    assert after["reused"] == before["reused"], "a rotated refresh token was used twice"


def test_who_did_not_sign_in_is_sent_there_and_goes_on(lab: Lab) -> None:
    lab.run.operator.post("/people", {"email": "cleo@acme.test"})
    token = lab.token("cleo")
    refused = lab.call(token)
    assert code(refused) == "connection_required"
    assert f"{lab.run.url}/connections/shop" in said(refused)
    robot = Robot(lab.run.url)
    page = robot.get("/connections/shop")
    page = lab.provider.sign_in(robot, robot.get("/signin/with/acme?next=/connections/shop"), "cleo")
    assert "acme" in page.words
    assert "is connected" in robot.submit(page).words
    assert said(lab.call(token)) == "for cleo"


def test_who_lost_the_sign_in_signs_in_again_from_the_page(lab: Lab) -> None:
    robot, token = lab.sign_in("dan")
    assert said(lab.call(token)) == "for dan"
    lab.run.operator.delete("/connections/shop", person="dan@acme.test")
    lab.run.operator.put("/providers/acme", {"issuer": lab.provider.issuer, **PROVIDER, "keep_tokens": False})
    lab.run.operator.put("/providers/acme", {"issuer": lab.provider.issuer, **PROVIDER})
    assert code(lab.call(token)) == "connection_required", "what was kept is gone with the setting"
    page = robot.submit(robot.get("/connections/shop"))
    page = lab.provider.sign_in(robot, page, "dan")
    assert "is connected" in robot.submit(page).words
    assert said(lab.call(token)) == "for dan"


def test_who_leaves_takes_it_along_and_the_provider_is_told(lab: Lab) -> None:
    _, token = lab.sign_in("ben")
    assert said(lab.call(token)) == "for ben"
    left = lab.run.operator.post("/people/ben@acme.test/deactivate")
    assert left["summary"]["upstreams"] == ["shop"]

    receipt: dict[str, Any] = {"complete": False}
    end = time.monotonic() + 20
    while not receipt["complete"] and time.monotonic() < end:
        receipt = lab.run.operator.get(f"/offboardings/{left['receipt']}")["receipt"]
        time.sleep(0.1)
    (told,) = receipt["upstreams"]
    assert told["state"] == "refused", "this provider revokes no signed access token; it is over in seconds"
    assert told["todo"]
    lab.run.operator.post("/people/ben@acme.test/reactivate")
    assert code(lab.call(lab.token("ben"))) == "connection_required"


def test_an_upstream_cannot_choose_who_gets_the_sign_in(lab: Lab) -> None:
    """It names another authorization server; nothing of the person goes there, nor is anything asked for it."""
    asked: list[str] = []
    with open_guarded(lab.provider) as hostile, open_shop() as elsewhere:
        elsewhere.metadata = {"resource": "x"}
        hostile.metadata = {"resource": hostile.url, "authorization_servers": [elsewhere.url.removesuffix("/mcp")]}
        before = lab.provider.counts()["exchanges"]
        found = lab.run.add_upstream("hostile", hostile.url, auth=AUTH)
        assert found["state"] != "ok"
        assert lab.provider.counts()["exchanges"] == before
        assert elsewhere.seen_authorization == asked
    lab.run.operator.delete("/upstreams/hostile")


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ({"mode": "on_behalf_of", "kind": "token_exchange"}, "with an `auth.provider`"),
        ({"mode": "shared", "kind": "id_jag", "provider": "acme", "secret": "x"}, "are for `auth.mode` `on_behalf_of`"),
        ({"mode": "on_behalf_of", "provider": "acme"}, "are for `auth.mode`"),
        ({"mode": "on_behalf_of", "kind": "id_jag", "provider": "acme"}, "does not choose who gets them"),
        ({**AUTH, "client_id": "x"}, "asks as the provider's client"),
        ({**AUTH, "provider": "unknown"}, "No provider unknown keeps sign-ins"),
    ],
)
def test_what_does_not_fit_together_is_said(lab: Lab, auth: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        lab.run.operator.post("/upstreams", {"name": "odd", "url": lab.shop.url, "allow_private": True, "auth": auth})
    assert caught.value.code == "validation"


def test_cross_app_access_to_another_callgate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A vendor runs Callgate too: it accepts assertions of the company's provider, and sees the person."""
    key = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"}).as_dict(private=True)
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    with (
        running(tmp_path_factory.mktemp("vendor"), client_documents="off") as vendor,
        running(tmp_path_factory.mktemp("company"), client_documents="off") as run,
        open_shop() as shop,
    ):
        there = {"issuer": issuer, "client_id": "x", "domains": ["acme.test"], "allow_private": True, "id_jag": True}
        vendor.operator.put("/providers/acme", there)
        vendor.add_upstream("orders", shop.url)
        for tool in vendor.operator.get("/tools")["items"]:
            vendor.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        ours = vendor.operator.post("/clients", {"name": "Company", "confidential": True})
        settings: dict[str, Any] = {
            "clients": [client_of(run)], "exchange": True, "key": key, "vouchedClient": ours["client_id"],
        }  # fmt: skip
        with open_provider(ACCOUNTS, port, **settings) as provider:
            run.operator.put("/providers/acme", {"issuer": issuer, **PROVIDER})
            robot = Robot(run.url)
            assert provider.sign_in(robot, robot.get("/signin/with/acme"), "ana").status == 200
            auth = {
                "mode": "on_behalf_of", "kind": "id_jag", "provider": "acme", "issuer": vendor.url,
                "client_id": ours["client_id"], "secret": ours["secret"],
            }  # fmt: skip
            found = run.add_upstream("vendor", f"{vendor.url}/mcp", auth=auth)
            assert found["state"] == "ok", found["reason"]
            for tool in run.operator.get("/tools")["items"]:
                run.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
            token = run.operator.post("/tokens", {"person": "ana@acme.test"})["token"]
            name = "vendor__orders__list_orders"
            page = ask(run.url, token, "tools/call", {"name": name, "arguments": {}})
            assert code(page) == "done", page.json
            events = vendor.operator.get("/audit/events", limit=50)["items"]
            people = {one["id"]: one["email"] for one in vendor.operator.get("/people")["items"]}
            callers = {people.get(one.get("person", ""), "") for one in events if one.get("tool") == "list_orders"}
            assert "ana@acme.test" in {*callers, *people.values()}
