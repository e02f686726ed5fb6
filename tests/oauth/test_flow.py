"""From 401 to a call, and on: registration, consent, code, tokens, refresh, revocation."""

from urllib.parse import urlencode

import pytest

from callgate.identity import authorizing
from tests.support.robot import Robot
from tests.support.running import Running
from tests.support.shop import Shop
from tests.support.signing_in import PASSWORD, Client, account, ask, sign_in


def test_a_client_finds_its_way_from_401_to_a_list_of_tools(run: Running, ana: Robot) -> None:
    refused = ask(run.url, "")
    assert refused.status == 401
    challenge = refused.headers["www-authenticate"]
    assert 'scope="mcp:read mcp:write"' in challenge
    about = challenge.partition('resource_metadata="')[2].partition('"')[0]
    resource = Robot(run.url).get(about).json
    assert resource["resource"] == f"{run.url}/mcp"
    issuer = resource["authorization_servers"][0]
    server = Robot(run.url).get(f"{issuer}/.well-known/oauth-authorization-server").json
    assert server["issuer"] == issuer
    assert server["code_challenge_methods_supported"] == ["S256"]
    assert "none" in server["token_endpoint_auth_methods_supported"]
    assert server["authorization_response_iss_parameter_supported"] is True
    client = Client(run.url)
    issued = client.login(ana)
    assert issued["token_type"] == "Bearer"
    assert issued["access_token"].startswith("cgt_")
    assert issued["refresh_token"].startswith("cgr_")
    assert ask(run.url, issued["access_token"]).status == 200


def test_the_metadata_stands_under_every_path_that_clients_try(run: Running) -> None:
    robot = Robot(run.url)
    for path in ("oauth-authorization-server", "openid-configuration"):
        for rest in ("", "/mcp", "/mcp/u/files"):
            assert robot.get(f"/.well-known/{path}{rest}").json["issuer"] == run.url
    assert robot.get("/.well-known/oauth-authorization-server/t/nobody").status == 404


def test_the_first_request_of_a_browser_leads_through_the_sign_in_page(run: Running, ana: Robot) -> None:
    client, browser = Client(run.url), Robot(run.url)
    client.register()
    page = browser.get(client.authorize_url())
    assert "Sign in" in page.words
    page = browser.submit(page, email="ana@acme.test", password=PASSWORD)
    assert "Allow Test Client to act for you?" in page.words
    assert "ana@acme.test" in page.words
    assert "127.0.0.1:43210" in page.words
    assert "nobody has verified it" in page.words
    assert "a program on this computer" in page.words
    back = browser.submit(page, answer="allow", follow=False)
    assert client.redeem(back.query["code"]).status == 200


def test_who_does_not_allow_it_sends_the_client_away(run: Running, ana: Robot) -> None:
    client = Client(run.url)
    client.register()
    back = ana.submit(ana.get(client.authorize_url()), answer="deny", follow=False)
    assert back.query["error"] == "access_denied"
    assert back.query["iss"] == run.url
    assert "code" not in back.query


def test_looking_at_the_consent_page_changes_nothing(run: Running, ana: Robot) -> None:
    client = Client(run.url)
    client.register()
    before = len(run.operator.get("/audit/events", limit=500)["items"])
    for _ in range(3):
        assert ana.get(client.authorize_url()).status == 200
    assert len(run.operator.get("/audit/events", limit=500)["items"]) == before


