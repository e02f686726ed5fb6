"""Who the gateway is towards a vendor: entered or registered, and how it proves that."""

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from callgate.credentials.discovery import discover, metadata_of
from callgate.credentials.registering import Credentials, algorithm_of, entered, private_key, proof, register
from callgate.credentials.vendor import Server, Vendor
from callgate.errors import Refused
from callgate.model.upstream import Auth, Upstream
from tests.support.vendors import ISSUER, METADATA, Vendors

LASTING = ["read", "offline_access"]

MADE: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def pem(algorithm: str) -> str:
    form = serialization.PrivateFormat.PKCS8
    return MADE[algorithm].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.mark.parametrize("algorithm", MADE)
def test_a_pem_key_signs_with_the_algorithm_of_its_kind(algorithm: str) -> None:
    key = private_key(pem(algorithm))
    assert algorithm_of(key) == algorithm
    server = Server("https://vendor.test")
    fields, headers = proof(Credentials("callgate", "private_key_jwt", pem(algorithm)), server)
    told = jwt.decode(fields["client_assertion"], key, algorithms=[algorithm])
    assert told.claims["aud"] == "https://vendor.test"
    assert (told.claims["iss"], told.claims["sub"], headers) == ("callgate", "callgate", {})


@pytest.mark.parametrize("kind", [RSAKey, ECKey])
def test_a_jwk_is_taken_as_well(kind: type[RSAKey] | type[ECKey]) -> None:
    made = RSAKey.generate_key(2048) if kind is RSAKey else ECKey.generate_key("P-256")
    assert isinstance(private_key(json.dumps(made.as_dict(private=True))), kind)


@pytest.mark.parametrize("text", ["", "hunter2", "{", '{"kty":"RSA"}', '{"kty":7}', "-----BEGIN PRIVATE KEY-----\nx"])
def test_what_is_no_private_key_is_said(text: str) -> None:
    with pytest.raises(Refused, match="neither PEM nor JWK") as caught:
        private_key(text)
    assert text not in caught.value.sentence or not text


def test_each_way_to_prove_oneself_puts_the_secret_in_one_place() -> None:
    server = Server("https://vendor.test")
    ways = {
        method: proof(Credentials("callgate", method, "hush"), server)
        for method in ("none", "client_secret_post", "client_secret_basic")
    }
    assert ways["none"] == ({"client_id": "callgate"}, {})
    assert ways["client_secret_post"] == ({"client_id": "callgate", "client_secret": "hush"}, {})
    assert ways["client_secret_basic"] == ({}, {"authorization": "Basic Y2FsbGdhdGU6aHVzaA=="})


UPSTREAM = Upstream("ups_1", "default", "shop", "http", url="https://shop.test/mcp", auth_mode="on_behalf_of")


@pytest.mark.parametrize(
    ("kind", "secret", "supported", "method"),
    [
        ("private_key_jwt", "pem", (), "private_key_jwt"),
        ("secret", "", ("client_secret_basic",), "none"),
        ("secret", "s", ("client_secret_basic", "client_secret_post"), "client_secret_basic"),
        ("secret", "s", ("client_secret_post",), "client_secret_post"),
        ("secret", "s", (), "client_secret_basic"),
    ],
)
def test_an_entered_client_proves_itself_as_the_vendor_likes(
    kind: str, secret: str, supported: tuple[str, ...], method: str
) -> None:
    upstream = msgspec.structs.replace(UPSTREAM, auth=Auth(kind=kind, client_id="mine"))
    found = entered(upstream, Server("https://vendor.test", token_endpoint_auth_methods_supported=supported), secret)
    assert (found.client_id, found.method, found.secret) == ("mine", method, secret)


@pytest.mark.parametrize(
    ("answer", "scope", "method", "over"),
    [
        ((201, {"client_id": "c"}), "", "none", None),
        ((201, {"client_id": "c", "client_secret": "s"}), "read", "client_secret_basic", None),
        (
            (200, {"client_id": "c", "client_secret": "s", "client_secret_expires_at": 99}),
            "read",
            "client_secret_basic",
            99,
        ),
        ((201, {"client_id": "c", "token_endpoint_auth_method": "client_secret_post"}), "", "client_secret_post", None),
    ],
)
async def test_what_registers_us_is_kept(answer: tuple[int, Any], scope: str, method: str, over: float | None) -> None:
    vendors = Vendors()
    vendors.put("https://vendor.test/register", *answer)
    server = Server("https://vendor.test", registration_endpoint="https://vendor.test/register")
    found, until = await register(Vendor(vendors, (), UPSTREAM), server, "https://gate.test/back", scope)
    assert (found.client_id, found.method, until) == ("c", method, over)
    document = vendors.asked[-1][1]
    assert (document.get("scope", ""), document["redirect_uris"]) == (scope, ["https://gate.test/back"])
    assert document["application_type"] == "web"


@pytest.mark.parametrize("answer", [(403, {"error": "no"}), (201, {"client_secret": "s"}), (201, b"<html>")])
async def test_what_does_not_register_us_is_said(answer: tuple[int, Any]) -> None:
    vendors = Vendors()
    vendors.put("https://vendor.test/register", *answer)
    vendor = Vendor(vendors, (), UPSTREAM)
    server = Server("https://vendor.test", registration_endpoint="https://vendor.test/register")
    with pytest.raises(Refused, match=f"did not register us \\(status {answer[0]}\\)"):
        await register(vendor, server, "http://127.0.0.1:8787/back", "")
    assert vendors.asked[-1][1]["application_type"] == "native"
    with pytest.raises(Refused, match="lets nobody register") as caught:
        await register(vendor, Server("https://vendor.test"), "https://gate.test/back", "")
    assert "https://gate.test/back" in caught.value.sentence


async def test_an_issuer_without_metadata_is_none() -> None:
    vendors = Vendors()
    with pytest.raises(Refused, match="publishes no metadata"):
        await metadata_of(Vendor(vendors, (), UPSTREAM), "https://nobody.test/tenant")
    assert len(vendors.asked) == 3, "RFC 8414, and OpenID Connect in front of the path and behind it"


async def test_what_lasts_is_asked_for_where_the_vendor_knows_it() -> None:
    vendors = Vendors()
    vendors.put(f"{ISSUER}/.well-known/oauth-authorization-server", 200, {**METADATA, "scopes_supported": LASTING})
    wanting = msgspec.structs.replace(UPSTREAM, auth=Auth(scopes=("read",)))
    for upstream, needs, scope in (
        (wanting, "", "read offline_access"),
        (UPSTREAM, "", ""),
        (UPSTREAM, "w", f"w {LASTING[1]}"),
    ):
        assert (await discover(Vendor(vendors, (), upstream), upstream, needs)).scope == scope
