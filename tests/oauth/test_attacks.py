"""What an attacker tries against the authorization server; each has to fail, and to harm nobody else."""

import json
import threading
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import urlencode

import pytest

from tests.support.robot import Robot
from tests.support.running import Running
from tests.support.signing_in import BACK, PASSWORD, Client, account, ask


def registered(run: Running, redirect: str = BACK) -> Client:
    client = Client(run.url, redirect)
    client.register()
    return client


# -- codes and PKCE ---------------------------------------------------------------------------------------------------


def test_a_code_is_good_for_its_own_client_alone(run: Running, ana: Robot) -> None:
    mine, theirs = registered(run), registered(run)
    code = mine.code(ana)
    theirs.verifier = mine.verifier
    assert theirs.redeem(code).json["error"] == "invalid_grant"
    assert mine.redeem(code).status == 200, "the attempt used the code up"


def test_a_code_without_its_verifier_is_good_for_nothing(run: Running, ana: Robot) -> None:
    client = registered(run)
    code = client.code(ana)
    for wrong in ("x" * 43, client.challenge, ""):
        assert client.redeem(code, code_verifier=wrong).status == 400
    assert client.redeem(code).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": "short"},
    ],
)
def test_pkce_cannot_be_left_out_or_weakened(run: Running, ana: Robot, change: dict[str, str | None]) -> None:
    client = registered(run)
    back = ana.get(client.authorize_url(**change), follow=False)
    assert back.status == 302
    assert back.query["error"] == "invalid_request"


def test_a_code_of_somebody_elses_session_is_theirs(run: Running, ana: Robot, ben: Robot) -> None:
    """Code injection: the attacker's code in the victim's client. PKCE ties it to the client that asked."""
    victim, attacker = registered(run), registered(run)
    attacker.id = victim.id
    stolen = attacker.code(ben)
    assert victim.redeem(stolen).json["error"] == "invalid_grant"


def test_of_two_who_redeem_a_code_at_once_one_gets_tokens_at_most(run: Running, ana: Robot) -> None:
    for _ in range(5):
        client = registered(run)
        code = client.code(ana)
        answers: list[int] = []

        def redeem(client: Client = client, code: str = code, answers: list[int] = answers) -> None:
            answers.append(client.redeem(code).status)

        threads = [threading.Thread(target=redeem) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers)[1:] == [400, 400, 400], answers


# -- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:43210/other",
        "http://127.0.0.1:43210/callback/",
        "http://127.0.0.1:43210/callback?x=1",
        "http://127.0.0.1.evil.test:43210/callback",
        "http://localhost:43210/callback",
        "http://127.0.0.1:43210@evil.test/callback",
        "http://evil.test\\@127.0.0.1:43210/callback",  # browsers take the backslash for a slash
        "http://evil.test\r\nX-Injected: yes\r\n@127.0.0.1:43210/callback",
        "http://user@127.0.0.1:43210/callback",
        "http://127.0.0.1:43210/callback#x",
        "https://evil.test/callback",
        "javascript:alert(1)",
        "",
    ],
)
def test_nobody_is_sent_where_the_client_did_not_register(run: Running, ana: Robot, uri: str) -> None:
    client = registered(run)
    if not uri:
        client.register(redirect_uris=[BACK, "https://acme.test/back"])  # of two, none is meant by leaving it out
    for page in (ana.get(client.authorize_url(redirect_uri=uri or None), follow=False),):
        assert page.status == 422
        assert page.headers["location"] is None
        assert "did not register" in page.words


def test_a_loopback_redirect_may_come_back_on_another_port(run: Running, ana: Robot) -> None:
    client = registered(run)
    client.redirect = "http://127.0.0.1:50999/callback"
    assert client.redeem(client.code(ana)).status == 200


@pytest.mark.parametrize(
    "uri",
    [
        "http://acme.test/back", "javascript:alert(1)", "data:text/html,x", "https://acme.test/#x",
        "https://user:pw@acme.test/", "//acme.test/", "/back", "https://acme.test/\n", "file:///etc/passwd", "",
    ],
)  # fmt: skip
def test_unsafe_redirects_cannot_be_registered(run: Running, uri: str) -> None:
    body = json.dumps({"redirect_uris": [uri]}).encode()
    page = Robot(run.url).request("POST", "/oauth/register", body, {"Content-Type": "application/json"})
    assert page.status == 400
    assert page.json["error"] == "invalid_redirect_uri"


