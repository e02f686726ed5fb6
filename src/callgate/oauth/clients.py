"""Who a client is: found by its id, and proven where it has something to prove itself with.

Fail closed: an unknown client, a wrong secret, an assertion that is forged, foreign, over or used before: refused with
`invalid_client`. A client that has a secret or a key is never taken without it.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import unquote_plus

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import throttle
from callgate.identity.once import once
from callgate.jose.tokens import WrongToken, unverified, verified
from callgate.model.oauth import DOCUMENT, OAuthClient
from callgate.oauth import documents
from callgate.oauth.faults import OAuthError, invalid_client
from callgate.store import oauth
from callgate.web.site import Visit

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, section 2.2
_ASSERTION_SECONDS = 600.0
_DOCUMENTS = 120  # an hour and network
MOST_UNUSED = 20_000


async def find(visit: Visit, client_id: str) -> OAuthClient | None:
    """The client of an id. Raises `OAuthError("invalid_client")` for a document that cannot be used."""
    if "\x00" in client_id:  # which the store does not take
        return None
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        known = await oauth.client(unit, client_id)
    if not documents.is_document_url(client_id) or (known is not None and known.kind != DOCUMENT):
        return known
    age = clock.now() - known.checked if known is not None else documents.STALE
    if known is not None and (known.pinned or age < documents.FRESH):
        return known
    if visit.site.settings.client_documents == "off":
        raise invalid_client("This gateway takes no client metadata documents; register the client.")
    if known is None:
        await _one_more(visit)
    try:
        facts = await documents.fetch(visit.site.client, visit.site.settings, client_id)
    except OAuthError:
        if known is not None and age < documents.STALE:
            return known
        raise
    async with visit.site.db.unit(visit.tenant) as unit:
        if not await oauth.put_facts(unit, client_id, facts, clock.now()):
            await oauth.put_client(unit, documents.client_of(visit.tenant, client_id, facts))
        return await oauth.client(unit, client_id)


async def _one_more(visit: Visit) -> None:
    """Whoever may reach the gateway may have it fetch a document: bounded by network, and by number."""
    async with visit.site.db.unit(visit.tenant) as unit:
        try:
            await throttle.count(unit, f"document@{throttle.network(visit.address)}", free=_DOCUMENTS)
        except Refused as refused:
            raise OAuthError("slow_down", refused.sentence) from None
        if await oauth.count_unused(unit) >= MOST_UNUSED:
            raise OAuthError("slow_down", "Too many clients have come and were never used; try again tomorrow.")


async def authenticated(visit: Visit, form: Mapping[str, str], authorization: str | None) -> OAuthClient:
    """The client that asks at a back-channel endpoint (RFC 6749, section 2.3). Raises `OAuthError`: invalid_client."""
    basic = _basic(authorization)
    if basic is not None and ("client_secret" in form or "client_assertion" in form):
        raise OAuthError("invalid_request", "A client may prove itself in one way at a time.")
    client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret"))
    assertion = form.get("client_assertion")
    if assertion is not None:
        client_id = client_id or _subject(assertion)
    client = await find(visit, client_id) if client_id else None
    if client is None:
        raise invalid_client("This client is not known here; it has to register again.")
    if client.facts.method == "private_key_jwt":
        await _check_assertion(visit, client, form)
    elif client.secret is not None:
        if secret is None or not hmac.compare_digest(ids.token_hash(secret), client.secret):
            raise invalid_client("The client's secret is missing or wrong.")
    elif secret or assertion:
        raise invalid_client("This client was registered without a secret.")
    return client


def _basic(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_client("The Authorization header is not readable.") from None
    if not colon:
        raise invalid_client("The Authorization header is not readable.")
    return unquote_plus(name), unquote_plus(secret)


def _subject(assertion: str) -> str:
    """Whom an assertion speaks of; believed only after its signature was checked."""
    try:
        return str(unverified(assertion).get("sub", ""))
    except WrongToken:
        raise invalid_client("The client assertion is not readable.") from None


async def _check_assertion(visit: Visit, client: OAuthClient, form: Mapping[str, str]) -> None:
    if form.get("client_assertion_type") != ASSERTION or not form.get("client_assertion"):
        raise invalid_client("This client has to send a client_assertion signed with its key.")
    try:
        keys = visit.site.directory.client_keys(client.facts.jwks_uri, client.facts.jwks)
        audience = {visit.issuer, f"{visit.issuer}/oauth/token"}
        claims = await verified(form["client_assertion"], keys, issuer=client.client_id, audience=audience)
    except WrongToken as wrong:
        raise invalid_client(f"The client assertion is not good: {wrong}") from None
    if claims.get("sub") != client.client_id:
        raise invalid_client("The client assertion speaks of another client.")
    await used_once(visit, "client-assertion", claims)


async def used_once(visit: Visit, what: str, claims: Mapping[str, object]) -> None:
    """Use the `jti` of an assertion. Raises `OAuthError("invalid_client")` when it was used before, or has none."""
    jti, expires = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not isinstance(expires, int | float):
        raise invalid_client("The assertion has no `jti` or no `exp`.")
    if expires - clock.now() > _ASSERTION_SECONDS:
        raise invalid_client("The assertion is good for too long; ten minutes is the most.")
    try:
        await once(visit.site.db, visit.tenant, what, f"{claims.get('iss')} {jti}", expires + 60.0)
    except Refused:
        raise invalid_client("The assertion was used before.") from None
