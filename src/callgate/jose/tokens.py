"""Checking and making signed tokens.

The algorithm is chosen by the list here and the type of the key, never by the token alone (RFC 8725, sections 3.1 and
3.2). Tokens of others never get to choose a symmetric algorithm: no key of ours is one they could know.
"""

import base64
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from callgate import clock

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
LEEWAY = 60.0
_LONGEST = 64 * 1024
Claims = dict[str, Any]


class WrongToken(Exception):
    """A token that is not believed."""


class KeySource(Protocol):
    """Who has the keys (`keys.Keys`)."""

    async def all(self, key_id: str | None = None) -> KeySet: ...


async def verified(
    token: str, keys: KeySource, *, issuer: str, audience: Collection[str], kind: str = ""
) -> Claims:  # fmt: skip
    """The claims of a token that `issuer` signed for one of `audience`. `kind` is the `typ` that it has to have.

    Raises `WrongToken`.
    """
    if len(token) > _LONGEST:
        raise WrongToken("it is too long")
    head = _head(token)
    if head.get("alg") not in ALGORITHMS:
        raise WrongToken("its algorithm is not one that is accepted")
    if kind and str(head.get("typ", "")).lower().removeprefix("application/") != kind:
        raise WrongToken(f"its type is not {kind}")
    key_id = head.get("kid")
    known = await keys.all(key_id if isinstance(key_id, str) else None)
    try:
        claims: Claims = _decoded(token, known)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise WrongToken("its signature is not the issuer's") from None
    try:
        _check(claims, issuer, audience)
    except OverflowError:
        raise WrongToken("its times are no times") from None
    return claims


def _decoded(token: str, known: KeySet) -> Claims:
    """The claims, if one of the keys signed them. A token without a key id is tried with each."""
    try:
        return dict(jwt.decode(token, known, algorithms=ALGORITHMS).claims)
    except (JoseError, ValueError, TypeError, KeyError):
        if "kid" in _head(token):
            raise
    for key in known.keys:
        try:
            return dict(jwt.decode(token, key, algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    raise ValueError


def unverified(token: str) -> Claims:
    """What a token says of itself, for finding the keys that it has to be verified with. Raises `WrongToken`."""
    return _part(token, 1)


def _part(token: str, number: int) -> Claims:
    try:
        text = token.split(".")[number]
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Claims)
    except (IndexError, ValueError, RecursionError, msgspec.DecodeError):
        raise WrongToken("it is no signed token") from None


def _head(token: str) -> Mapping[str, Any]:
    head = _part(token, 0)
    if "crit" in head:
        raise WrongToken("it asks for extensions that are not known here")
    return head


def _check(claims: Claims, issuer: str, audience: Collection[str]) -> None:
    """Issuer, audience and times (RFC 7519, section 4.1)."""
    now = clock.now()
    if claims.get("iss") != issuer:
        raise WrongToken("it is of another issuer")
    named = claims.get("aud")
    if not any(isinstance(one, str) and one in audience for one in (named if isinstance(named, list) else [named])):
        raise WrongToken("it is for somebody else")
    expires, since, issued = claims.get("exp"), claims.get("nbf", 0), claims.get("iat", 0)
    if not isinstance(expires, int | float) or expires + LEEWAY <= now:
        raise WrongToken("it is over")
    if not isinstance(since, int | float) or since - LEEWAY > now:
        raise WrongToken("it is not good yet")
    if not isinstance(issued, int | float) or issued - LEEWAY > now:
        raise WrongToken("it was issued in the future")


def signed(claims: Claims, key: Any, algorithm: str, kind: str = "JWT") -> str:
    """A token of ours. `key` is a private key of joserfc."""
    head = {"alg": algorithm, "typ": kind}
    if key.kid:
        head["kid"] = key.kid
    return jwt.encode(head, claims, key, algorithms=[algorithm])


def ed25519(private: bytes) -> OKPKey:
    """A signing key out of 32 bytes, with its thumbprint as id (RFC 8037, RFC 7638)."""
    pem = Ed25519PrivateKey.from_private_bytes(private).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = OKPKey.import_key(pem)
    key.ensure_kid()
    return key
