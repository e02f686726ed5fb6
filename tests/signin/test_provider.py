"""Signing in at a real OpenID provider (oidc-provider): people, groups, attacks, signing out."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from callgate import clock
from callgate.errors import Refused
from callgate.identity import leaving
from callgate.jose.keys import Keys
from tests.support.openid import Provider, free_port, hs256, open_provider
from tests.support.robot import Page, Robot
from tests.support.running import Running, on_each
from tests.support.signing_in import Client, ask

ACCOUNTS: dict[str, dict[str, Any]] = {
    "ana": {"email": "ana@acme.test", "email_verified": True, "groups": ["mcp-admins", "sre"]},
    "ben": {"email": "ben@acme.test", "email_verified": True, "groups": ["sre", "other"]},
    "eve": {"email": "ana@acme.test", "email_verified": False, "groups": ["mcp-admins"]},
    "mal": {"email": "mal@evil.test", "email_verified": True, "groups": ["mcp-admins"]},
}
SCOPES = ["openid", "email", "profile", "groups"]
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Provider]]:
    with on_each(request, tmp_path_factory) as run:
        port = free_port()
        client = {
            "client_id": "callgate", "client_secret": "a secret of the provider",
            "redirect_uris": [f"{run.url}/signin/callback"], "post_logout_redirect_uris": [f"{run.url}/signin"],
            "backchannel_logout_uri": f"{run.url}/signin/backchannel/acme",
        }  # fmt: skip
        with open_provider(ACCOUNTS, port, clients=[client]) as provider:
            configure(run, provider)
            yield run, provider


def configure(run: Running, provider: Provider, **more: Any) -> None:
    body = {
        "issuer": provider.issuer, "client_id": "callgate", "secret": "a secret of the provider", "scopes": SCOPES,
        "domains": ["acme.test"], "roles": {"mcp-admins": "admin"}, "teams": {"sre": "site-reliability"},
        "allow_private": True, **more,
    }  # fmt: skip
    shown = run.operator.put("/providers/acme", body)
    assert shown["has_secret"] is True
    assert "a secret" not in str(shown)


def come(run: Running, provider: Provider, login: str, robot: Robot | None = None) -> tuple[Robot, Page]:
    """Through the sign-in page to the provider and back."""
    robot = robot or Robot(run.url)
    page = robot.get("/signin")
    assert "Sign in with acme" in page.words
    return robot, provider.sign_in(robot, robot.get("/signin/with/acme"), login)


def person(run: Running, email: str) -> dict[str, Any]:
    found: dict[str, Any] = run.operator.get(f"/people/{email}")
    return found


def test_somebody_new_comes_with_their_groups(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    robot, page = come(run, provider, "ana")
    assert "ana@acme.test" in page.words
    assert person(run, "ana@acme.test")["roles"] == ["admin", "member"]
    assert person(run, "ana@acme.test")["teams"] == ["site-reliability"]
    issued = Client(run.url).login(robot)
    assert ask(run.url, issued["access_token"]).status == 200


def test_groups_that_are_taken_away_are_gone_at_the_next_sign_in(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    come(run, provider, "ben")
    run.operator.patch(
        "/people/ben@acme.test", {"roles": ["admin", "member"], "teams": ["by-hand", "site-reliability"]}
    )
    configure(run, provider, teams={"other": "others", "nobody": "site-reliability"})
    come(run, provider, "ben")
    assert person(run, "ben@acme.test")["roles"] == ["member"]
    assert person(run, "ben@acme.test")["teams"] == ["by-hand", "others"], "teams given by hand stay"
    configure(run, provider)


def test_an_address_has_to_be_verified_and_of_a_domain_of_theirs(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    for login, why in (("eve", "does not say that"), ("mal", "not of a domain")):
        robot, page = come(run, provider, login)
        assert page.status == 403
        assert why in page.words
        assert "Sign in" in robot.get("/account").words
    assert not [one for one in run.operator.get("/people")["items"] if one["email"] == "mal@evil.test"]


def test_nobody_is_added_where_only_known_people_may_come(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    configure(run, provider, domains=["evil.test"], just_in_time=False)
    _, page = come(run, provider, "mal")
    assert "not known here yet" in page.words
    configure(run, provider)


def test_a_deactivated_person_stays_out(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    come(run, provider, "ben")
    run.operator.post("/people/ben@acme.test/deactivate")
    _, page = come(run, provider, "ben")
    assert page.status == 401
    assert "deactivated" in page.words
    run.operator.post("/people/ben@acme.test/reactivate")


def test_an_answer_in_another_browser_signs_nobody_in(lab: tuple[Running, Provider]) -> None:
    """Login CSRF: the attacker's answer in the victim's browser."""
    run, provider = lab
    attacker, victim = Robot(run.url), Robot(run.url)
    page = attacker.get("/signin/with/acme")
    back = provider.sign_in(attacker, page, "ben", follow=False)
    while not back.location.startswith(run.url):
        back = attacker.get(back.location, follow=False)
    for robot in (victim, come_halfway(run)):
        done = robot.get(back.location)
        assert done.status == 403
        assert robot.cookie("callgate-session") is None
    changed = back.location.replace("state=", "state=x")
    assert attacker.get(changed).status == 403
    other = back.location.replace("iss=", "iss=https%3A%2F%2Fevil.test%2F")
    assert "another provider" in attacker.get(other).words


def come_halfway(run: Running) -> Robot:
    robot = Robot(run.url)
    robot.get("/signin/with/acme")
    return robot


def test_two_tabs_may_sign_in_at_the_same_time(lab: tuple[Running, Provider]) -> None:
    """Two programs that connect each open a tab; the one that was opened first is not the poorer for it."""
    run, provider = lab
    robot = Robot(run.url)
    away = [robot.get("/signin/with/acme", follow=False).location for _ in range(2)]
    for location in away:
        tab = Robot(provider.issuer)  # what a provider's cookies are bound to differs by tab
        back = provider.sign_in(tab, tab.get(location), "ben", follow=False)
        while not back.location.startswith(run.url):
            back = tab.get(back.location, follow=False)
        assert "ben@acme.test" in robot.get(back.location).words
    assert not [name for name in robot.jar[run.url.partition("://")[2]] if "sign-in" in name], "nothing is left"


def test_a_long_way_back_fits_into_what_browsers_keep(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    robot = Robot(run.url)
    client = "/account?state=" + "s" * 6000
    begun = robot.get(f"/signin/with/acme?next={quote(client, safe='')}", follow=False)
    for line in begun.headers.get_all("set-cookie") or []:
        name, _, rest = line.partition("=")
        assert len(name) + len(rest.partition(";")[0]) <= 4000, "browsers keep 4,096 bytes"
    tab = Robot(provider.issuer)
    back = provider.sign_in(tab, tab.get(begun.location), "ben", follow=False)
    while not back.location.startswith(run.url):
        back = tab.get(back.location, follow=False)
    assert robot.get(back.location, follow=False).location == run.url + client
    assert not [name for name in robot.jar[run.url.partition("://")[2]] if "sign-in" in name], "nothing is left"


def test_a_provider_that_asks_nothing_proves_nothing_anew(lab: tuple[Running, Provider]) -> None:
    """Whoever sits at the browser comes back from the provider, who knows it, without a word."""
    run, provider = lab
    robot, _ = come(run, provider, "ben")
    assert "ben@acme.test" in robot.get("/signin/with/acme").words
    assert robot.script("/account/passkeys/options", {}).status == 403
    assert "sign in again" in robot.get("/account").words
    page = robot.get("/signin/with/acme?again=yes")
    assert "ben@acme.test" not in page.words, "the provider asks"
    assert "ben@acme.test" in provider.sign_in(robot, page, "ben").words
    assert robot.script("/account/passkeys/options", {}).status == 200


def test_signing_out_here_signs_out_there(lab: tuple[Running, Provider]) -> None:
    run, provider = lab
    robot, _ = come(run, provider, "ana")
    away = robot.submit(robot.get("/account"), -1, follow=False)
    assert away.location.startswith(f"{provider.issuer}/session/end")
    assert "Sign in" in robot.get("/account").words


def logout_claims(provider: Provider) -> dict[str, Any]:
    now = int(clock.now())
    return {
        "iss": provider.issuer, "aud": "callgate", "iat": now, "exp": now + 120, "jti": clock.random_urlsafe(8),
        "sub": "ana", "events": {EVENT: {}},
    }  # fmt: skip


def test_only_the_provider_itself_signs_people_out(lab: tuple[Running, Provider]) -> None:
    """Forged, confused and foreign logout tokens."""
    run, provider = lab
    robot, _ = come(run, provider, "ana")
    forged = jwt.encode({"alg": "RS256", "typ": "logout+jwt"}, logout_claims(provider), RSAKey.generate_key(2048))
    public = provider.keys().keys[0]
    assert isinstance(public, RSAKey)
    confused = hs256(logout_claims(provider), public.as_pem(private=False))
    unsigned = f"eyJhbGciOiJub25lIn0.{forged.split('.')[1]}."
    tokens = ["nonsense", "", "a.b.c", forged, confused, unsigned]
    for token in tokens:
        page = Robot(run.url).post("/signin/backchannel/acme", {"logout_token": token})
        assert page.status == 400, "Back-Channel Logout 1.0, section 2.8"
    assert "ana@acme.test" in robot.get("/account").words


def test_a_logout_that_failed_may_be_told_again(lab: tuple[Running, Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    run, provider = lab
    key = RSAKey.generate_key(2048, {"kid": "ours"})

    async def keys(*_: object) -> KeySet:
        return KeySet([key])

    async def away(*_: object, **__: object) -> None:
        raise Refused("store_unavailable")

    monkeypatch.setattr(Keys, "all", keys)
    token = jwt.encode({"alg": "RS256", "typ": "logout+jwt"}, logout_claims(provider), key)
    robot = Robot(run.url)
    with monkeypatch.context() as broken:
        broken.setattr(leaving, "end_access", away)
        assert robot.post("/signin/backchannel/acme", {"logout_token": token}).status == 503
    assert robot.post("/signin/backchannel/acme", {"logout_token": token}).status == 200
    assert robot.post("/signin/backchannel/acme", {"logout_token": token}).status == 409, "good once"
    without = jwt.encode({"alg": "RS256"}, {**logout_claims(provider), "jti": None}, key)
    assert robot.post("/signin/backchannel/acme", {"logout_token": without}).status == 400


def test_the_providers_back_channel_ends_sessions_and_clients(lab: tuple[Running, Provider]) -> None:
    """The real provider tells us when its session ends; what an admin issued by hand stays."""
    run, provider = lab
    robot, _ = come(run, provider, "ana")
    issued = Client(run.url).login(robot)
    by_hand = run.operator.post("/tokens", {"person": "ana@acme.test"})["token"]
    assert ask(run.url, issued["access_token"]).status == 200
    page = robot.get(f"{provider.issuer}/session/end")
    robot.submit(page, logout="yes")
    provider.process.wait_line(lambda line: line.startswith("backchannel: told"))
    assert "Sign in" in robot.get("/account").words
    assert ask(run.url, issued["access_token"]).status == 401
    assert ask(run.url, by_hand).status == 200
    assert person(run, "ana@acme.test")["active"] is True
