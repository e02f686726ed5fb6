"""What a provider says of itself and of people, where it must not be believed: each with the reason."""

from typing import Any

import pytest
from joserfc.jwk import RSAKey

from callgate import clock
from callgate.errors import Refused
from callgate.identity.oidc import Directory
from callgate.jose.tokens import WrongToken, signed
from callgate.model.signin import Provider, ProviderConfig
from tests.support.vendors import Vendors

ISSUER = "https://idp.test"
PLACE = f"{ISSUER}/.well-known/openid-configuration"
METADATA = {
    "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}  # fmt: skip
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
PROVIDER = Provider("idp_1", "default", "acme", ProviderConfig(ISSUER, "callgate"))
CODE = {"code": "c", "code_verifier": "v", "redirect_uri": "https://gate.test/back"}


@pytest.fixture
def idp() -> Vendors:
    found = Vendors()
    found.put(PLACE, 200, METADATA)
    found.put(f"{ISSUER}/jwks", 200, {"keys": [KEY.as_dict(private=False)]})
    found.put(f"{ISSUER}/token", 200, {"id_token": "x", "access_token": "y"})
    return found


def token(**claims: Any) -> str:
    now = int(clock.now())
    usual = {"iss": ISSUER, "aud": "callgate", "sub": "ana", "iat": now, "exp": now + 60, "nonce": "n"}
    return signed({**usual, **claims}, KEY, "RS256")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"", "answered with status 404"),
        (200, b"<html>", "not what a provider publishes"),
        (200, b"[" * 100_000, "not what a provider publishes"),
        (200, {"issuer": ISSUER}, "not what a provider publishes"),
        (200, {**METADATA, "issuer": "https://other.test"}, "another issuer"),
    ],
)
async def test_metadata_that_does_not_fit_lets_nobody_in(idp: Vendors, status: int, body: Any, words: str) -> None:
    idp.put(PLACE, status, body)
    directory = Directory(idp, ())
    with pytest.raises(Refused, match=words):
        await directory.metadata(PROVIDER)
    with pytest.raises(WrongToken, match=words):
        await directory.keys(PROVIDER)
    idp.put(PLACE, 200, METADATA)
    assert (await directory.metadata(PROVIDER)).issuer == ISSUER, "what was wrong is not kept"


async def test_metadata_is_asked_for_once(idp: Vendors) -> None:
    directory = Directory(idp, ())
    for _ in range(3):
        await directory.metadata(PROVIDER)
    assert [url for url, _ in idp.asked] == [PLACE]


@pytest.mark.parametrize(
    ("status", "body"), [(400, {"error": "invalid_grant"}), (200, b"<html>"), (200, {"access_token": "y"})]
)
async def test_an_answer_without_an_identity_is_none(idp: Vendors, status: int, body: Any) -> None:
    idp.put(f"{ISSUER}/token", status, body)
    with pytest.raises(Refused, match=f"gave no identity \\(status {status}\\)"):
        await Directory(idp, ()).redeem(PROVIDER, "secret", CODE)


@pytest.mark.parametrize("secret", ["", "secret"])
async def test_a_secret_goes_where_the_provider_wants_it(idp: Vendors, secret: str) -> None:
    idp.put(PLACE, 200, {**METADATA, "token_endpoint_auth_methods_supported": ["client_secret_post"]})
    assert (await Directory(idp, ()).redeem(PROVIDER, secret, CODE))["id_token"] == "x"
    form = idp.asked[-1][1]
    assert (form["client_id"], form.get("client_secret", "")) == ("callgate", secret)


async def test_an_identity_of_this_sign_in_is_taken(idp: Vendors) -> None:
    for claims in ({}, {"azp": "callgate"}, {"aud": ["callgate", "other"], "azp": "callgate"}):
        assert (await Directory(idp, ()).identity(PROVIDER, token(**claims), "n"))["sub"] == "ana"


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": "other"}, "of another sign-in"),
        ({"azp": "other"}, "for another client"),
        ({"aud": ["callgate", "other"]}, "for another client"),
        ({"aud": "other"}, "not good"),
        ({"iss": "https://other.test"}, "not good"),
    ],
)
async def test_an_identity_of_something_else_is_not(idp: Vendors, claims: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        await Directory(idp, ()).identity(PROVIDER, token(**claims), "n")
