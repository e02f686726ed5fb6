"""Signing in at an OpenID provider (Core 1.0: code flow with PKCE, state and nonce), and out again.

What belongs to a sign-in under way travels sealed in a cookie of the browser that began it, so a code that another
browser was given (login CSRF, mix-up) finds nothing. Fail closed: a state, issuer or nonce that does not fit, or a
logout token that is not to the letter, changes nothing.
"""

import contextlib
import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from callgate import clock
from callgate.credentials import exchange
from callgate.errors import Refused
from callgate.identity import arriving
from callgate.identity.once import once, unused
from callgate.jose.tokens import Claims, WrongToken, verified
from callgate.model.grant import ProviderTokens
from callgate.model.signin import PROVIDER, Provider
from callgate.signin import entering
from callgate.store import provider_tokens, providers, secrets
from callgate.store.unit import Unit
from callgate.web import cookies, forms, pages
from callgate.web.site import Visit

_SEALED = "sign-in"
_SECONDS = 600.0
_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Underway(msgspec.Struct, frozen=True):
    """A sign-in that was begun."""

    provider: str
    state: str
    nonce: str
    verifier: str
    next: str
    expires: float
    again: bool = False  # the provider was told to have the person prove anew who they are

    def __repr__(self) -> str:
        return f"Underway({self.provider})"


_underway = msgspec.json.Decoder(Underway).decode