def test_errors_are_not_bounced_to_an_address_that_anybody_registered(run: Running, ana: Robot) -> None:
    """An open redirector would need nothing but a registration (RFC 9700, section 4.11)."""
    client = registered(run, "https://evil.test/back")
    page = ana.get(client.authorize_url(scope="x", response_type="token"), follow=False)
    assert page.status == 422
    assert page.headers["location"] is None


# -- audience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.test/mcp",
        "http://127.0.0.1:1/mcp",
        "http://localhost/mcp",
        "http://localhost:99999/mcp",
        "http://127.0.0.1:1/api",
        "urn:x",
        "http://127.0.0.1/t/other/mcp",
        "https://evil.test",
    ],
)
def test_a_token_for_somebody_else_is_not_issued(run: Running, ana: Robot, resource: str) -> None:
    client = registered(run)
    back = ana.get(client.authorize_url(resource=resource), follow=False)
    assert back.query["error"] == "invalid_target"
    code = client.code(ana)
    assert client.redeem(code, resource="https://evil.test/mcp").json["error"] == "invalid_target"


def test_an_oauth_token_opens_no_other_door(run: Running) -> None:
    admin = account(run, "boss@acme.test", "admin")
    issued = Client(run.url).login(admin)
    page = Robot(run.url).get("/api/v1/people", Authorization=f"Bearer {issued['access_token']}")
    assert page.status == 403
    assert ask(run.url, issued["refresh_token"]).status == 401, "a refresh token is no access token"


# -- the consent page -------------------------------------------------------------------------------------------------


def test_the_consent_page_cannot_be_framed_scripted_or_cached(run: Running, ana: Robot) -> None:
    page = ana.get(registered(run).authorize_url())
    assert page.headers["x-frame-options"] == "DENY"
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"


def test_nobody_agrees_for_somebody_else(run: Running, ana: Robot, ben: Robot) -> None:
    client = registered(run)
    form = ana.get(client.authorize_url()).form()
    given = {**form.values, "answer": "allow"}
    foreign = ben.post(form.action, given, follow=False)
    assert foreign.status == 403, "the attacker's page was answered in the victim's browser"
    own = ben.get(client.authorize_url()).form()
    mixed = ben.post(form.action, {**given, "mark": own.values["mark"]}, follow=False)
    assert mixed.status == 403, "a sealed request of another session"
    assert Robot(run.url).post(form.action, given, follow=False).status == 403, "nobody is signed in"
    for site in ("cross-site", "same-site"):
        sent = ana.post(form.action, given, follow=False, **{"Sec-Fetch-Site": site})
        assert sent.status == 403
    assert ana.post(form.action, given, follow=False, Origin="https://evil.test").status == 403
    assert ana.post(form.action, {**given, "mark": ""}, follow=False).status == 403
    changed = {**given, "request": given["request"][:-4] + "AAAA"}
    assert ana.post(form.action, changed, follow=False).status == 403
    assert ana.post(form.action, given, follow=False).status == 302, "the person's own answer"


def test_a_clients_words_are_shown_as_words(run: Running, ana: Robot) -> None:
    client = Client(run.url)
    client.register(client_name='<script>alert(1)</script>\u202eevil"')
    page = ana.get(client.authorize_url())
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text


def test_what_was_allowed_once_is_asked_again_where_anybody_can_listen(run: Running, ana: Robot) -> None:
    client = registered(run)
    client.code(ana)
    assert ana.get(client.authorize_url(), follow=False).status == 200, "no silent code to a loopback address"


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_signing_in_never_takes_over_a_session_that_was_there(run: Running, ana: Robot) -> None:
    victim = Robot(run.url)
    victim.jar[run.url.partition("://")[2]] = {"callgate-session": "cgb_planted", "callgate-visit": "planted"}
    page = victim.submit(victim.get("/signin"), email="ana@acme.test", password=PASSWORD)
    assert "ana@acme.test" in page.words
    assert victim.cookie("callgate-session") not in (None, "cgb_planted")
    attacker = Robot(run.url)
    attacker.jar[run.url.partition("://")[2]] = {"callgate-session": "cgb_planted"}
    assert "Sign in" in attacker.get("/account").words


def test_the_sign_in_form_is_bound_to_the_browser_that_saw_it(run: Running, ana: Robot) -> None:
    """Login CSRF: the attacker's own account in the victim's browser."""
    attacker, victim = Robot(run.url), Robot(run.url)
    form = attacker.get("/signin").form()
    victim.get("/signin")
    page = victim.post("/signin", {**form.values, "email": "ana@acme.test", "password": PASSWORD})
    assert page.status == 403
    assert victim.cookie("callgate-session") is None


