"""Identity assertions (ID-JAG) and signed client assertions: accepted to the letter, once, and from nobody else."""

import json
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from callgate import clock
from tests.support.openid import hs256
from tests.support.robot import Page, Robot
from tests.support.running import Running, on_each
from tests.support.signing_in import Client, ask
from tests.support.website import Answer, Website

KEY, OTHER = RSAKey.generate_key(2048, {"kid": "one"}), RSAKey.generate_key(2048, {"kid": "one"})
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Idp(Website):
    """A company's identity provider, as far as this needs one: metadata and keys. It signs by `signed`."""

    @property
    def issuer(self) -> str:
        return self.url

    def answer(self, path: str, headers: Message, body: bytes) -> Answer:
        del headers, body
        return 200, json.dumps(self.pages()[path]).encode(), {}

    def pages(self) -> dict[str, object]:
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/a",
                "token_endpoint": f"{self.issuer}/t", "jwks_uri": f"{self.issuer}/jwks",
            },
            "/jwks": {"keys": [KEY.as_dict(private=False)]},
        }  # fmt: skip


@pytest.fixture(scope="module")
def idp() -> Iterator[Idp]:
    with Idp() as found:
        yield found


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, idp: Idp) -> Iterator[Running]:
    with on_each(request, tmp_path_factory, client_documents="off") as found:
        body = {"issuer": idp.issuer, "client_id": "x", "domains": ["acme.test"], "allow_private": True, "id_jag": True}
        found.operator.put("/providers/acme", body)
        yield found


@pytest.fixture(scope="module")
def client(run: Running) -> Client:
    made = run.operator.post("/clients", {"name": "assistant", "confidential": True})
    found = Client(run.url)
    found.id, found.secret = made["client_id"], made["secret"]
    return found


def claims(run: Running, idp: Idp, client: Client, **more: Any) -> dict[str, Any]:
    now = int(clock.now())
    found = {
        "iss": idp.issuer, "sub": "u1", "aud": run.url, "client_id": client.id, "resource": f"{run.url}/mcp",
        "email": "ana@acme.test", "email_verified": True, "iat": now, "exp": now + 300,
        "jti": clock.random_urlsafe(12), "scope": "mcp:read", **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def signed(body: dict[str, Any], key: RSAKey = KEY, kind: str = "oauth-id-jag+jwt") -> str:
    return jwt.encode({"alg": "RS256", "typ": kind, "kid": "one"}, body, key)


def send(client: Client, assertion: str) -> Page:
    return client.token(grant_type=JWT_BEARER, assertion=assertion)


def test_a_company_vouches_for_a_person(run: Running, idp: Idp, client: Client) -> None:
    metadata = Robot(run.url).get("/.well-known/oauth-authorization-server").json
    assert metadata["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
    assert JWT_BEARER in metadata["grant_types_supported"]
    assertion = signed(claims(run, idp, client))
    issued = send(client, assertion)
    assert issued.status == 200, issued.text
    assert issued.json["scope"] == "mcp:read"
    assert "refresh_token" not in issued.json
    assert ask(run.url, issued.json["access_token"]).status == 200
    assert run.operator.get("/people/ana@acme.test")["active"] is True
    again = send(client, assertion)
    assert again.json["error"] == "invalid_grant", "an assertion is good once"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"aud": "https://elsewhere.test"}, "somebody else"), ({"client_id": "cli_other"}, "another client"),
        ({"client_id": None}, "another client"), ({"resource": "https://elsewhere.test/mcp"}, "none of this gateway"),
        ({"exp": 1}, "over"), ({"jti": None}, "jti"), ({"iss": "https://evil.test"}, "not accepted here"),
        ({"sub": "u9", "email": "x@evil.test"}, "domain"), ({"sub": "u8", "email_verified": False}, "verified"),
        ({"exp": 9_999_999_999}, "too long"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(run: Running, idp: Idp, client: Client, more: dict[str, Any], why: str) -> None:
    page = send(client, signed(claims(run, idp, client, **more)))
    assert page.status == 400
    assert page.json["error"] in ("invalid_grant", "invalid_target")
    assert why in page.json["error_description"]


def test_a_client_gets_no_more_than_the_assertion_says(run: Running, idp: Idp, client: Client) -> None:
    more = client.token(grant_type=JWT_BEARER, assertion=signed(claims(run, idp, client)), scope="mcp:write")
    assert more.status == 400, more.text
    assert more.json["error"] == "invalid_scope"
    foreign = client.token(grant_type=JWT_BEARER, assertion=signed(claims(run, idp, client, scope="openid")))
    assert foreign.json["error"] == "invalid_scope"


def test_forged_assertions_are_refused(run: Running, idp: Idp, client: Client) -> None:
    body = claims(run, idp, client)
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtaWQtamFnK2p3dCJ9.{signed(body).split('.')[1]}."
    for wrong in (signed(body, OTHER), signed(body, kind="JWT"), hs256(body, KEY.as_pem(private=False)), unsigned, "x"):
        assert send(client, wrong).json["error"] == "invalid_grant"
    stranger = Client(run.url)
    stranger.register()
    assert send(stranger, signed(body)).json["error"] == "invalid_grant", "made for another client"


def test_a_provider_that_was_not_told_to_vouch_does_not(run: Running, idp: Idp, client: Client) -> None:
    body = {"issuer": idp.issuer, "client_id": "x", "domains": ["acme.test"], "allow_private": True}
    run.operator.put("/providers/acme", body)
    assert "not accepted here" in send(client, signed(claims(run, idp, client))).json["error_description"]
    run.operator.put("/providers/acme", {**body, "id_jag": True})


def test_a_program_proves_itself_with_its_key(run: Running) -> None:
    run.person("robot-owner@acme.test", "member")
    keys = {"keys": [KEY.as_dict(private=False)]}
    made = run.operator.post("/clients", {"name": "signer", "jwks": keys, "owner": "robot-owner@acme.test"})
    program = Client(run.url)
    program.id = made["client_id"]

    def proof(key: RSAKey = KEY, **more: Any) -> dict[str, str]:
        now = int(clock.now())
        body = {"iss": program.id, "sub": program.id, "aud": run.url, "iat": now, "exp": now + 60,
                "jti": clock.random_urlsafe(12), **more}  # fmt: skip
        return {"client_assertion_type": ASSERTION, "client_assertion": signed(body, key, "JWT")}

    given = proof()
    issued = program.token(grant_type="client_credentials", **given)
    assert issued.status == 200, issued.text
    assert ask(run.url, issued.json["access_token"]).status == 200
    assert program.token(grant_type="client_credentials", **given).status == 401, "used before"
    for wrong in (proof(OTHER), proof(aud="https://elsewhere.test"), proof(sub="other"), proof(exp=1), {}):
        assert program.token(grant_type="client_credentials", **wrong).status == 401
