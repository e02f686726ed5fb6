"""Whose a signed token is: the algorithm, the key, the issuer, the audience and the times, each attacked."""

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from callgate import clock
from callgate.jose.tokens import WrongToken, ed25519, signed, verified
from tests.support.openid import hs256

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ISSUER, AUDIENCE = "https://idp.test", "callgate"


class Source:
    """The keys of the issuer."""

    def __init__(self, *keys: Any) -> None:
        self.keys = KeySet([type(key).import_key(key.as_dict(private=False)) for key in keys])

    async def all(self, key_id: str | None = None) -> KeySet:
        return self.keys


def claims(**more: Any) -> dict[str, Any]:
    now = int(clock.now())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "iat": now, "exp": now + 300, **more}
    return {name: value for name, value in found.items() if value is not None}


async def check(token: str, *keys: Any, kind: str = "") -> dict[str, Any]:
    return await verified(token, Source(*(keys or (RSA, EC))), issuer=ISSUER, audience={AUDIENCE}, kind=kind)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256")])
async def test_the_issuers_own_tokens_are_believed(key: Any, algorithm: str) -> None:
    assert (await check(signed(claims(), key, algorithm)))["sub"] == "ana"
    assert (await check(signed(claims(aud=["other", AUDIENCE]), key, algorithm)))["sub"] == "ana"


async def test_a_key_without_an_id_is_found_by_trying() -> None:
    bare = RSAKey.import_key({key: value for key, value in RSA.as_dict(private=True).items() if key != "kid"})
    token = jwt.encode({"alg": "RS256"}, claims(), bare)
    assert (await check(token, EC, RSA))["sub"] == "ana"


def none_token() -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).decode().rstrip("=")
    return f"{head}.{body}."


async def test_no_algorithm_is_accepted_that_the_token_chose() -> None:
    confused = hs256(claims(), RSA.as_pem(private=False))
    for token in (none_token(), confused, none_token().replace("none", "NONE")):
        with pytest.raises(WrongToken, match=r"algorithm|signed"):
            await check(token)


async def test_other_keys_sign_for_themselves_alone() -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"})
    with pytest.raises(WrongToken, match="signature"):
        await check(signed(claims(), stranger, "RS256"))
    token = signed(claims(), RSA, "RS256")
    head, body, signature = token.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="boss")).encode()).decode().rstrip("=")
    for changed in (f"{head}.{forged}.{signature}", f"{head}.{body}.", f"{head}.{body}", "", "a.b.c", "x" * 70_000):
        with pytest.raises(WrongToken):
            await check(changed)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"iss": "https://evil.test"}, "issuer"), ({"iss": None}, "issuer"), ({"aud": "other"}, "somebody else"),
        ({"aud": None}, "somebody else"), ({"aud": []}, "somebody else"), ({"exp": 1}, "over"),
        ({"exp": None}, "over"), ({"exp": "soon"}, "over"), ({"nbf": 9_999_999_999}, "not good yet"),
        ({"iat": 9_999_999_999}, "future"), ({"aud": [{}]}, "somebody else"), ({"aud": 5}, "somebody else"),
        ({"exp": 10**400}, "no times"),
    ],
)  # fmt: skip
async def test_claims_have_to_fit(more: dict[str, Any], why: str) -> None:
    with pytest.raises(WrongToken, match=why):
        await check(signed(claims(**more), RSA, "RS256"))


async def test_a_type_that_is_asked_for_has_to_be_there() -> None:
    with pytest.raises(WrongToken, match="type"):
        await check(signed(claims(), RSA, "RS256"), kind="oauth-id-jag+jwt")
    assert await check(signed(claims(), RSA, "RS256", "oauth-id-jag+jwt"), kind="oauth-id-jag+jwt")


async def test_extensions_that_nobody_knows_are_refused() -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","crit":["x"],"x":1}').decode().rstrip("=")
    with pytest.raises(WrongToken, match="extensions"):
        await check(f"{head}.{signed(claims(), RSA, 'RS256').split('.', 1)[1]}")


async def test_our_own_signature_is_checked_by_the_published_key() -> None:
    key = ed25519(bytes(range(32)))
    assert (await check(signed(claims(), key, "Ed25519"), key))["sub"] == "ana"
    assert "d" not in key.as_dict(private=False)
