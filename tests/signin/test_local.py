"""Local accounts: links, passwords, one-time codes, recovery codes, passkeys, throttling, sessions."""

from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pyotp
import pytest

from callgate import clock
from callgate.identity import browser, local
from callgate.model.signin import LocalAccount
from tests.signin.authenticator import Authenticator
from tests.support.robot import Page, Robot
from tests.support.running import Running, on_each, running
from tests.support.signing_in import PASSWORD, account, sign_in


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with on_each(request, tmp_path_factory, trusted_proxies=["127.0.0.0/8"]) as found:
        # a passkey is bound to a name, not to an address
        found.url = found.url.replace("127.0.0.1", "localhost")
        yield found


def code_of(page: Page) -> tuple[str, str]:
    """The secret that a page shows, and its code of now."""
    secret = page.text.partition("<code>")[2].partition("</code>")[0]
    return secret, pyotp.TOTP(secret).now()


def from_(robot: Robot, address: str, email: str, password: str) -> Page:
    """A sign-in that comes from another place."""
    page = robot.get("/signin")
    form = page.form()
    given = urlencode({**form.values, "email": email, "password": password}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": address}
    return robot.request("POST", form.action, given, headers)


def test_a_link_is_good_once_and_looking_at_it_uses_nothing_up(run: Running) -> None:
    run.person("link@acme.test", "member")
    url = urlsplit(run.operator.post("/people/link@acme.test/link")["url"]).path
    robot = Robot(run.url)
    page = robot.get(url)
    for _ in range(3):
        page = robot.get(url)
        assert "Set your password" in page.words
    short = robot.submit(page, password="short")
    assert short.status == 422
    assert "12 to 256 characters" in short.words
    page = robot.submit(short, password=PASSWORD)
    assert "recovery codes" in page.words
    assert "link@acme.test" in robot.get("/account").words
    assert robot.get(url).status == 410
    assert Robot(run.url).get("/signin/link/cgl_guess").status == 410


def test_a_later_link_replaces_an_earlier_one(run: Running) -> None:
    run.person("twice@acme.test", "member")
    first, second = (urlsplit(run.operator.post("/people/twice@acme.test/link")["url"]).path for _ in "ab")
    assert Robot(run.url).get(first).status == 410
    assert Robot(run.url).get(second).status == 200


def test_wrong_and_unknown_get_the_same_sentence(run: Running) -> None:
    account(run, "same@acme.test")
    wrong = sign_in(Robot(run.url), "same@acme.test", "not the right one")
    unknown = sign_in(Robot(run.url), "nobody@acme.test", "not the right one")
    assert wrong.status == unknown.status == 403
    assert local.WRONG in wrong.words
    assert wrong.words.replace("same@", "nobody@") == unknown.words


async def test_an_unknown_account_costs_a_hash_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes time is done for both: nothing is measured here, the work is counted."""
    done: list[str] = []

    def verified(expected: str, password: str) -> bool:
        done.append(expected)
        return False

    async def allowed() -> None:
        return

    monkeypatch.setattr(local, "_verified", verified)
    assert not await local.matches(None, "x" * 20, allowed)
    assert not await local.matches(LocalAccount("per_1", "$argon2id$x"), "x" * 20, allowed)
    assert len(done) == 2


def test_who_guesses_slows_down_themselves_alone(run: Running) -> None:
    account(run, "guessed@acme.test")
    attacker = Robot(run.url)
    answers = [from_(attacker, "203.0.113.9", "guessed@acme.test", f"guess number {n}").status for n in range(8)]
    assert answers[:5] == [403] * 5
    assert 429 in answers
    owner = Robot(run.url)
    assert from_(owner, "198.51.100.7", "guessed@acme.test", PASSWORD).status == 200, "the owner was locked out"


def test_one_time_codes_are_asked_for_and_good_once(run: Running) -> None:
    robot = account(run, "totp@acme.test")
    page = robot.submit(robot.get("/account"), 1)
    secret, code = code_of(page)
    wrong = robot.submit(page, code="000000")
    assert wrong.status == 422
    page = robot.submit(wrong, code=code)
    assert "recovery codes" in page.words
    recovery = page.text.partition("<pre>")[2].split()[0]
    fresh = Robot(run.url)
    asked = sign_in(fresh, "totp@acme.test")
    assert "Code of your authenticator app" in asked.words
    assert fresh.cookie("callgate-session") is None, "half signed in is not signed in"
    used = fresh.submit(asked, code=code)
    assert used.status == 403, "the code that turned it on was used already"
    later = pyotp.TOTP(secret).at(int(clock.now()) + 30)
    assert "totp@acme.test" in fresh.submit(used, code=later).words
    other = Robot(run.url)
    assert "totp@acme.test" in other.submit(sign_in(other, "totp@acme.test"), code=recovery).words
    third = Robot(run.url)
    assert third.submit(sign_in(third, "totp@acme.test"), code=recovery).status == 403, "a recovery code is good once"


def test_a_code_that_is_asked_for_no_more_lets_nobody_in(run: Running) -> None:
    robot = account(run, "dropped@acme.test")
    offer = robot.submit(robot.get("/account"), 1)
    robot.submit(offer, code=code_of(offer)[1])
    other = Robot(run.url)
    half = sign_in(other, "dropped@acme.test")
    assert "code" in half.words
    robot.submit(robot.get("/account"), 1)
    page = other.submit(half, code="123456")
    assert page.status == 403, page.words


def test_a_passkey_opens_the_account_without_a_password(run: Running) -> None:
    robot = account(run, "key@acme.test")
    key = Authenticator(run.url)
    offered = robot.script("/account/passkeys/options", {})
    assert offered.status == 200, offered.text
    made = {"state": offered.json["state"], "credential": key.create(offered.json["options"]), "name": "laptop"}
    assert robot.script("/account/passkeys", made).status == 201
    assert robot.script("/account/passkeys", made).status == 409, "a challenge is good once"
    fresh = Robot(run.url)
    asked = fresh.script("/signin/passkey/options", {}).json
    given = {"state": asked["state"], "credential": key.get(asked["options"]), "next": "/account"}
    page = fresh.script("/signin/passkey", given)
    assert page.status == 200, page.text
    assert page.json["next"] == "/account"
    assert "key@acme.test" in fresh.get("/account").words
    assert Robot(run.url).script("/signin/passkey", given).status == 409, "replayed"


def test_a_passkey_of_elsewhere_copied_or_unknown_opens_nothing(run: Running) -> None:
    robot = account(run, "key2@acme.test")
    key = Authenticator(run.url)
    key.id = b"second" * 5
    offered = robot.script("/account/passkeys/options", {}).json
    made = {"state": offered["state"], "credential": key.create(offered["options"])}
    assert robot.script("/account/passkeys", made).status == 201

    def attempt(key: Authenticator) -> int:
        fresh = Robot(run.url)
        asked = fresh.script("/signin/passkey/options", {}).json
        return fresh.script(
            "/signin/passkey", {"state": asked["state"], "credential": key.get(asked["options"])}
        ).status

    assert attempt(key) == 200
    phished = Authenticator("https://evil.test")
    phished.key, phished.id, phished.counter = key.key, key.id, key.counter
    assert attempt(phished) == 403
    copied = Authenticator(run.url)
    copied.key, copied.id = key.key, key.id
    assert attempt(copied) == 403, "its counter went back"
    stranger = Authenticator(run.url)
    stranger.id = b"unknown" * 4
    assert attempt(stranger) == 403
    forged = Authenticator(run.url)
    forged.id, forged.counter = key.id, 50
    assert attempt(forged) == 403


def test_what_is_dangerous_needs_a_fresh_proof(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = account(run, "stale@acme.test")
    monkeypatch.setattr(browser, "FRESH", -1.0)
    page = robot.get("/account")
    after = robot.submit(page, 0, follow=False, password="another good password")
    assert "again=yes" in after.location
    assert robot.script("/account/passkeys/options", {}).status == 403
    monkeypatch.undo()
    assert robot.submit(robot.get("/account"), 0, password="another good password").status == 200
    assert sign_in(Robot(run.url), "stale@acme.test").status == 403
    assert sign_in(Robot(run.url), "stale@acme.test", "another good password").status == 200


def test_a_session_ends_where_it_is_ended(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = account(run, "out@acme.test")
    other = Robot(run.url)
    sign_in(other, "out@acme.test")
    stolen = Robot(run.url)
    stolen.jar = {host: dict(cookies) for host, cookies in robot.jar.items()}
    assert "out@acme.test" in stolen.get("/account").words
    robot.submit(robot.get("/account"), -1)
    assert "Sign in" in robot.get("/account").words
    assert "Sign in" in stolen.get("/account").words, "the cookie outlived its session"
    assert "out@acme.test" in other.get("/account").words
    monkeypatch.setattr(browser, "IDLE", -1.0)
    assert "Sign in" in other.get("/account").words


def test_the_cookie_is_kept_from_scripts_and_other_sites(run: Running) -> None:
    account(run, "cookie@acme.test")
    page = Robot(run.url).get("/signin")
    robot = Robot(run.url)
    page = robot.get("/signin")
    form = page.form()
    values = {**form.values, "email": "cookie@acme.test", "password": PASSWORD}
    done = robot.post(form.action, values, follow=False)
    header = next(line for line in done.headers.get_all("set-cookie") or [] if "callgate-session=cgb_" in line)
    assert "HttpOnly" in header
    assert "SameSite=lax" in header.replace("Lax", "lax")
    assert "Path=/" in header


def test_behind_tls_every_cookie_is_bound_to_the_host(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("tls")
    with running(place, public_url="https://mcp.acme.test") as found:
        page = Robot(found.url).get("/signin", Host="mcp.acme.test")
        header = page.headers["set-cookie"]
        assert header.startswith("__Host-callgate-visit=")
        assert "Secure" in header
        assert "Domain" not in header