async def begin(visit: Visit) -> Response:
    """GET /signin/with/{provider}: on to the provider."""
    provider = await _named(visit)
    metadata = await visit.site.directory.metadata(provider)
    query = visit.query
    underway = Underway(
        provider.id, clock.random_urlsafe(24), clock.random_urlsafe(24), clock.random_urlsafe(32),
        query.get("next", ""), clock.now() + _SECONDS, query.get("again") == "yes",
    )  # fmt: skip
    fields = {
        "response_type": "code",
        "client_id": provider.config.client_id,
        "redirect_uri": callback_of(visit),
        "scope": " ".join(provider.config.scopes),
        "state": underway.state,
        "nonce": underway.nonce,
        "code_challenge": urlsafe_b64encode(hashlib.sha256(underway.verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    if underway.again:
        fields |= {"prompt": "login", "max_age": "0"}
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    response = pages.redirect(f"{metadata.authorization_endpoint}{joint}{urlencode(fields)}", 302)
    sealed = visit.sealed(_SEALED, underway)
    cookies.write(response, _cookie_of(underway.state), sealed, secure=visit.secure, seconds=_SECONDS)
    return response


def callback_of(visit: Visit) -> str:
    """Where a provider sends the browser back: what has to be registered there."""
    return f"{visit.issuer}/signin/callback"


async def callback(visit: Visit) -> Response:
    """GET /signin/callback."""
    query = visit.query
    underway = _begun(visit, query.get("state", ""))
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        provider = await providers.get(unit, underway.provider)
    if provider is None:
        raise Refused("sign_in_failed", "This provider was removed; begin again.")
    metadata = await visit.site.directory.metadata(provider)
    if query.get("iss", metadata.issuer) != metadata.issuer or (
        metadata.authorization_response_iss_parameter_supported and "iss" not in query
    ):
        raise Refused("sign_in_failed", "The answer is of another provider; begin again.")
    if "error" in query or "code" not in query:
        reason = forms.printable(query.get("error", "no code"))
        raise Refused("sign_in_failed", f"The provider did not sign you in ({reason}).")
    given = await _redeemed(visit, provider, underway, query["code"])
    claims = await visit.site.directory.identity(provider, given["id_token"], underway.nonce)
    await visit.site.envelope.warm(visit.tenant)
    async with visit.site.db.unit(visit.tenant) as unit:
        person = await arriving.arrive(unit, provider, claims, signed_in=True)
        await _keep(unit, visit, provider, person.id, given)
        sid = claims.get("sid")
        where = entering.Provider(provider.id, sid if isinstance(sid, str) else None, _authenticated(claims, underway))
        clear = await entering.enter(unit, visit, person.id, PROVIDER, where)
    await visit.site.seen(visit.tenant)
    response = entering.on_to(visit, clear, underway.next)
    name = _cookie_of(underway.state)
    cookies.drop(response, name, secure=visit.secure, given=visit.request.cookies)
    return response


def _authenticated(claims: Claims, underway: Underway) -> float:
    """When the person proved who they are (Core, sections 2 and 3.1.2.1). Who was sent on by a provider that knew their
    browser has proved nothing now; a provider that was told to ask and does not say when is believed."""
    at = claims.get("auth_time")
    if isinstance(at, int | float):
        return float(at)
    return clock.now() if underway.again else 0.0


def _cookie_of(state: str) -> str:
    return cookies.SIGN_IN + hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:8]


def _begun(visit: Visit, state: str) -> Underway:
    opened = visit.site.envelope.sealer(_SEALED).open(visit.cookie(_cookie_of(state)) or "")
    underway = None if opened is None else _underway(opened)
    if underway is None or underway.expires <= clock.now() or not hmac.compare_digest(underway.state, state):
        raise Refused("sign_in_failed", "This sign-in was not begun in this browser, or it took too long; begin again.")
    return underway


async def _redeemed(visit: Visit, provider: Provider, underway: Underway, code: str) -> dict[str, Any]:
    form = {"code": code, "code_verifier": underway.verifier, "redirect_uri": callback_of(visit)}
    return await visit.site.directory.redeem(provider, await _secret(visit, provider), form)


async def _keep(unit: Unit, visit: Visit, provider: Provider, person: str, given: dict[str, Any]) -> None:
    """What upstreams' tokens can be made of; a sign-in does not fail for want of it."""
    if not provider.config.keep_tokens:
        return
    bound, plain = exchange.binding(provider.id, person), msgspec.json.encode(exchange.holding(given))
    with contextlib.suppress(Refused):
        sealed = await visit.site.envelope.seal(visit.tenant, exchange.PURPOSE, bound, plain)
        await provider_tokens.put(unit, ProviderTokens(visit.tenant, provider.id, person, sealed, clock.now()))


async def _secret(visit: Visit, provider: Provider) -> str:
    """The client secret of a provider, for as long as the request takes."""
    if provider.secret_id is None:
        return ""
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        sealed = await secrets.get(unit, provider.secret_id)
    opened = await visit.site.envelope.open_sealed(
        visit.tenant, exchange.PROVIDER_SECRET, provider.id.encode(), sealed or b""
    )
    return opened.decode()


async def _named(visit: Visit) -> Provider:
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        provider = await providers.by_name(unit, visit.match["provider"])
    if provider is None:
        raise Refused("not_found", "There is no such way to sign in here.")
    return provider


# -- signing out -------------------------------------------------------------------------------------------------------


async def farewell(visit: Visit) -> Response:
    """After the session ended: on to the provider's own sign-out, or to the sign-in page."""
    start = visit.path("/signin")
    session = visit.session
    target = f"{visit.base}{start}"
    if session is not None and session.provider is not None:
        async with visit.site.db.unit(visit.tenant, write=False) as unit:
            provider = await providers.get(unit, session.provider)
        if provider is not None:
            fields = {"client_id": provider.config.client_id, "post_logout_redirect_uri": target}
            with contextlib.suppress(Refused):  # a provider that is away: signed out here all the same
                end = (await visit.site.directory.metadata(provider)).end_session_endpoint
                target = f"{end}{'&' if '?' in end else '?'}{urlencode(fields)}" if end else target
    response = pages.redirect(target)
    cookies.drop(response, cookies.SESSION, secure=visit.secure)
    return response


async def back_channel(visit: Visit) -> Response:
    """POST /signin/backchannel/{provider} (Back-Channel Logout 1.0): the provider says that somebody signed out."""
    provider = await _named(visit)
    form = await forms.read_form(visit.request)
    try:
        keys = await visit.site.directory.keys(provider)
        claims = await verified(
            form.get("logout_token", ""), keys, issuer=provider.config.issuer, audience={provider.config.client_id}
        )
    except WrongToken as wrong:
        raise Refused("parse_error", f"The logout token is not good: {wrong}.") from None
    sid, subject = claims.get("sid"), claims.get("sub")
    events = claims.get("events")
    if "nonce" in claims or not isinstance(events, dict) or _EVENT not in events or not claims.get("jti"):
        raise Refused("parse_error", "This is no logout token.")
    if not isinstance(sid, str) and not isinstance(subject, str):
        raise Refused("parse_error", "The logout token says neither who nor which session.")
    jti = f"{provider.id} {claims['jti']}"
    await unused(visit.site.db, visit.tenant, "logout", jti)
    await visit.site.signed_out(
        visit.tenant, provider.id, (sid, subject)
    )  # where this fails the provider tells us again
    await once(visit.site.db, visit.tenant, "logout", jti, clock.now() + 3600.0)
    return Response(b"", 200, {"Cache-Control": "no-store"})
