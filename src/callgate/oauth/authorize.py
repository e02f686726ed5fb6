"""The authorization endpoint: reads what a client asks for, has the person sign in, and shows the consent page.

A GET changes nothing: previews, link scanners and impatient clients fetch it, too. Fail closed: while the client or its
redirect URI is not known for certain the browser is sent nowhere; what is refused later goes back to the client with
`error`, `state` and `iss` (RFC 6749, section 4.1.2.1; RFC 9207). A browser is not bounced to an address that anybody
registered without a person having agreed (RFC 9700, section 4.11).
"""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from callgate import clock
from callgate.errors import Refused
from callgate.identity import authorizing
from callgate.identity.browser import is_fresh
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.oauth import DYNAMIC, WRITE, Code, OAuthClient
from callgate.oauth import clients, redirects
from callgate.oauth.context import REPEATED, Authority, resource_of, scope_of
from callgate.oauth.faults import OAuthError
from callgate.store import oauth
from callgate.web import forms, pages
from callgate.web.site import Visit

CONSENT = "consent"  # purpose of the sealed request
CONSENT_SECONDS = 600.0
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # a SHA-256 in base64url (RFC 7636, section 4.2)


class Wanted(msgspec.Struct, frozen=True):
    """A request that was checked; it goes through the consent page sealed, bound to the person's session."""

    client: str
    redirect_uri: str
    state: str | None
    challenge: str
    resource: str
    scope: tuple[str, ...]
    session: str = ""
    expires: float = 0.0


async def authorize(authority: Authority, visit: Visit) -> Response:
    """GET /oauth/authorize."""
    del authority
    given = forms.fields(visit.request.url.query, REPEATED)
    client, redirect_uri = await _known_client(visit, given)
    try:
        wanted = _read(visit, given, client, redirect_uri)
    except OAuthError as error:
        return _back_or_page(visit, client, (redirect_uri, given.get("state")), error)
    prompts = set(given.get("prompt", "").split())
    if visit.person is None or visit.session is None or ("login" in prompts and not is_fresh(visit.session)):
        if "none" in prompts:
            nobody = OAuthError("login_required", "Nobody is signed in in this browser.")
            return _back_or_page(visit, client, (redirect_uri, wanted.state), nobody)
        here = f"{visit.path('/oauth/authorize')}?{visit.request.url.query}"
        return pages.redirect(visit.sign_in_url(here, again=visit.person is not None))
    if "consent" not in prompts and await _agreed_before(visit, client, wanted):
        return await grant_code(visit, client, wanted)
    if "none" in prompts:
        first = OAuthError("consent_required", "The person has to agree first.")
        return _back_or_page(visit, client, (redirect_uri, wanted.state), first)
    return _consent_page(visit, client, wanted)


async def _known_client(visit: Visit, given: Mapping[str, str]) -> tuple[OAuthClient, str]:
    """The client and its redirect URI. Raises `Refused`, which becomes a page: the browser is not sent on."""
    client_id = forms.needed(given, "client_id")
    try:
        client = await clients.find(visit, client_id)
    except OAuthError as error:
        raise Refused("validation", f"{error.sentence} You can close this page.") from None
    if client is None or "authorization_code" not in client.facts.grant_types:
        raise Refused(
            "validation",
            "The program that sent you here is not registered at this gateway (any more). Go back to it and connect "
            "again, so that it registers anew.",
        )
    redirect_uri = given.get("redirect_uri", "")
    if not redirect_uri and len(client.facts.redirect_uris) == 1:
        redirect_uri = client.facts.redirect_uris[0]
    if not redirects.fits(redirect_uri, client.facts.redirect_uris):
        raise Refused(
            "validation",
            "The program wants to send you to an address that it did not register. Do not go on; close this page.",
        )
    return client, redirect_uri


def _read(visit: Visit, given: Mapping[str, str], client: OAuthClient, redirect_uri: str) -> Wanted:
    """What is asked for. Raises `OAuthError`."""
    if given.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code.")
    if given.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode must be query.")
    if "request" in given or "request_uri" in given:
        raise OAuthError("request_not_supported", "Request objects are not supported.")
    if given.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(given.get("code_challenge", "")):
        raise OAuthError("invalid_request", "PKCE with code_challenge_method S256 is required.")
    return Wanted(
        client=client.client_id,
        redirect_uri=redirect_uri,
        state=given.get("state"),
        challenge=given["code_challenge"],
        resource=resource_of(visit, given.get("resource")),
        scope=scope_of(given.get("scope")),
    )


def _back_or_page(visit: Visit, client: OAuthClient, to: tuple[str, str | None], error: OAuthError) -> Response:
    redirect_uri, state = to
    if client.kind == DYNAMIC and not redirects.is_loopback(redirect_uri):
        raise Refused("validation", f"{error.sentence} ({error.error})")
    return back(visit, redirect_uri, state, error=error.error, error_description=error.sentence)


async def _agreed_before(visit: Visit, client: OAuthClient, wanted: Wanted) -> bool:
    """Whether nobody has to be asked: the same client, the same address, no more than then; and nobody else can be at
    that address, as anybody can on loopback (RFC 8252, section 8.6)."""
    if client.kind == DYNAMIC or not wanted.redirect_uri.startswith("https://") or visit.person is None:
        return False
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        before = await oauth.consent(unit, visit.person.id, client.client_id)
    return before is not None and before[1] == wanted.redirect_uri and set(wanted.scope) <= set(before[0].split())


def _consent_page(visit: Visit, client: OAuthClient, wanted: Wanted) -> Response:
    assert visit.session is not None and visit.person is not None  # noqa: S101, PT018  seen by the caller
    asked = msgspec.structs.replace(wanted, session=visit.session.id, expires=clock.now() + CONSENT_SECONDS)
    return visit.show(
        "consent",
        name=client.facts.name or client.client_id,
        verified=client.kind != DYNAMIC,
        source=client.client_id if client.client_id.startswith("https://") else "",
        host=redirects.shown(wanted.redirect_uri),
        loopback=redirects.is_loopback(wanted.redirect_uri),
        resource=wanted.resource,
        agent=client.agent or "",
        email=visit.person.email,
        write=WRITE in wanted.scope,
        action=visit.path("/oauth/consent"),
        request=visit.sealed(CONSENT, asked),
    )


async def grant_code(visit: Visit, client: OAuthClient, wanted: Wanted) -> Response:
    """Remember what the signed-in person allowed, and send the browser back with a code."""
    assert visit.person is not None  # noqa: S101  seen by the callers
    person = visit.person.id
    code = Code(b"", visit.tenant, client.client_id, person, wanted.redirect_uri, wanted.challenge, wanted.resource,
                wanted.scope, 0.0)  # fmt: skip
    async with visit.site.db.unit(visit.tenant) as unit:
        clear = await authorizing.new_code(unit, code)
        allowed = (" ".join(wanted.scope), wanted.redirect_uri)
        await oauth.put_consent(unit, person, client.client_id, allowed, clock.now())
        await record(unit, Actor(visit.tenant, "person", person, ()), "authorizations.consent", client.id)
    return back(visit, wanted.redirect_uri, wanted.state, code=clear)


def back(visit: Visit, redirect_uri: str, state: str | None, **values: str) -> Response:
    """Send the browser back to the client (RFC 9207: with `iss`)."""
    fields = {**values, "iss": visit.issuer, **({"state": state} if state is not None else {})}
    joint = "&" if "?" in redirect_uri else "?"
    return pages.redirect(f"{redirect_uri}{joint}{urlencode(fields)}", 302)
