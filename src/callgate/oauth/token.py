"""The token endpoint (RFC 6749, section 3.2): codes, refresh tokens, client credentials and identity assertions.

Fail closed: a code without its verifier, a refresh token that came before, an assertion of a stranger: `invalid_grant`,
and where something came twice, everything that was issued for it ends.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import JSONResponse, Response

from callgate.errors import Refused
from callgate.identity import authorizing
from callgate.identity.authorizing import Issued, Reused
from callgate.model.oauth import SCOPES, Code, OAuthClient
from callgate.oauth import clients
from callgate.oauth.assertion import person_of
from callgate.oauth.context import REPEATED, Authority, resource_of, scope_of
from callgate.oauth.faults import NO_STORE, OAuthError, invalid_grant, invalid_request
from callgate.oauth.metadata import JWT_BEARER
from callgate.telemetry.logs import get_logger
from callgate.web import forms
from callgate.web.site import Visit

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636, section 4.1
_INACTIVE = "The person behind this was deactivated."
log = get_logger(__name__)
Form = Mapping[str, str]
Grant = Callable[[Authority, Visit, Form, OAuthClient], Awaitable[Issued]]


async def token(authority: Authority, visit: Visit) -> Response:
    """POST /oauth/token."""
    try:
        form = await forms.read_form(visit.request, REPEATED)
        grant = GRANTS.get(form.get("grant_type", ""))
        if grant is None:
            raise OAuthError("unsupported_grant_type", "This grant_type is not supported here.")
        client = await clients.authenticated(visit, form, visit.request.headers.get("authorization"))
        issued = await grant(authority, visit, form, client)
    except OAuthError as error:
        return error.response()
    except Refused as refused:
        return _as_oauth(refused).response()
    answer: dict[str, object] = {
        "access_token": issued.access,
        "token_type": "Bearer",
        "expires_in": int(issued.seconds),
        "scope": " ".join(issued.scope),
    }
    if issued.refresh is not None:
        answer["refresh_token"] = issued.refresh
    return JSONResponse(answer, headers=NO_STORE)


def _as_oauth(refused: Refused) -> OAuthError:
    if refused.code == "person_inactive":
        return invalid_grant(_INACTIVE)
    if refused.code in ("validation", "unsupported_media_type", "body_too_large"):
        return invalid_request(refused.sentence)
    if refused.code == "forbidden":
        return OAuthError("unauthorized_client", refused.sentence)
    return OAuthError("server_error", refused.sentence)


async def _code(authority: Authority, visit: Visit, form: Form, client: OAuthClient) -> Issued:
    clear, verifier = forms.needed(form, "code"), forms.needed(form, "code_verifier")
    found: tuple[Code, Issued] | None = None
    async with visit.site.db.unit(visit.tenant) as unit:
        try:
            found = await authorizing.redeem(unit, clear, client, authority.lifetimes)
        except Reused:
            log.warning("an authorization code came twice", client=client.id)
        if found is not None:
            _check_code(visit, form, found[0], verifier)  # an error here undoes the redeeming
    if found is None:
        await visit.site.seen(visit.tenant)
        raise invalid_grant("The code is unknown, over or was used before.")
    return found[1]


def _check_code(visit: Visit, form: Form, code: Code, verifier: str) -> None:
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(challenge, code.challenge):
        raise invalid_grant("The code_verifier does not fit the code.")
    if form.get("redirect_uri", code.redirect_uri) != code.redirect_uri:
        raise invalid_grant("The redirect_uri is not the one that the code was made for.")
    given = form.get("resource")
    if given is not None and resource_of(visit, given).rstrip("/") != code.resource.rstrip("/"):
        raise OAuthError("invalid_target", "The resource is not the one that the code was made for.")


async def _refresh(authority: Authority, visit: Visit, form: Form, client: OAuthClient) -> Issued:
    clear = forms.needed(form, "refresh_token")
    resource_of(visit, form.get("resource"))
    asked = form.get("scope")
    scope = None if asked is None else tuple(sorted(set(asked.split()) & set(SCOPES))) or None
    found: Issued | None = None
    async with visit.site.db.unit(visit.tenant) as unit:
        try:
            found = await authorizing.renew(unit, clear, client, scope, authority.lifetimes)
        except Reused:
            log.warning("a refresh token came twice; its authorization was ended", client=client.id)
    if found is None:
        await visit.site.seen(visit.tenant)
        raise invalid_grant("The refresh token is unknown, over or was used before; sign in again.")
    return found


async def _client_credentials(authority: Authority, visit: Visit, form: Form, client: OAuthClient) -> Issued:
    proven = client.secret is not None or client.facts.method == "private_key_jwt"
    if not proven or client.owner is None or "client_credentials" not in client.facts.grant_types:
        raise OAuthError("unauthorized_client", "This client may not act for itself; an admin can give it an owner.")
    resource_of(visit, form.get("resource"))
    async with visit.site.db.unit(visit.tenant) as unit:
        return await authorizing.for_owner(unit, client, scope_of(form.get("scope")), authority.lifetimes)


async def _assertion(authority: Authority, visit: Visit, form: Form, client: OAuthClient) -> Issued:
    person, scope = await person_of(visit, forms.needed(form, "assertion"), client)
    asked = scope_of(form.get("scope"))
    narrowed = tuple(name for name in asked if name in scope) if scope else asked
    if not narrowed:
        raise OAuthError("invalid_scope", "The assertion names none of the scopes that are asked for.")
    async with visit.site.db.unit(visit.tenant) as unit:
        return await authorizing.for_person(unit, client, person, narrowed, authority.lifetimes)


GRANTS: Mapping[str, Grant] = {
    "authorization_code": _code,
    "refresh_token": _refresh,
    "client_credentials": _client_credentials,
    JWT_BEARER: _assertion,
}
