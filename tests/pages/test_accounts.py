"""Signing in at a real OpenID provider, accounts at servers, and receipts, in a real browser."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.chromium import Human
from tests.support.openid import Guarded, Provider, free_port, open_guarded, open_provider
from tests.support.running import Running, running
from tests.support.shop import open_shop

People = Callable[[], Human]
EMAIL = "ana@acme.test"
ACCOUNTS = {"ana": {"email": EMAIL, "email_verified": True, "groups": ["auditors"]}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Provider, Guarded]]:
    """The gateway at `localhost`, the provider at 127.0.0.1: another site, so its cookies and ours are strangers."""
    with running(tmp_path_factory.mktemp("accounts"), client_documents="off") as found, open_shop() as plain:
        found.url = found.url.replace("127.0.0.1", "localhost")
        port = free_port()
        client = {
            "client_id": "callgate", "client_secret": "a secret of the provider",
            "redirect_uris": [f"{found.url}/signin/callback"], "post_logout_redirect_uris": [f"{found.url}/signin"],
        }  # fmt: skip
        with open_provider(ACCOUNTS, port, clients=[client]) as provider, open_guarded(provider) as shop:
            body = {
                "issuer": provider.issuer, "client_id": "callgate", "secret": "a secret of the provider",
                "scopes": ["openid", "email", "profile", "groups"], "domains": ["acme.test"],
                "roles": {"auditors": "auditor"}, "allow_private": True,
            }  # fmt: skip
            found.operator.put("/providers/acme", body)
            found.add_upstream("shop", shop.url, auth={"mode": "on_behalf_of"})
            found.add_upstream("plain", plain.url, auth={"mode": "own_token"})
            yield found, provider, shop


@pytest.fixture
def ana(run: tuple[Running, Provider, Guarded], human: People) -> Human:
    """Signed in at the provider."""
    found, provider, _ = run
    ana = human()
    ana.page.goto(f"{found.url}/connections")
    ana.check_accessible()
    ana.press("Sign in with acme")
    at_provider(ana, provider)
    assert ana.page.url == f"{found.url}/connections"
    ana.wrong.clear()  # the provider's pages complain, too
    return ana


def at_provider(someone: Human, provider: Provider) -> None:
    assert urlsplit(someone.page.url).netloc == urlsplit(provider.issuer).netloc
    if someone.page.locator("input[name=login]").count():
        someone.page.fill("input[name=login]", "ana")
        someone.page.press("input[name=login]", "Enter")
    someone.page.wait_for_url("http://localhost:*/**")


def test_an_account_is_connected_looked_at_and_disconnected(
    run: tuple[Running, Provider, Guarded], ana: Human
) -> None:  # fmt: skip
    _, provider, _ = run
    ana.check_accessible()
    ana.page.get_by_role("row", name="shop").get_by_role("link").click()
    assert urlsplit(provider.issuer).netloc in ana.words
    ana.check_accessible()
    ana.press("Connect")
    ana.page.wait_for_load_state()
    if urlsplit(ana.page.url).netloc == urlsplit(provider.issuer).netloc:
        at_provider(ana, provider)
    assert "shop is connected" in ana.words
    ana.check_accessible()
    ana.page.goto(f"{run[0].url}/connections")
    assert "connected" in ana.page.get_by_role("row", name="shop").inner_text()
    ana.page.get_by_role("row", name="shop").get_by_role("link").click()
    ana.check_accessible()
    ana.press("Disconnect")
    assert "not connected" in ana.page.get_by_role("row", name="shop").inner_text()
    assert ana.wrong == []


def test_a_token_of_ones_own_is_kept_and_not_shown(run: tuple[Running, Provider, Guarded], ana: Human) -> None:
    del run
    ana.page.get_by_role("row", name="plain").get_by_role("link").click()
    ana.check_accessible()
    ana.fill(token="a token of my own")
    ana.press("Keep it")
    assert "connected" in ana.words
    assert "a token of my own" not in ana.page.content()
    ana.check_accessible()
    assert ana.wrong == []


def test_signing_out_goes_through_the_provider(run: tuple[Running, Provider, Guarded], ana: Human) -> None:
    found, provider, _ = run
    ana.page.goto(f"{found.url}/account")
    ana.check_accessible()
    ana.press("Sign out")
    assert urlsplit(ana.page.url).netloc == urlsplit(provider.issuer).netloc
    ana.page.get_by_role("button").first.click()
    ana.page.wait_for_url(f"{found.url}/signin*")
    ana.press("Sign in with acme")
    assert ana.page.locator("input[name=login]").count() == 1, "signed out there as well"


def test_two_tabs_sign_in_at_once(run: tuple[Running, Provider, Guarded], human: People) -> None:
    found, provider, _ = run
    ana = human()
    ana.page.goto(f"{found.url}/connections/plain")
    ana.press("Sign in with acme")
    tab = ana.tab()
    tab.page.goto(f"{found.url}/account")
    tab.press("Sign in with acme")
    at_provider(ana, provider)
    assert ana.page.url == f"{found.url}/connections/plain"
    at_provider(tab, provider)
    assert tab.page.url == f"{found.url}/account"


def test_the_receipt_of_who_left(run: tuple[Running, Provider, Guarded], ana: Human) -> None:
    found, _, _ = run
    found.person("ben@acme.test", "member")
    found.operator.put("/connections/plain/token", {"token": "own"}, person="ben@acme.test")
    found.operator.post("/people/ben@acme.test/deactivate")
    ana.page.goto(f"{found.url}/offboardings")
    ana.check_accessible()
    ana.page.get_by_role("link", name="Receipt").click()
    assert "ben@acme.test left" in ana.words
    ana.check_accessible()
    with ana.page.expect_download() as download:
        ana.page.get_by_role("link", name="The whole receipt as a file").click()
    assert download.value.suggested_filename.endswith(".json")
    assert ana.wrong == []