def test_a_refresh_token_is_good_once_and_a_lost_answer_harms_nobody(
    run: Running, ana: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(run.url)
    first = client.login(ana)
    second = client.refresh(first["refresh_token"]).json
    assert ask(run.url, second["access_token"]).status == 200
    again = client.refresh(first["refresh_token"])  # the answer was lost on its way
    assert again.status == 200
    assert ask(run.url, again.json["access_token"]).status == 200
    monkeypatch.setattr(authorizing, "GRACE_SECONDS", -1.0)
    stolen = client.refresh(first["refresh_token"])
    assert stolen.status == 400
    assert stolen.json["error"] == "invalid_grant"
    for token in (first["access_token"], second["access_token"], again.json["access_token"]):
        assert ask(run.url, token).status == 401
    assert client.refresh(again.json["refresh_token"]).json["error"] == "invalid_grant"


def test_a_code_that_comes_twice_ends_what_it_was_good_for(run: Running, ana: Robot) -> None:
    client = Client(run.url)
    client.register()
    code = client.code(ana)
    issued = client.redeem(code).json
    assert ask(run.url, issued["access_token"]).status == 200
    assert client.redeem(code).json["error"] == "invalid_grant"
    assert ask(run.url, issued["access_token"]).status == 401
    assert client.refresh(issued["refresh_token"]).json["error"] == "invalid_grant"


def test_what_a_client_gives_back_is_good_no_more(run: Running, ana: Robot) -> None:
    client = Client(run.url)
    issued = client.login(ana)
    foreign = Client(run.url)
    foreign.register()
    assert foreign.robot.post(
        "/oauth/revoke", {"client_id": foreign.id, "token": issued["refresh_token"]}
    ).status == 200  # fmt: skip
    assert ask(run.url, issued["access_token"]).status == 200, "a foreign client ended it"
    assert client.robot.post("/oauth/revoke", {"client_id": client.id, "token": issued["refresh_token"]}).status == 200
    assert ask(run.url, issued["access_token"]).status == 401


def test_a_deactivated_person_has_nothing_left(run: Running) -> None:
    robot = account(run, "leaving@acme.test")
    client = Client(run.url)
    issued = client.login(robot)
    waiting = client.code(robot)
    run.operator.post("/people/leaving@acme.test/deactivate")
    assert ask(run.url, issued["access_token"]).status == 401
    assert client.refresh(issued["refresh_token"]).json["error"] == "invalid_grant"
    assert client.redeem(waiting).json["error"] == "invalid_grant"
    assert "Sign in" in robot.get("/account").words
    run.operator.post("/people/leaving@acme.test/reactivate")
    assert ask(run.url, issued["access_token"]).status == 401
    assert client.refresh(issued["refresh_token"]).json["error"] == "invalid_grant"
    assert sign_in(Robot(run.url), "leaving@acme.test").status == 403, "the password came back to life"


def test_a_client_with_a_secret_acts_for_its_owner(run: Running) -> None:
    run.person("owner@acme.test", "member")
    made = run.operator.post("/clients", {"name": "nightly", "confidential": True, "owner": "owner@acme.test"})
    client = Client(run.url)
    client.id, client.secret = made["client_id"], made["secret"]
    issued = client.token(grant_type="client_credentials", resource=f"{run.url}/mcp")
    assert issued.status == 200, issued.text
    assert "refresh_token" not in issued.json
    assert ask(run.url, issued.json["access_token"]).status == 200
    client.secret = "cgs_wrong"
    assert client.token(grant_type="client_credentials").status == 401
    client.secret = made["secret"]
    run.operator.post("/people/owner@acme.test/deactivate")
    assert ask(run.url, issued.json["access_token"]).status == 401
    assert client.token(grant_type="client_credentials").json["error"] == "invalid_grant"


def test_who_lets_a_client_only_read_is_asked_again_when_it_wants_more(run: Running, ana: Robot, shop: Shop) -> None:
    client = Client(run.url)
    client.register()
    page = ana.get(client.authorize_url())
    form = page.form()
    del form.values["write"]
    back = ana.post(form.action, {**form.values, "answer": "allow"}, follow=False)
    issued = client.redeem(back.query["code"]).json
    assert issued["scope"] == "mcp:read"
    read = ask(run.url, issued["access_token"], "tools/call", {"name": "shop__list_orders", "arguments": {}})
    assert read.status == 200, read.text
    assert "only read" not in read.text
    refused = ask(
        run.url, issued["access_token"], "tools/call", {"name": "shop__refund_order", "arguments": {"order_id": "A-1"}}
    )
    assert refused.status == 403
    challenge = refused.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="mcp:read mcp:write"' in challenge
    assert "/.well-known/oauth-protected-resource/mcp" in challenge
    more = client.login(ana, scope="mcp:read mcp:write")
    assert (
        ask(
            run.url,
            more["access_token"],
            "tools/call",
            {"name": "shop__refund_order", "arguments": {"order_id": "A-1"}},
        ).status
        == 200
    )


def test_a_resource_may_be_named_twice(run: Running, ana: Robot) -> None:
    """RFC 8707, section 2: the parameter may be repeated, at both endpoints."""
    client = Client(run.url)
    client.register()
    form = {
        "grant_type": "authorization_code", "client_id": client.id, "code": client.code(ana),
        "code_verifier": client.verifier,
    }  # fmt: skip
    twice = [*form.items(), ("resource", f"{run.url}/mcp"), ("resource", f"{run.url}/mcp")]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    page = Robot(run.url).request("POST", "/oauth/token", urlencode(twice).encode(), headers)
    assert page.status == 200, page.text


def test_two_processes_of_a_client_that_refresh_at_once_both_go_on(
    run: Running, ana: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share what they keep: whichever answer was written last is used, much later."""
    for kept in (0, 1):
        client = Client(run.url)
        first = client.login(ana)["refresh_token"]
        answers = [client.refresh(first).json for _ in range(2)]
        with monkeypatch.context() as later:
            later.setattr(authorizing, "GRACE_SECONDS", -1.0)
            after = client.refresh(answers[kept]["refresh_token"])
            assert after.status == 200, f"the answer number {kept}"
            other = client.refresh(answers[1 - kept]["refresh_token"])
            assert other.json["error"] == "invalid_grant", "two use what one was given: one of them stole it"
            assert ask(run.url, after.json["access_token"]).status == 401
