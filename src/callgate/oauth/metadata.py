"""What clients and receipts' readers have to know of this authorization server (RFC 8414, OpenID Connect Discovery)."""

from starlette.responses import JSONResponse, Response

from callgate.jose.tokens import ALGORITHMS
from callgate.model.oauth import SCOPES
from callgate.oauth.context import Authority
from callgate.store import providers
from callgate.web.site import Visit

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG_PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag"


async def server(authority: Authority, visit: Visit) -> Response:
    """RFC 8414, section 3.2."""
    return JSONResponse(await document(authority, visit), headers={"Cache-Control": "no-store"})


async def openid(authority: Authority, visit: Visit) -> Response:
    """The same under the name that OpenID clients look for; what they require is there, though no id token is."""
    more = {"subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["Ed25519"]}
    return JSONResponse({**await document(authority, visit), **more}, headers={"Cache-Control": "no-store"})


async def document(authority: Authority, visit: Visit) -> dict[str, object]:
    """The metadata. The issuer is the same text as in the protected-resource metadata."""
    issuer = visit.issuer
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        enterprise = any(one.config.id_jag for one in await providers.page(unit, limit=1000))
    found: dict[str, object] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "registration_endpoint": f"{issuer}/oauth/register",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [*grants, JWT_BEARER] if enterprise else grants,
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [
            "none", "client_secret_basic", "client_secret_post", "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": authority.reach.can,
    }  # fmt: skip
    if enterprise:
        found["authorization_grant_profiles_supported"] = [ID_JAG_PROFILE]
    return found


async def jwks(_: Authority, visit: Visit) -> Response:
    """The public key that receipts are signed with (RFC 7517)."""
    key = visit.site.envelope.receipt_key(visit.tenant)
    public = {**key.as_dict(private=False), "use": "sig", "alg": "Ed25519"}
    return JSONResponse({"keys": [public]}, headers={"Cache-Control": "no-store"})