@pytest.mark.parametrize(
    "target", ["https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "/a\nb", "javascript:alert(1)"]
)
def test_nobody_is_sent_away_after_signing_in(run: Running, ana: Robot, target: str) -> None:
    browser = Robot(run.url)
    page = browser.get(f"/signin?{urlencode({'next': target})}")
    after = browser.submit(page, email="ana@acme.test", password=PASSWORD, follow=False)
    assert after.status == 303
    assert after.location == f"{run.url}/account"


# -- the token endpoint -----------------------------------------------------------------------------------------------


def test_forged_and_foreign_refresh_tokens_are_refused(run: Running, ana: Robot, ben: Robot) -> None:
    client = registered(run)
    issued = client.login(ana)
    other = Client(run.url)
    other.login(ben)
    assert other.refresh(issued["refresh_token"]).json["error"] == "invalid_grant", "another client's"
    for forged in ("cgr_" + "A" * 43, issued["access_token"], issued["refresh_token"][:-1] + "_", "x" * 5000, "\u00e4"):
        assert client.refresh(forged).json["error"] == "invalid_grant"
    narrow = client.refresh(issued["refresh_token"], scope="mcp:read")
    assert narrow.json["scope"] == "mcp:read"


def test_parameters_that_come_twice_are_refused(run: Running, ana: Robot) -> None:
    client = registered(run)
    code = client.code(ana)
    body = f"grant_type=authorization_code&client_id={client.id}&code={code}&code=x&code_verifier={client.verifier}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    page = Robot(run.url).request("POST", "/oauth/token", body.encode(), form)
    assert page.json["error"] == "invalid_request"
    assert client.redeem(code).status == 200


def test_answers_with_tokens_are_kept_by_nobody(run: Running, ana: Robot) -> None:
    client = registered(run)
    page = client.redeem(client.code(ana))
    assert page.headers["cache-control"] == "no-store"


def test_nonsense_is_answered_as_such(run: Running) -> None:
    robot = Robot(run.url)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"", b"grant_type=", b"%ff=%fe", b"a&b&c", b"\x00\x01", b"x=" + b"y" * 100_000):
        page = robot.request("POST", "/oauth/token", body, form)
        assert 400 <= page.status < 500, body[:20]
        assert "error" in page.json
    assert robot.request("POST", "/oauth/token", b"{}", {"Content-Type": "application/json"}).status == 400
    for body in (b"", b"[]", b"{", b'{"redirect_uris": 5}', b'{"redirect_uris": [5]}', b"x" * 100_000):
        page = robot.request("POST", "/oauth/register", body, {"Content-Type": "application/json"})
        assert 400 <= page.status < 500, body[:20]
    assert robot.get("/oauth/token").status == 405
    assert robot.get("/oauth/nothing").status == 404


def test_what_cannot_be_read_or_stored_is_refused_like_any_nonsense(run: Running) -> None:
    """Deep nesting and NUL characters: the one breaks parsers, the other PostgreSQL."""
    robot, deep = Robot(run.url), b'{"a":' + b"[" * 9000
    body = robot.request("POST", "/oauth/register", deep, {"Content-Type": "application/json"})
    assert (body.status, body.json["error"]) == (400, "invalid_client_metadata")
    for raw in (deep, b'{"sub": "\\u0000"}'):
        payload = urlsafe_b64encode(raw).decode().rstrip("=")
        page = robot.post("/oauth/token", {"grant_type": "client_credentials", "client_assertion": f"x.{payload}.y"})
        assert (page.status, page.json["error"]) == (401, "invalid_client")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    basic = {**form, "Authorization": f"Basic {b64encode(b'a%00b:c').decode()}"}
    assert robot.request("POST", "/oauth/token", b"grant_type=client_credentials", basic).status == 401
    assert robot.get("/signin/with/%00x").status == 404
    passkey = robot.request(
        "POST", "/signin/passkey", deep, {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    )
    assert passkey.status == 422


def test_a_foreign_host_is_not_served(run: Running) -> None:
    page = Robot(run.url).get("/.well-known/oauth-authorization-server", Host="evil.test")
    assert page.status == 421


def test_registrations_from_one_place_slow_down(run: Running) -> None:
    robot = Robot(run.url)
    body = json.dumps({"redirect_uris": [BACK]}).encode()
    answers = [
        robot.request("POST", "/oauth/register", body, {"Content-Type": "application/json"}).status for _ in range(90)
    ]
    assert 429 in answers
    assert robot.get("/healthz").status == 200
