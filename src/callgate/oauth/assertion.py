"""Identity assertions (ID-JAG): a company's identity provider vouches for a person towards this gateway.

Source: MCP extension "Enterprise-Managed Authorization", draft-ietf-oauth-identity-assertion-authz-grant, RFC 7523.
Fail closed: an issuer that no admin configured for this, another audience, another client, another resource, or an
assertion that came before: `invalid_grant`.
"""

from callgate.errors import Refused
from callgate.identity import arriving
from callgate.jose.tokens import Claims, WrongToken, unverified, verified
from callgate.model.oauth import OAuthClient
from callgate.model.signin import Provider
from callgate.oauth.clients import used_once
from callgate.oauth.context import resource_of
from callgate.oauth.faults import OAuthError, invalid_grant
from callgate.store import providers
from callgate.web.site import Visit

KIND = "oauth-id-jag+jwt"


async def person_of(visit: Visit, assertion: str, client: OAuthClient) -> tuple[str, tuple[str, ...]]:
    """Row id of the person that an assertion speaks of, and the scopes that it names. Raises `OAuthError`."""
    provider = await _provider(visit, assertion)
    try:
        keys = await visit.site.directory.keys(provider)
        claims = await verified(
            assertion, keys, issuer=provider.config.issuer, audience={visit.issuer, f"{visit.issuer}/"}, kind=KIND
        )
    except WrongToken as wrong:
        raise invalid_grant(f"The assertion is not good: {wrong}.") from None
    if claims.get("client_id") != client.client_id:
        raise invalid_grant("The assertion was made for another client.")
    named = claims.get("resource")
    for one in [named] if isinstance(named, str) else named or [""]:
        resource_of(visit, str(one))
    try:
        await used_once(visit, "id-jag", claims)
    except OAuthError as error:
        raise invalid_grant(error.sentence) from None
    scope = claims.get("scope", "")
    return await _person(visit, provider, claims), tuple(str(scope).split())


async def _provider(visit: Visit, assertion: str) -> Provider:
    try:
        issuer = unverified(assertion).get("iss")
    except WrongToken:
        raise invalid_grant("The assertion is no signed token.") from None
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        for one in await providers.page(unit, limit=1000):
            if one.config.id_jag and one.config.issuer == issuer:
                return one
    raise invalid_grant("The assertion is of an issuer that is not accepted here.")


async def _person(visit: Visit, provider: Provider, claims: Claims) -> str:
    try:
        async with visit.site.db.unit(visit.tenant) as unit:
            person = await arriving.arrive(unit, provider, claims, signed_in=False)
    except Refused as refused:
        raise invalid_grant(refused.sentence) from None
    await visit.site.seen(visit.tenant)
    return person.id
