"""Local accounts in a real browser, over plain http on loopback and behind TLS: every page of them, and passkeys."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pyotp
import pytest

from tests.support.chromium import Human
from tests.support.openid import free_port
from tests.support.running import Running, running
from tests.support.signing_in import PASSWORD
from tests.support.tls import tls_front

People = Callable[[], Human]
REFUSED = "Failed to load resource: the server responded with a status of 403 (Forbidden)"


@pytest.fixture(scope="module", params=["http", "https"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("pages")
    if request.param == "http":
        with running(place) as found:
            found.url = found.url.replace("127.0.0.1", "localhost")
            yield found
        return
    port = free_port()
    with running(place, public_url=f"https://localhost:{port}") as found:
        inside = urlsplit(found.url).port
        assert inside is not None
        with tls_front(port, inside, place):
            found.url = f"https://localhost:{port}"
            yield found


def link(run: Running, email: str) -> str:
    run.person(email, "member")
    return f"{run.url}{urlsplit(run.operator.post(f'/people/{email}/link')['url']).path}"


def enrolled(run: Running, someone: Human, email: str) -> None:
    someone.page.goto(link(run, email))
    someone.fill(password=PASSWORD)
    someone.press("Set it")
    someone.press("Go on")
    assert email in someone.words


def test_from_the_link_to_signing_out(run: Running, human: People) -> None:
    ana = human()
    ana.page.goto(link(run, "ana@acme.test"))
    ana.check_accessible()
    ana.fill(password=PASSWORD)
    ana.press("Set it")
    assert "recovery codes" in ana.words
    ana.check_accessible()
    ana.press("Go on")
    assert "ana@acme.test" in ana.words
    ana.check_accessible()
    ana.press("Turn on")
    code = pyotp.TOTP(ana.page.inner_text("main code"))
    ana.check_accessible()
    ana.fill(code=code.now())
    with ana.page.expect_navigation():
        ana.press("Turn on")
    ana.check_accessible()
    kept = ana.page.inner_text("main pre").split()[0]
    assert ana.wrong == []
    ana.press("Sign out")
    ana.page.goto(f"{run.url}/account")
    assert ana.page.url.startswith(f"{run.url}/signin")
    ana.check_accessible()
    ana.fill(email="ana@acme.test", password="not the right one")
    ana.press("Sign in")
    assert "not" in ana.page.inner_text("[role=alert]").lower()
    ana.check_accessible()
    ana.fill(email="ana@acme.test", password=PASSWORD)
    ana.press("Sign in")
    ana.check_accessible()
    ana.fill(code=kept)
    ana.press("Go on")
    assert "ana@acme.test" in ana.words
    assert ana.wrong == [REFUSED], "the wrong password, and nothing else"


def test_scripts_see_no_cookie_and_tls_binds_it_to_the_host(run: Running, human: People) -> None:
    ben = human()
    enrolled(run, ben, "ben@acme.test")
    assert ben.page.evaluate("document.cookie") == ""
    cookies = ben.context.cookies()
    assert cookies
    for one in cookies:
        assert one["httpOnly"] is True
        assert one["sameSite"] == "Lax"
        if run.url.startswith("https"):
            assert one["name"].startswith("__Host-")
            assert one["secure"] is True


def test_a_passkey_is_added_and_signs_in(run: Running, human: People) -> None:
    eve = human()
    devtools = eve.context.new_cdp_session(eve.page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    key = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    enrolled(run, eve, "eve@acme.test")
    with eve.page.expect_navigation():
        eve.press("Add a passkey")
    assert eve.page.get_by_role("button", name="Remove").count() == 1
    assert "in a recent browser" not in eve.words
    eve.check_accessible()
    eve.press("Sign out")
    eve.page.goto(f"{run.url}/signin")
    with eve.page.expect_navigation():
        eve.press("Use a passkey")
    assert "eve@acme.test" in eve.words
    assert "passkey, since" in eve.words
    assert eve.wrong == []
    eve.press("Remove")
    eve.press("Sign out")
    eve.page.goto(f"{run.url}/signin")
    eve.press("Use a passkey")
    eve.page.get_by_text("does not open anything here").wait_for()
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": key, "isUserVerified": False})
    eve.press("Use a passkey")
    eve.page.get_by_text("No passkey was used.").wait_for()


def test_no_passkey_is_offered_at_a_bare_address(run: Running, human: People) -> None:
    fay = human()
    fay.page.goto(f"{run.url}/signin")
    assert fay.page.get_by_role("button", name="Use a passkey").count() == 1
    bare = run.url.replace("localhost", "127.0.0.1")
    fay.page.goto(f"{bare}/signin")
    assert fay.page.get_by_role("button", name="Use a passkey").count() == 0
    fay.page.goto(link(run, "fay@acme.test").replace("localhost", "127.0.0.1"))
    fay.fill(password=PASSWORD)
    fay.press("Set it")
    fay.press("Go on")
    assert fay.page.url.startswith(bare)
    assert "in a recent browser" in fay.words


def test_a_session_that_ended_elsewhere_sends_to_the_sign_in_and_back(run: Running, human: People) -> None:
    here, there = human(), human()
    enrolled(run, here, "gil@acme.test")
    there.page.goto(f"{run.url}/signin")
    there.fill(email="gil@acme.test", password=PASSWORD)
    there.press("Sign in")
    there.press("Sign out everywhere else")
    here.page.goto(f"{run.url}/connections")
    assert "Sign in" in here.words
    here.fill(email="gil@acme.test", password=PASSWORD)
    here.press("Sign in")
    assert here.page.url == f"{run.url}/connections"
    assert "No server here wants an account" in here.words
